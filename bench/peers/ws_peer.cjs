// An echo and a hub on Node's ws; NODE_PATH names var/bench-node/node_modules.
"use strict";

const { WebSocketServer } = require("ws");

const readers = new Set();

function publish(message) {
  const text = message.toString(); // as ws's own examples send text
  for (const reader of readers) reader.send(text);
}

new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]) }).on(
  "connection",
  (socket, request) => {
    if (request.url === "/echo") {
      socket.on("message", (message, binary) => socket.send(message, { binary }));
    } else if (request.url === "/publish") {
      socket.on("message", publish);
    } else {
      readers.add(socket);
      socket.on("close", () => readers.delete(socket));
      socket.on("error", () => readers.delete(socket));
    }
  },
);
