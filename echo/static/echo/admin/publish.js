/** The form that publishes: previews the readers, the size and the frame while typing. */

import { debounce } from "../site/schedule.js";
import { readTexts } from "../site/texts.js";

const DEBOUNCE_MS = 250;
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

async function fetchJson(address, options) {
  const response = await fetch(address, options);
  if (response.redirected) throw new Error(text("signed_out"));
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}

/** Show a text below a field, as help or as a problem. */
function show(element, content, isProblem) {
  if (element.textContent !== content) element.textContent = content;
  element.classList.toggle("problem", isProblem);
  element.closest(".form-row").classList.toggle("errors", isProblem);
}

function showError(element, error) {
  if (error.name === "AbortError") return;
  show(element, text("unchecked", { detail: error.message }), false);
}

async function updateReaders(signal) {
  if (!topic.value) return show(readers, template.dataset.expected, false);
  const query = new URLSearchParams({ topic: topic.value });
  try {
    const found = await fetchJson(`${form.dataset.readers}?${query}`, { signal });
    show(readers, found.text, found.readers === null);
  } catch (error) {
    showError(readers, error);
  }
}

async function updatePreview(signal) {
  const options = { method: "POST", body: new FormData(form), signal };
  try {
    showPreview(await fetchJson(form.dataset.preview, options));
  } catch (error) {
    showError(size, error);
  }
}

function showPreview(preview) {
  const [problem] = preview.errors.data ?? [];
  const bytes = number.format(preview.size ?? 0);
  const sizes = { size: bytes, max: number.format(maxBytes) };
  show(size, problem ?? text("size", sizes), Boolean(problem));
  frame.textContent = preview.frame ?? "–";
}

document.querySelector("#frame-row").hidden = false;
const scheduleReaders = debounce(updateReaders, DEBOUNCE_MS);
const schedulePreview = debounce(updatePreview, DEBOUNCE_MS);

topic.addEventListener("input", scheduleReaders);
form.addEventListener("input", schedulePreview);
data.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
setInterval(() => document.hidden || scheduleReaders(), READERS_MS);
// Also when the browser's Back restores what was typed.
addEventListener("pageshow", () => {
  scheduleReaders();
  schedulePreview();
});
