/** The receipt of an event: looks again, ever more seldom, until all of it is known. */

import { readTexts } from "../texts.js";
import { pause, WATCH_MS } from "./pace.js";

const receipt = document.querySelector("#receipt");
const contact = document.querySelector("#contact");
const text = readTexts(document.querySelector("#texts"));
const open = new Set(["under-way", "partial"]);
const words = { label: "#state", delivered: "#delivered", took: "#took" };

function show(answer) {
  for (const [name, place] of Object.entries(words)) {
    document.querySelector(place).textContent = answer[name];
  }
  const progress = document.querySelector("#progress");
  progress.max = answer.max;
  progress.value = answer.value;
  showNotes(answer.notes);
  receipt.dataset.state = answer.state;
}

/** Leaves notes that have not changed, so that no screen reader tells them again. */
function showNotes(notes) {
  const place = document.querySelector("#notes");
  const shown = [...place.children].map((note) => note.textContent);
  if (notes.join("\n") === shown.join("\n")) return;
  place.replaceChildren(
    ...notes.map((note) =>
      Object.assign(document.createElement("p"), { textContent: note }),
    ),
  );
}

function tell(words) {
  contact.textContent = words;
  contact.hidden = !words;
}

async function look() {
  try {
    const response = await fetch(receipt.dataset.address);
    if (!response.ok || response.redirected) throw new Error(response.statusText);
    show(await response.json());
    tell("");
  } catch {
    tell(text("contact"));
  }
}

async function watch() {
  const begun = performance.now();
  while (open.has(receipt.dataset.state)) {
    const watched = performance.now() - begun;
    if (watched > WATCH_MS) return tell(text("stopped"));
    await new Promise((resolve) => setTimeout(resolve, pause(watched)));
    await look();
  }
}

watch();
