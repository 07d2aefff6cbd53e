/** Says in one line what state the feed is in, and why. Uses no DOM. */

const DISCONNECTED_BY_OPERATOR = 4503;
const ASKED_TO_RECONNECT = 4011;
// The server's reason when the operator gave none; it would only repeat the text.
const NO_REASON = "disconnected by an operator";

/** Return the text for the detail of the feed's `state` event; `text` is the page's. */
export function statusText({ milliseconds = 0, ...detail }, text) {
  const seconds = (milliseconds / 1000).toFixed(1);
  return text(statusKey(detail), { ...detail, seconds });
}

function statusKey({ state, code, reason }) {
  if (!code || (state !== "closed" && state !== "waiting")) return `status_${state}`;
  switch (code) {
    case DISCONNECTED_BY_OPERATOR:
      return reason && reason !== NO_REASON
        ? "status_disconnected_reason"
        : "status_disconnected";
    case ASKED_TO_RECONNECT:
      return "status_reconnecting";
    default:
      return state === "closed" ? "status_ended" : "status_interrupted";
  }
}
