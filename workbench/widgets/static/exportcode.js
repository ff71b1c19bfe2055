/** The mapping as code, in one of two languages. @import {App, Fault} from "./types.js" */
import { button, copyText, h, newest } from "./dom.js";
import { createSegments } from "./segments.js";

/** @param {App} app */
export function createCode(app) {
  let chosen = false;
  let shown = "";
  let visible = false;
  const language = createSegments(app, "Language of the code", [["rust", "Rust"], ["python", "Python"]], () => {
    chosen = true;
    void write();
  });
  const text = h("pre", { class: "wb-pre", tabindex: "0", "aria-label": "The same as code", dir: "ltr" });
  const copy = button("Copy", { icon: "copy", label: "Copy the code" });
  const el = h("div", { class: "wb-exportcode" }, h("div", { class: "wb-codehead" }, language.el, copy), text);

  const ask = () => app.ask("code", { language: language.value() });
  const now = () => `${app.revision()} ${language.value()}`;
  const write = newest(async () => {
    const wanted = now();
    if (!visible || shown === wanted || app.summary().state !== "open") return;
    const answer = await ask().catch((/** @type {Fault} */ fault) => ({ text: `${fault.title} ${fault.next ?? ""}` }));
    if (wanted !== now()) return;
    shown = wanted;
    text.textContent = answer.text;
  });
  app.on(copy, "click", async () => {
    const answer = await ask().catch((fault) => void app.fail(fault));
    if (answer && (await copyText(answer.text))) app.say("Copied the code.");
  });
  // Only when it can be seen: in the narrow layout the panel may be behind a tab.
  const eye = new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    void write();
  });
  eye.observe(el);
  app.signal.addEventListener("abort", () => eye.disconnect());
  return {
    el,
    update() {
      // Without a framework there is no Rust to show, until one asks for it.
      if (!chosen) language.show(app.summary().burn ? "rust" : "python");
      void write();
    },
  };
}
