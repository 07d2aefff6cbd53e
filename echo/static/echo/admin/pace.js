/** When the admin's pages ask: once typing has paused, and ever more seldom. */

export const QUIET_MS = 250;
export const WATCH_MS = 60_000;

/**
 * A function that calls `ask(signal)` once it has not been called for a while; the call
 * before, whose answer would be out of date, is aborted.
 */
export function whenQuiet(ask, quietMs = QUIET_MS) {
  let timer;
  let controller;
  return () => {
    clearTimeout(timer);
    controller?.abort();
    controller = new AbortController();
    timer = setTimeout(ask, quietMs, controller.signal);
  };
}

/** The milliseconds until something is looked at again that has been watched so long. */
export function pause(watchedMs) {
  if (watchedMs < 3_000) return 250;
  return watchedMs < 15_000 ? 1_000 : 5_000;
}
