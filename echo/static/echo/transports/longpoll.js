/** Carries the feed over long polls; decides nothing. */

import { poll } from "./polling.js";

// Below what most proxies allow a silent request.
const WAIT_SECONDS = 25;
// The first answer tells that it works, so it may not take long.
const FIRST_WAIT_SECONDS = 1;

/**
 * Opens it; `on` is `{frame(frame), ended({status, detail})}`. What comes back can be
 * closed, after which nothing is told any more.
 */
export function open(target, on) {
  const wait = (answers) => (answers === 0 ? FIRST_WAIT_SECONDS : WAIT_SECONDS);
  return poll(target, on, { wait, pauseMs: 0 });
}
