import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { loadSettings, saveSettings } from "../../static/echo/lab/settings.js";

const PAGE = "https://site.example/transports/";

/** A form's fields, as far as settings.js uses them. */
function form(...fields) {
  const made = { elements: [] };
  for (const field of fields) {
    made.elements.push({
      form: made,
      checkValidity: () => true,
      ...field,
    });
  }
  return made;
}

const count = (value = "20") => ({
  name: "events",
  type: "number",
  value,
  defaultValue: "20",
  checkValidity() {
    return Number(this.value) <= 500;
  },
});

function visit(address) {
  globalThis.location = new URL(address);
  globalThis.history = {
    replaceState: (_state, _title, to) => {
      globalThis.location = new URL(to);
    },
  };
}

afterEach(() => {
  delete globalThis.location;
  delete globalThis.history;
});

test("fields take their values from the address", () => {
  const settings = form(
    count(),
    { name: "cut", type: "checkbox", checked: false },
    { name: "kind", type: "radio", value: "steady", checked: true },
    { name: "kind", type: "radio", value: "burst", checked: false },
  );
  loadSettings(settings, "?events=50&cut=1&kind=burst&unknown=7");
  const [events, cut, , burst] = settings.elements;
  assert.equal(events.value, "50");
  assert.equal(cut.checked, true);
  assert.equal(burst.checked, true);
});

test("a value that a field rejects is ignored", () => {
  const settings = form(count());
  loadSettings(settings, "?events=501");
  assert.equal(settings.elements[0].value, "20");
});

test("the address has the settings that are not the default", () => {
  visit(`${PAGE}?events=50&other=1`);
  saveSettings(
    form(
      count("30"),
      { name: "cut", type: "checkbox", checked: true, defaultChecked: false },
      { name: "slow", type: "checkbox", checked: true, defaultChecked: true },
      { name: "", type: "text", value: "nameless", defaultValue: "" },
      { name: "csrf", type: "hidden", value: "secret", defaultValue: "" },
    ),
  );
  assert.equal(location.search, "?events=30&other=1&cut=1");
});

test("a default is taken out of the address", () => {
  visit(`${PAGE}?events=50`);
  saveSettings(form(count("20")));
  assert.equal(location.href, PAGE);
});

test("a choice and a list have their own defaults", () => {
  visit(PAGE);
  const options = [
    { value: "a", defaultSelected: false },
    { value: "b", defaultSelected: true },
  ];
  const settings = form(
    { name: "list", type: "select-one", value: "b", options },
    { name: "kind", type: "radio", value: "x", checked: false, defaultChecked: true },
    { name: "kind", type: "radio", value: "y", checked: true, defaultChecked: false },
  );
  saveSettings(settings);
  assert.equal(location.search, "?kind=y");
});
