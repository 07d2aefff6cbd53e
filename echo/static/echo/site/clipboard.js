/** Copies text; `navigator.clipboard` exists only over https and on localhost. */

const CONFIRMATION_MS = 1200;

/** Copy the text, and show the confirmation on the button for a moment. */
export async function copy(text, button, confirmation) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copySelection(text);
  button.dataset.label ??= button.textContent;
  button.textContent = confirmation;
  setTimeout(() => {
    button.textContent = button.dataset.label;
  }, CONFIRMATION_MS);
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
