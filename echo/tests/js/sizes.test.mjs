import assert from "node:assert/strict";
import { test } from "node:test";
import {
  chunkFramingBytes,
  closePayloadBytes,
  frameBytes,
  responseHeadBytes,
  streamMessageBytes,
  switchingHeadBytes,
  utf8Bytes,
} from "../../static/echo/lab/transports/sizes.js";

test("a frame's header grows with its payload, and with a mask", () => {
  const lengths = [0, 125, 126, 65_535, 65_536];
  const headers = lengths.map((length) => frameBytes(length) - length);
  assert.deepEqual(headers, [2, 2, 4, 4, 10]);
  assert.equal(frameBytes(4, { isMasked: true }), 10);
});

test("a close frame without a code has no payload", () => {
  assert.equal(closePayloadBytes(1005, ""), 0);
  assert.equal(closePayloadBytes(1000, "bye"), 5);
});

test("text is counted in UTF-8", () => {
  assert.equal(utf8Bytes("小王子"), 9);
});

test("a response's head has its status line, its fields and an empty line", () => {
  const head = "HTTP/1.1 200 OK\r\nServer: daphne\r\nVary: Cookie\r\n\r\n";
  const headers = new Headers({ Server: "daphne", Vary: "Cookie" });
  const response = { status: 200, statusText: "OK", headers };
  assert.equal(responseHeadBytes(response), head.length);
});

test("a handshake's response is that of both servers", () => {
  const head =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Accept: iQz9/gHLoNMzbbjTo/bPXEe5feY=\r\n" +
    "Date: Sun, 22 Nov 2026 00:30:17 GMT\r\nServer: daphne\r\n\r\n";
  assert.equal(switchingHeadBytes("daphne"), head.length);
});

test("a message of a stream has a line for its name and its id if it has them", () => {
  const whole = { name: "hello", id: "e-7", data: "{}" };
  const text = "event: hello\nid: e-7\ndata: {}\n\n";
  assert.equal(streamMessageBytes(whole), text.length);
  const bare = { name: "", id: "", data: "小" };
  assert.equal(streamMessageBytes(bare), "data: ".length + 3 + 2);
});

test("a chunk has its length in hexadecimal before it", () => {
  assert.equal(chunkFramingBytes(0xcd), "cd\r\n\r\n".length);
  assert.equal(chunkFramingBytes(0x1000), "1000\r\n\r\n".length);
});
