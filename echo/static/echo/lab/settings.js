/** Keeps a form's settings in the page's address, so that the address can be shared. */

/** Set the form's fields from the query string; ignore values that a field rejects. */
export function loadSettings(form, search = location.search) {
  const given = new URLSearchParams(search);
  for (const field of fields(form)) {
    if (!given.has(field.name)) continue;
    const value = given.get(field.name);
    if (field.type === "checkbox") field.checked = value === "1";
    else if (field.type === "radio") field.checked ||= field.value === value;
    else setValue(field, value);
  }
}

/** Write the form's settings into the address, those that are not the default. */
export function saveSettings(form) {
  const address = new URL(location.href);
  for (const field of fields(form)) {
    if (field.type === "radio" && !field.checked) continue;
    const value = field.type === "checkbox" ? String(+field.checked) : field.value;
    if (value === defaultValue(field)) address.searchParams.delete(field.name);
    else address.searchParams.set(field.name, value);
  }
  history.replaceState(null, "", address);
}

function fields(form) {
  return [...form.elements].filter(
    ({ name, type }) => name && !["hidden", "submit", "button"].includes(type),
  );
}

function setValue(field, value) {
  const before = field.value;
  field.value = value;
  if (field.value !== value || !field.checkValidity()) field.value = before;
}

function defaultValue(field) {
  if (field.type === "checkbox") return String(+field.defaultChecked);
  if (field.type === "radio") return defaultChoice(field);
  if (field.options) {
    return (
      [...field.options].find((option) => option.defaultSelected)?.value ??
      field.options[0].value
    );
  }
  return field.defaultValue;
}

function defaultChoice({ form, name }) {
  return [...form.elements].find((other) => other.name === name && other.defaultChecked)
    ?.value;
}
