/** What the page says of its connection's state: which text. Knows no DOM. */

const DISCONNECTED_BY_OPERATOR = 4503;
const ASKED_TO_RECONNECT = 4011;
// What an operator says who gives no reason, and what needs no saying twice.
const NO_REASON = "disconnected by an operator";

/** The key of the text for a state of the feed, as its event tells it. */
export function accountOf({ state, code, reason }) {
  if (!code || (state !== "closed" && state !== "waiting")) return `live_${state}`;
  switch (code) {
    case DISCONNECTED_BY_OPERATOR:
      return reason && reason !== NO_REASON ? "live_disconnected" : "live_sent_away";
    case ASKED_TO_RECONNECT:
      return "live_asked";
    default:
      return state === "closed" ? "live_ended" : "live_told";
  }
}
