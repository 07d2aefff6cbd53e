/**
 * Finds out why a handshake was refused: a page sees only code 1006, so it fetches the
 * same URL. The endpoint answers 400 for an invalid query, and 426 with the effective
 * settings for a valid one.
 */

/** The status of a refusal by `failure_rate` without `reject`; echo/knobs.py. */
const REFUSED_BY_CHANCE = 503;

/** Return the endpoint's response, `{status, body}`, or null if it is unreachable. */
export async function fetchSettings(address, signal) {
  try {
    const response = await fetch(address, { signal, cache: "no-store" });
    return { status: response.status, body: await response.json() };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return error instanceof SyntaxError ? { status: 502, body: {} } : null;
  }
}

/**
 * Return the text that explains the refusal, `{key, values}`. `response` is that of
 * `fetchSettings`, and `offered` the subprotocols.
 */
export function explainRefusal(response, offered) {
  if (response === null) return { key: "refused_unreachable", values: {} };
  const { status, body } = response;
  if (status === 400) {
    return { key: "refused_query", values: { status, detail: body.detail } };
  }
  if (status !== 426) return { key: "refused_status", values: { status } };
  return explainBySettings(body.settings, offered);
}

function explainBySettings({ reject, failure_rate, subprotocol }, offered) {
  if (failure_rate !== null) {
    const status = reject ?? REFUSED_BY_CHANCE;
    return { key: "refused_chance", values: { status, rate: failure_rate } };
  }
  if (reject !== null) return { key: "refused_reject", values: { status: reject } };
  if (offered.length && !isSelected(subprotocol ?? "", offered)) {
    return { key: "refused_subprotocol", values: {} };
  }
  return { key: "refused_unknown", values: {} };
}

/** Return true if the knob `subprotocol` selects one of the offered subprotocols. */
export function isSelected(knob, offered) {
  return knob === "*" || offered.includes(knob);
}
