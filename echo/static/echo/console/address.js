/** Converts between the knob form and URLs. Uses no DOM. */

// A token of RFC 9110 section 5.6.2; echo/knobs.py has the same.
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const PROTOCOLS_PARAMETER = "protocols";

/** Return the query string for `/echo`, in the form's order, without empty knobs. */
export function knobQuery(knobs) {
  return new URLSearchParams([...knobs].filter(([, value]) => value)).toString();
}

/** Return the page's query string: the knobs, and the subprotocols to offer. */
export function pageQuery(knobs, protocols) {
  return knobQuery([...knobs, [PROTOCOLS_PARAMETER, protocols]]);
}

/**
 * Parse the page's query string; return `knobs` (a Map), `protocols` as typed, and
 * `ignored`, the names of unknown parameters and of those given twice.
 */
export function parsePageQuery(search, names) {
  const knobs = new Map();
  const ignored = new Set();
  let protocols = "";
  for (const [name, value] of new URLSearchParams(search)) {
    if (name === PROTOCOLS_PARAMETER) protocols = value;
    else if (names.includes(name) && !knobs.has(name)) knobs.set(name, value);
    else ignored.add(name);
  }
  return { knobs, protocols, ignored: [...ignored] };
}

/** Return the WebSocket's URL: `wss:` if the page came over https. */
export function socketAddress({ protocol, host }, query) {
  const scheme = protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${host}/echo${query && `?${query}`}`;
}

/** Return the subprotocols of a field, separated by commas or spaces. */
export function parseProtocols(text) {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** Return the problem with the offered subprotocols, `{key, values}`, or null. */
export function protocolsProblem(offered) {
  const bad = offered.find((name) => !TOKEN.test(name));
  if (bad) return { key: "bad_protocol", values: { got: bad } };
  const repeated = offered.find((name, index) => offered.indexOf(name) !== index);
  return repeated ? { key: "repeated_protocol", values: { got: repeated } } : null;
}

/** Return the knob that a 400's detail begins with, or null. */
export function invalidKnob(detail, names) {
  const first = /^[a-z_]+/.exec(detail)?.[0];
  return names.includes(first) ? first : null;
}
