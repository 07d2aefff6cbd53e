/** Reads the page's translated texts, which its template holds by key. */

/** Return the text with each `{name}` replaced by its value. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (placeholder, name) =>
    name in values ? String(values[name]) : placeholder,
  );
}

/** Return a function from a key and values to the text; it throws for an unknown key. */
export function readTexts(template) {
  const texts = new Map(
    [...template.content.querySelectorAll("[data-text]")].map((element) => [
      element.dataset.text,
      element.textContent,
    ]),
  );
  return (key, values = {}) => {
    if (!texts.has(key)) throw new Error(`expected the text ${key} in the template`);
    return fill(texts.get(key), values);
  };
}
