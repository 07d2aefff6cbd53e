/** Says what each line of a handshake means: the name of a text, and its sections. */

const REQUEST = {
  host: ["request_host", "9110 7.2"],
  upgrade: ["request_upgrade", "6455 4.2.1", "9110 7.8"],
  connection: ["request_connection", "6455 4.2.1", "9110 7.6.1"],
  origin: ["request_origin", "6455 10.2", "6454 7"],
  "sec-websocket-key": ["request_key", "6455 4.1", "6455 11.3.1"],
  "sec-websocket-version": ["request_version", "6455 4.1", "6455 11.3.5"],
  "sec-websocket-protocol": ["request_protocol", "6455 1.9", "6455 11.3.4"],
  "sec-websocket-extensions": ["request_extensions", "6455 9", "7692 7"],
  "content-length": ["request_length", "9112 6.2"],
};

const RESPONSE = {
  upgrade: ["response_upgrade", "6455 4.2.2", "9110 7.8"],
  connection: ["response_connection", "9110 7.6.1", "9112 9.6"],
  "sec-websocket-accept": ["response_accept", "6455 4.2.2", "6455 11.3.3"],
  "sec-websocket-version": ["response_version", "6455 4.4"],
  "sec-websocket-protocol": ["response_protocol", "6455 4.2.2"],
  allow: ["response_allow", "9110 10.2.1"],
  date: ["response_date", "9110 6.6.1"],
  server: ["response_server", "9110 10.2.4"],
  "content-type": ["response_type", "9110 8.3"],
  "content-length": ["response_length", "9110 8.6"],
  "cache-control": ["response_cache", "9111 5.2.2"],
};

const STATUSES = {
  101: ["status_101", "6455 4.2.2", "9110 15.2.2"],
  400: ["status_400", "6455 4.2.1", "9110 15.5.1"],
  403: ["status_403", "6455 4.2.2", "9110 15.5.4"],
  404: ["status_404", "6455 4.2.2", "9110 15.5.5"],
  405: ["status_405", "9110 15.5.6"],
  408: ["status_408", "9110 15.5.9"],
  426: ["status_426", "6455 4.2.2", "9110 15.5.22"],
  505: ["status_505", "9110 15.6.6"],
};

/** Explain the line of a request at this place, the first being the request line. */
export function explainRequest(line, index) {
  if (index === 0) return named(["request_line", "6455 4.1", "9112 3"]);
  return named(REQUEST[nameOf(line)] ?? ["request_other", "9110 6.3"]);
}

/** Explain the line of a response at this place, the first being the status line. */
export function explainResponse(line, index) {
  if (index > 0) return named(RESPONSE[nameOf(line)] ?? ["response_other", "9110 6.3"]);
  return named(STATUSES[line.split(" ")[1]] ?? ["status_other", "9112 4"]);
}

function nameOf(line) {
  return line.split(":")[0].trim().toLowerCase();
}

function named([key, ...sections]) {
  return { key, sections };
}
