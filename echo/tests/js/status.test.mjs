import assert from "node:assert/strict";
import { test } from "node:test";
import { statusText } from "../../static/echo/live/status.js";

const STATUSES = {
  status_open: { state: "open" },
  status_waiting: { state: "waiting" },
  status_closed: { state: "closed" },
  status_reconnecting: { state: "waiting", code: 4011, reason: "asked to reconnect" },
  status_interrupted: { state: "waiting", code: 4001, reason: "shutdown" },
  status_ended: { state: "closed", code: 4507, reason: "not allowed" },
  status_disconnected: {
    state: "closed",
    code: 4503,
    reason: "disconnected by an operator",
  },
  status_disconnected_reason: { state: "closed", code: 4503, reason: "maintenance" },
};

for (const [key, detail] of Object.entries(STATUSES)) {
  test(`the status of ${JSON.stringify(detail)}`, () => {
    const text = (name) => name;
    assert.equal(statusText(detail, text), key);
  });
}

test("a wait is shown in seconds, with the server's reason", () => {
  const detail = {
    state: "waiting",
    milliseconds: 1830,
    code: 4001,
    reason: "shutdown",
  };
  const values = statusText(detail, (_key, values) => values);
  assert.deepEqual(
    [values.seconds, values.code, values.reason],
    ["1.8", 4001, "shutdown"],
  );
});
