/** A choice of few, all in sight: a radio group that looks like one button in parts. @import {App} from "./types.js" */
import { h, set } from "./dom.js";

/**
 * @param {App} app @param {string} label @param {[string, string][]} choices value and words
 * @param {(value: string) => void} chosen called when the user chooses another
 */
export function createSegments(app, label, choices, chosen) {
  let value = choices[0][0];
  const parts = choices.map(([of, words]) => {
    const part = h("button", { type: "button", role: "radio", class: "wb-segment", "data-value": of }, words);
    app.on(part, "click", () => choose(of));
    return part;
  });
  const el = h("div", { class: "wb-segments", role: "radiogroup", "aria-label": label }, ...parts);
  app.on(el, "keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = choices.findIndex(([of]) => of === value);
    const next = (at + by + choices.length) % choices.length;
    choose(choices[next][0]);
    parts[next].focus();
  });
  /** @param {string} next */
  function choose(next) {
    if (next === value) return;
    show(next);
    chosen(next);
  }
  /** @param {string} next */
  function show(next) {
    value = next;
    for (const part of parts) {
      const on = part.dataset.value === value;
      set(part, "aria-checked", String(on));
      part.tabIndex = on ? 0 : -1;
    }
  }
  show(value);
  return { el, show, value: () => value };
}
