/** The experiment "Build and read frames": a frame's fields, its bytes, and the server's answer. */

import { debounce } from "../../site/schedule.js";
import { post } from "../post.js";
import { loadSettings, saveSettings } from "../settings.js";
import {
  element,
  fieldOf,
  kindOf,
  pairs,
  previewOf,
  renderFrame,
} from "./frameview.js";

const TYPING_MS = 200;
/** Longer addresses are cut by some mail programs and proxies. */
const MAX_SHARED_CHARACTERS = 3000;
const FORMS = { 126: "16", 127: "64" };
const SHORTEST = { 7: 0, 16: 126, 64: 65536 };

/** Connect the section's controls; `text` gives the page's texts. */
export function connectFrames(section, text) {
  new FramesPage(section, text).connect();
}

class FramesPage {
  constructor(section, text) {
    this.section = section;
    this.text = text;
    this.part = (name) => section.querySelector(`[data-part="${name}"]`);
    this.example = this.part("example");
    this.fields = this.part("fields"); // the form of one frame
    this.bytes = this.part("bytes"); // the form of all bytes
    this.frames = []; // as read from the bytes
    this.start = 0; // of the frame that the form shows, and its size
    this.size = 0;
    this.readSoon = debounce((signal) => this.read(signal), TYPING_MS);
    this.buildSoon = debounce((signal) => this.replace(signal), TYPING_MS);
  }

  connect() {
    loadSettings(this.bytes);
    this.bytes.addEventListener("input", () => {
      this.start = 0;
      this.example.value = "";
      this.readSoon();
    });
    this.bytes.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.fields.addEventListener("input", () => this.buildSoon());
    this.fields.addEventListener("submit", (event) => {
      event.preventDefault();
      this.append();
    });
    this.example.addEventListener("change", () => this.takeExample());
    this.part("frames").addEventListener("click", ({ target }) => {
      const button = target.closest("button[data-frame]");
      if (button) this.select(Number(button.dataset.frame));
    });
    this.read();
  }

  get hex() {
    return this.bytes.elements.hex.value;
  }

  set hex(digits) {
    this.bytes.elements.hex.value = pairs(digits).join(" ");
  }

  get sender() {
    return this.bytes.elements.sender.value;
  }

  /** Ask the server; show its refusal. Return undefined if there is no answer. */
  async ask(action, settings, signal) {
    const problem = this.part("problem");
    try {
      const result = await post(this.section.dataset[action], settings, { signal });
      problem.textContent = "";
      return result;
    } catch (error) {
      if (error.name !== "AbortError") problem.textContent = error.message;
      return undefined;
    }
  }

  /** Read the bytes, and put the frame at `start` into the form. */
  async read(signal) {
    const settings = { hex: this.hex, sender: this.sender };
    const result = await this.ask("read", settings, signal);
    if (result) this.show(result, { fill: true });
  }

  async takeExample() {
    if (!this.example.value) return;
    this.bytes.elements.sender.value = "client";
    const result = await this.ask("read", { example: this.example.value });
    if (!result) return;
    this.hex = result.hex;
    this.start = result.frames.at(-1).start;
    this.show(result, { fill: true });
  }

  /** Replace the frame at `start` by the one in the form. */
  async replace(signal) {
    const built = await this.ask("build", this.settings(), signal);
    if (built) await this.splice(this.start, this.size, built.hex, signal);
  }

  /** Add the frame in the form behind the others. */
  async append() {
    await this.replace(); // what has just been typed
    const built = await this.ask("build", this.settings());
    if (!built) return;
    const end = this.digits().length / 2;
    await this.splice(end, 0, built.hex);
  }

  async splice(start, size, hex, signal) {
    const digits = this.digits();
    this.start = start;
    this.size = hex.length / 2;
    this.example.value = "";
    this.hex = digits.slice(0, 2 * start) + hex + digits.slice(2 * (start + size));
    const settings = { hex: this.hex, sender: this.sender };
    const result = await this.ask("read", settings, signal);
    if (result) this.show(result, { fill: false });
  }

  /** Return the bytes as they were read last. */
  digits() {
    return this.all ?? "";
  }

  select(index) {
    this.start = this.frames[index].start;
    this.fill();
    this.mark();
  }

  show(result, { fill }) {
    this.all = result.hex;
    this.frames = result.frames;
    if (fill) this.fill();
    const items = this.frames.map((frame, index) => this.item(frame, index));
    this.part("frames").replaceChildren(...items);
    this.part("outcome").textContent = this.outcome(result);
    this.part("reply").hidden = true; // it was to other bytes
    this.bytes.querySelector("[type=submit]").disabled =
      this.sender !== "client" || !result.size;
    this.mark();
    this.share();
  }

