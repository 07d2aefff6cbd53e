import assert from "node:assert/strict";
import { test } from "node:test";
import { explainRefusal, isSelected } from "../../static/echo/console/refusal.js";

const valid = (settings) => ({
  status: 426,
  body: {
    settings: { reject: null, failure_rate: null, subprotocol: null, ...settings },
  },
});

test("a query that is refused is explained with the server's words", () => {
  assert.deepEqual(
    explainRefusal({ status: 400, body: { detail: "jitter: expected …" } }, []),
    {
      key: "refused_query",
      values: { status: 400, detail: "jitter: expected …" },
    },
  );
});

test("a status from the knob reject is explained by it", () => {
  assert.deepEqual(explainRefusal(valid({ reject: 418 }), []), {
    key: "refused_reject",
    values: { status: 418 },
  });
});

test("a refusal by chance names the chance and the status", () => {
  assert.deepEqual(explainRefusal(valid({ failure_rate: 0.5 }), []), {
    key: "refused_chance",
    values: { status: 503, rate: 0.5 },
  });
  assert.equal(
    explainRefusal(valid({ failure_rate: 1, reject: 500 }), []).values.status,
    500,
  );
});

test("subprotocols of which none is selected are the reason", () => {
  const offered = ["chat", "v2"];
  assert.equal(explainRefusal(valid({}), offered).key, "refused_subprotocol");
  assert.equal(
    explainRefusal(valid({ subprotocol: "v3" }), offered).key,
    "refused_subprotocol",
  );
  assert.equal(
    explainRefusal(valid({ subprotocol: "v2" }), offered).key,
    "refused_unknown",
  );
});

test("an asterisk selects any offer, a name only itself", () => {
  assert.ok(isSelected("*", ["chat"]));
  assert.ok(isSelected("chat", ["v2", "chat"]));
  assert.ok(!isSelected("", ["chat"]));
});

test("an unreachable server and another server have different explanations", () => {
  assert.equal(explainRefusal(null, []).key, "refused_unreachable");
  assert.deepEqual(explainRefusal({ status: 502, body: {} }, []), {
    key: "refused_status",
    values: { status: 502 },
  });
});
