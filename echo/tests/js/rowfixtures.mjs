/** Rows for the tests of the log. */

const TIME = Date.UTC(2026, 10, 20, 11, 3, 32, 345);
export const sent = (message) => ({
  direction: "sent",
  kind: typeof message === "string" ? "text" : "binary",
  time: TIME,
  message,
  length: message.length,
  roundTrip: null,
});
export const received = (message, roundTrip = null) => ({
  ...sent(message),
  direction: "received",
  roundTrip,
});
export const event = (kind, details) => ({
  direction: "event",
  kind,
  time: TIME,
  message: "",
  length: 0,
  ...details,
});
export const closed = event("close", { code: 4321, reason: "bye", clean: true });
