/** The receipt of an event: polls until its deliveries are final. */

import { readTexts } from "../site/texts.js";
import { pollInterval, WATCH_MS } from "./pollinterval.js";

const element = document.querySelector("#receipt");
const problem = document.querySelector("#poll-problem");
const text = readTexts(document.querySelector("#texts"));
// States that may still change.
const pending = new Set(["under-way", "partial"]);
const fields = { label: "#state", delivered: "#delivered", took: "#took" };

function show(receipt) {
  for (const [name, selector] of Object.entries(fields)) {
    document.querySelector(selector).textContent = receipt[name];
  }
  const progress = document.querySelector("#progress");
  progress.max = receipt.max;
  progress.value = receipt.value;
  showNotes(receipt.notes);
  element.dataset.state = receipt.state;
}

/** Replace the notes if they differ: screen readers announce each replacement. */
function showNotes(notes) {
  const list = document.querySelector("#notes");
  const shown = [...list.children].map((note) => note.textContent);
  if (notes.join("\n") === shown.join("\n")) return;
  list.replaceChildren(
    ...notes.map((note) =>
      Object.assign(document.createElement("p"), { textContent: note }),
    ),
  );
}

function showProblem(content) {
  problem.textContent = content;
  problem.hidden = !content;
}

async function poll() {
  try {
    const response = await fetch(element.dataset.address);
    if (!response.ok || response.redirected) throw new Error(response.statusText);
    show(await response.json());
    showProblem("");
  } catch {
    showProblem(text("unreachable"));
  }
}

async function watch() {
  const startedAt = performance.now();
  while (pending.has(element.dataset.state)) {
    const elapsed = performance.now() - startedAt;
    if (elapsed > WATCH_MS) return showProblem(text("stopped"));
    await new Promise((resolve) => setTimeout(resolve, pollInterval(elapsed)));
    await poll();
  }
}

watch();
