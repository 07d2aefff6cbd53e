/** The knob form as an address, and an address as the knob form. Knows no DOM. */

// What Sec-WebSocket-Protocol may hold, RFC 9110 section 5.6.2; echo/knobs.py has the
// same.
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
export const PROTOCOLS_PARAMETER = "protocols";

/**
 * The query string for `/echo`, in the form's order; knobs without a value are left
 * out.
 */
export function knobQuery(knobs) {
  return new URLSearchParams([...knobs].filter(([, value]) => value)).toString();
}

/**
 * The page's own query string: the knobs, and the subprotocols that only a page has.
 */
export function pageQuery(knobs, protocols) {
  return knobQuery([...knobs, [PROTOCOLS_PARAMETER, protocols]]);
}

/**
 * What a page's query string asks for: `knobs` (a Map), `protocols` as typed, and
 * `leftOut`, the names that are no knob or came twice.
 */
export function fromPageQuery(search, names) {
  const knobs = new Map();
  const leftOut = new Set();
  let protocols = "";
  for (const [name, value] of new URLSearchParams(search)) {
    if (name === PROTOCOLS_PARAMETER) protocols = value;
    else if (names.includes(name) && !knobs.has(name)) knobs.set(name, value);
    else leftOut.add(name);
  }
  return { knobs, protocols, leftOut: [...leftOut] };
}

/** The WebSocket's address: `wss:` where the page came over https. */
export function socketAddress({ protocol, host }, query) {
  const scheme = protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${host}/echo${query && `?${query}`}`;
}

/** The subprotocols that a person typed, with commas or spaces between. */
export function offeredProtocols(text) {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** The problem with the offered subprotocols, `{key, values}`, or null. */
export function protocolsProblem(offered) {
  const bad = offered.find((name) => !TOKEN.test(name));
  if (bad) return { key: "bad_protocol", values: { got: bad } };
  const repeated = offered.find((name, at) => offered.indexOf(name) !== at);
  return repeated ? { key: "repeated_protocol", values: { got: repeated } } : null;
}

/** The knob that a 400's detail speaks of: its name is the first word, or null. */
export function knobAtFault(detail, names) {
  const first = /^[a-z_]+/.exec(detail)?.[0];
  return names.includes(first) ? first : null;
}
