/** Carries the feed over short polls; decides nothing. */

import { poll } from "./polling.js";

const PAUSE_MS = 1000;

/**
 * Open the transport; `on` is `{frame(frame), ended({status, detail})}`. Return
 * `{close()}`, after which `on` is not called again.
 */
export function open(target, on) {
  return poll(target, on, { waitSeconds: () => 0, pauseMs: PAUSE_MS });
}
