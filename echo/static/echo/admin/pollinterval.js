/** How often the page of a receipt polls: less and less. */

/** The receipt is no longer polled after this time. */
export const WATCH_MS = 60_000;

/** Return the milliseconds until the next poll, after `elapsedMs` of polling. */
export function pollInterval(elapsedMs) {
  if (elapsedMs < 3_000) return 250;
  return elapsedMs < 15_000 ? 1_000 : 5_000;
}