  share() {
    if (this.hex.length <= MAX_SHARED_CHARACTERS) saveSettings(this.bytes);
  }

  /** Return how the bytes end for their receiver. */
  outcome({ frames, end, size }) {
    if (!size) return this.text("frames_none");
    const last = frames.at(-1);
    if (!end) {
      const key = last.missing ? "frames_cut" : "frames_open";
      return this.text(key, { frames: frames.length, bytes: last.missing });
    }
    const key = end.error ? "frames_fail" : "frames_close";
    return this.text(key, { number: end.frame + 1, code: end.close_code });
  }

  item(frame, index) {
    const edit = element("button", "quiet", this.text("frames_edit"));
    edit.type = "button";
    edit.dataset.frame = index;
    const title = this.text("frames_number", { number: index + 1 });
    edit.setAttribute("aria-label", `${this.text("frames_edit")}: ${title}`);
    const heading = element(
      "div",
      "frame-heading",
      element("b", "", title),
      element("span", "kind", kindOf(frame, this.text)),
      element("span", "preview", previewOf(frame)),
      edit,
    );
    return element("li", "", heading, renderFrame(frame, this.text));
  }

  /** Mark the frame that the form shows. */
  mark() {
    for (const [index, item] of [...this.part("frames").children].entries()) {
      const isCurrent = this.frames[index].start === this.start;
      if (isCurrent) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
  }

  /** Put the frame at `start` into the form. */
  fill() {
    const frame = this.frames.find(({ start }) => start === this.start);
    const found = frame ?? this.frames[0];
    if (!found) return;
    this.start = found.start;
    this.size = found.size;
    fillForm(this.fields.elements, found);
  }

  settings() {
    return { ...formSettings(this.fields.elements), sender: this.sender };
  }

  async send() {
    const button = this.bytes.querySelector("[type=submit]");
    button.disabled = true;
    this.part("reply").hidden = false;
    this.part("answers").replaceChildren();
    this.part("answer").textContent = this.text("frames_sending");
    const result = await this.ask("send", { hex: this.hex });
    button.disabled = false;
    this.part("reply").hidden = !result;
    if (result) this.showAnswer(result);
  }

  showAnswer({ answer, ending }) {
    const items = answer.frames.map((frame) =>
      element(
        "li",
        "",
        element(
          "div",
          "frame-heading",
          received(this.text),
          element("span", "kind", kindOf(frame, this.text)),
          element("span", "preview", previewOf(frame)),
        ),
        renderFrame(frame, this.text),
      ),
    );
    this.part("answers").replaceChildren(...items);
    const code = answer.end?.close_code;
    const key = code ? "answer_close" : `answer_${ending}`;
    this.part("answer").textContent = this.text(key, {
      code,
      frames: answer.frames.length,
    });
  }
}

function received(text) {
  const mark = element("i", "mark received", "←");
  mark.setAttribute("aria-hidden", "true");
  const both = document.createDocumentFragment();
  both.append(mark, element("span", "visually-hidden", text("tap_received")));
  return both;
}

function formSettings(form) {
  const rsv = ["rsv1", "rsv2", "rsv3"].map((name) => Number(form[name].checked));
  return {
    fin: form.fin.checked,
    rsv: rsv[0] * 4 + rsv[1] * 2 + rsv[2],
    opcode: Number(form.opcode.value),
    mask: form.mask.checked,
    masking_key: form.masking_key.value,
    length: form.length_declared.value,
    length_form: form.length_form.value,
    payload_kind: form.payload_kind.value,
    payload: form.payload.value,
  };
}

function fillForm(form, frame) {
  const value = (name) => fieldOf(frame, name)?.value;
  for (const name of ["fin", "rsv1", "rsv2", "rsv3", "mask"]) {
    form[name].checked = value(name) === 1;
  }
  form.opcode.value = String(frame.opcode);
  form.masking_key.value = value("masking_key") ?? form.masking_key.value;
  form.length_declared.value = frame.missing ? String(frame.length ?? "") : "";
  form.length_form.value = lengthForm(frame, value("length"));
  const payload = fieldOf(frame, "payload");
  const isText =
    !payload || (payload.text !== null && !payload.text.includes("\ufffd"));
  form.payload_kind.value = isText ? "text" : "hex";
  form.payload.value = isText ? (payload?.text ?? "") : pairs(payload.value).join(" ");
}

/** Return the form of a frame's length, or "shortest" if it is. */
function lengthForm(frame, sevenBits) {
  const form = FORMS[sevenBits] ?? "7";
  const shortest = Object.keys(SHORTEST).findLast(
    (bits) => Number(frame.length ?? 0) >= SHORTEST[bits],
  );
  return form === shortest ? "shortest" : form;
}
