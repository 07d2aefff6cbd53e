/** Copies text; `navigator.clipboard` exists only over https and on localhost. */

const SHOWN_MS = 1200;

/** Copies, and says so on the button for a moment. */
export async function copy(text, button, done) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copySelection(text);
  button.dataset.word ??= button.textContent;
  button.textContent = done;
  setTimeout(() => {
    button.textContent = button.dataset.word;
  }, SHOWN_MS);
}

function copySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
