/** The page Protocol: connects each section to the module of its experiment. */

import { readTexts } from "../../site/texts.js";
import { connectFrames } from "./frames.js";
import { connectHandshake } from "./handshake.js";
import { connectLayers } from "./layers.js";
import { connectStreams } from "./streams.js";
import { connectTap } from "./tap.js";
import { connectUpdates } from "./updates.js";

const EXPERIMENTS = {
  tap: connectTap,
  handshake: connectHandshake,
  frames: connectFrames,
  streams: connectStreams,
  updates: connectUpdates,
  layers: connectLayers,
};

const text = readTexts(document.querySelector("#texts"));
for (const [id, connect] of Object.entries(EXPERIMENTS)) {
  connect(document.querySelector(`#${id}`), text);
}
