/**
 * Why a handshake was refused: a page sees only code 1006, so it asks the endpoint with
 * `fetch` and the same query string. Errors there are 400; a valid query is 426, with
 * the settings, from which the rest follows.
 */

/** The status that a refused handshake has when no knob names one; echo/knobs.py. */
export const REFUSED_BY_CHANCE = 503;

/** The endpoint's answer, `{status, body}`, or null when nobody answers. */
export async function ask(address, signal) {
  try {
    const response = await fetch(address, { signal, cache: "no-store" });
    return { status: response.status, body: await response.json() };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return error instanceof SyntaxError ? { status: 502, body: {} } : null;
  }
}

/**
 * The text that explains the refusal, `{key, values}`; `offered` are the subprotocols.
 */
export function refusal(answer, offered) {
  if (answer === null) return { key: "refused_unreachable", values: {} };
  const { status, body } = answer;
  if (status === 400) {
    return { key: "refused_query", values: { status, detail: body.detail } };
  }
  if (status !== 426) return { key: "refused_status", values: { status } };
  return refusalBySettings(body.settings, offered);
}

function refusalBySettings({ reject, failure_rate, subprotocol }, offered) {
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

/** True when the knob selects one of the offered subprotocols. */
export function isSelected(knob, offered) {
  return knob === "*" || offered.includes(knob);
}
