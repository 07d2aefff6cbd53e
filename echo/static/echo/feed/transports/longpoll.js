/** Carries the feed over long polls; decides nothing. */

import { poll } from "./polling.js";

// Shorter than most proxies allow a request to stay silent.
const WAIT_SECONDS = 25;
// The first response shows that the transport works, so it must not take long.
const FIRST_WAIT_SECONDS = 1;

/**
 * Open the transport; `on` is `{frame(frame), ended({status, detail})}`. Return
 * `{close()}`, after which `on` is not called again.
 */
export function open(target, on) {
  const waitSeconds = (polls) => (polls === 0 ? FIRST_WAIT_SECONDS : WAIT_SECONDS);
  return poll(target, on, { waitSeconds, pauseMs: 0 });
}
