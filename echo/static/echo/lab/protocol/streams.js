/** The experiment "TCP against WebSocket": what each read gave of a burst of messages. */

import { connectExperiment } from "./experimentform.js";
import { countReads, frameSize, partsOfReads } from "./reads.js";

const MAX_DRAWN = 150; // reads in one bar; more are too narrow to be seen
const MAX_ROWS = 100; // of the table

/** Connect the section's controls; `text` gives the page's texts. */
export function connectStreams(section, text) {
  connectExperiment(section, "streams", text, ({ messages, tcp, websocket }) => {
    const frames = messages.map(frameSize);
    const overTcp = partsOfReads(tcp.reads, messages);
    const underWebSocket = partsOfReads(websocket.reads, frames);
    const received = partsOfReads(websocket.messages, messages);
    drawBar(section, "written", partsOfReads(messages, messages), text);
    drawBar(section, "tcp", overTcp, text);
    drawBar(section, "stream", underWebSocket, text);
    drawBar(section, "messages", received, text);
    fillTable(section.querySelector("tbody"), overTcp, received, messages, text);
    const verdict = websocket.intact ? "streams_verdict" : "streams_changed";
    section.querySelector(".verdict").textContent = text(verdict, {
      messages: messages.length,
      ...countReads(overTcp),
      received: websocket.messages.length,
    });
    section.querySelector(".results").hidden = false;
  });
}

function drawBar(section, name, reads, text) {
  const row = section.querySelector(`[data-bar="${name}"]`);
  const drawn = reads.length > MAX_DRAWN ? [] : reads;
  row.querySelector(".count").textContent = reads.length;
  row.querySelector(".bar").replaceChildren(...drawn.map(drawRead));
  if (!drawn.length) row.querySelector(".bar").append(text("streams_not_drawn"));
}

function drawRead(parts) {
  const read = document.createElement("span");
  read.className = "read";
  read.style.flexGrow = total(parts);
  read.append(
    ...parts.map(({ message, bytes, isWhole }) => {
      const part = document.createElement("span");
      part.className = "part";
      part.dataset.parity = message % 2 ? "odd" : "even";
      part.dataset.cut = String(!isWhole);
      part.style.flexGrow = bytes;
      part.textContent = message;
      return part;
    }),
  );
  return read;
}

function total(parts) {
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}

function fillTable(body, overTcp, received, messages, text) {
  const rows = Math.min(Math.max(overTcp.length, received.length), MAX_ROWS);
  const describe = (parts) =>
    parts
      ? parts
          .map(({ message, bytes, isWhole }) =>
            text(isWhole ? "streams_whole" : "streams_part", {
              message,
              bytes,
              size: messages[message - 1],
            }),
          )
          .join(", ")
      : "–";
  body.replaceChildren(
    ...Array.from({ length: rows }, (_, at) => {
      const row = document.createElement("tr");
      for (const content of [at + 1, describe(overTcp[at]), describe(received[at])]) {
        row.insertCell().textContent = content;
      }
      return row;
    }),
  );
}
