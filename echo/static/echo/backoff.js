/**
 * How long to wait before connecting again: full jitter, so that a thousand clients who
 * lost the same server do not come back in the same instant.
 */

export const FIRST_CAP_MS = 500;
export const LAST_CAP_MS = 20_000;

/** The longest wait before this attempt (0 is the first), in milliseconds. */
export function cap(attempt) {
  return Math.min(LAST_CAP_MS, FIRST_CAP_MS * 2 ** attempt);
}

/** A random wait from 0 to the cap, in milliseconds; `random` gives 0 to 1. */
export function fullJitter(attempt, random = Math.random) {
  return random() * cap(attempt);
}
