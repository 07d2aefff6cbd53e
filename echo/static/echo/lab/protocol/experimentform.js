/** Runs an experiment when its form is sent: one at a time, its settings in the address. */

import { post } from "../post.js";
import { loadSettings, saveSettings } from "../settings.js";

/**
 * Connect a form whose fields have the names `<prefix>_<setting>`. Its section shows the
 * state: ready, running, done, failed.
 */
export function connectExperiment(section, prefix, text, show) {
  const form = section.querySelector("form");
  const status = section.querySelector(".verdict");
  let running = null;
  loadSettings(form);
  form.addEventListener("change", () => saveSettings(form));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    const run = new AbortController();
    running = run;
    section.dataset.state = "running";
    status.textContent = text("running");
    try {
      const result = await post(form.action, settingsOf(form, prefix), run);
      if (running !== run) return;
      show(result);
      section.dataset.state = "done";
    } catch (error) {
      if (running !== run) return;
      status.textContent = error.message;
      section.dataset.state = "failed";
    }
  });
}

function settingsOf(form, prefix) {
  const named = [...form.elements].filter(({ name }) => name?.startsWith(`${prefix}_`));
  return Object.fromEntries(
    named.map((field) => [
      field.name.slice(prefix.length + 1),
      field.type === "number" ? field.valueAsNumber : field.value,
    ]),
  );
}
