/**
 * Exponential backoff with full jitter, so that a thousand clients who lost the same
 * server do not reconnect in the same instant.
 */

const FIRST_CAP_MS = 500;
const LAST_CAP_MS = 20_000;

/** Return the longest wait before this attempt (0 is the first), in milliseconds. */
export function cap(attempt) {
  return Math.min(LAST_CAP_MS, FIRST_CAP_MS * 2 ** attempt);
}

/** Return a random wait up to the cap, in milliseconds; `random()` is from 0 to 1. */
export function fullJitter(attempt, random = Math.random) {
  return random() * cap(attempt);
}
