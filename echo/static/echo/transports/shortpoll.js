/** Carries the feed over short polls; decides nothing. */

import { poll } from "./polling.js";

const PAUSE_MS = 1000;

/**
 * Opens it; `on` is `{frame(frame), ended({status, detail})}`. What comes back can be
 * closed, after which nothing is told any more.
 */
export function open(target, on) {
  return poll(target, on, { wait: () => 0, pauseMs: PAUSE_MS });
}
