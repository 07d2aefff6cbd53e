/** The form that publishes: shows, while somebody types, what publishing would say. */

import { readTexts } from "../texts.js";
import { whenQuiet } from "./pace.js";

const READERS_MS = 5_000;

const form = document.querySelector("#publish");
const { topic, data } = form.elements;
const readers = document.querySelector("#readers");
const size = document.querySelector("#size");
const frame = document.querySelector("#frame");
const template = document.querySelector("#texts");
const text = readTexts(template);
const number = new Intl.NumberFormat(document.documentElement.lang);
const maxBytes = Number(template.dataset.maxBytes);

async function askJson(address, options) {
  const response = await fetch(address, options);
  if (response.redirected) throw new Error(text("signed_out"));
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}

/** Says something about a field, or what is wrong with it. */
function say(element, words, isProblem) {
  if (element.textContent !== words) element.textContent = words;
  element.classList.toggle("problem", isProblem);
  element.closest(".form-row").classList.toggle("errors", isProblem);
}

function sayUnlessAborted(element, error) {
  if (error.name === "AbortError") return;
  say(element, text("unchecked", { detail: error.message }), false);
}

async function showReaders(signal) {
  if (!topic.value) return say(readers, template.dataset.expected, false);
  const query = new URLSearchParams({ topic: topic.value });
  try {
    const answer = await askJson(`${form.dataset.readers}?${query}`, { signal });
    say(readers, answer.text, answer.readers === null);
  } catch (error) {
    sayUnlessAborted(readers, error);
  }
}

async function showPreview(signal) {
  const body = new FormData(form);
  try {
    const answer = await askJson(form.dataset.preview, {
      method: "POST",
      body,
      signal,
    });
    show(answer);
  } catch (error) {
    sayUnlessAborted(size, error);
  }
}

function show({ errors, size: bytes, frame: preview }) {
  const [problem] = errors.data ?? [];
  const sizes = { size: number.format(bytes ?? 0), max: number.format(maxBytes) };
  say(size, problem ?? text("size", sizes), Boolean(problem));
  frame.textContent = preview ?? "–";
}

document.querySelector("#frame-row").hidden = false;
const askReaders = whenQuiet(showReaders);
const askPreview = whenQuiet(showPreview);

topic.addEventListener("input", askReaders);
form.addEventListener("input", askPreview);
data.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
setInterval(() => document.hidden || askReaders(), READERS_MS);
// Also when the browser's Back brings the page with what had been typed.
addEventListener("pageshow", () => {
  askReaders();
  askPreview();
});
