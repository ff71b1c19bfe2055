/** The line above the table in which one key is renamed, or a rule is made of the chosen keys. @import {App, Fault, Row} from "./types.js" */
import { button, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { plural } from "./text.js";

/**
 * @param {App} app
 * @param {() => void} back gives the focus back to the table
 */
export function createEdit(app, back) {
  const el = h("div", { class: "wb-edit", hidden: true });

  function close() {
    el.hidden = true;
    fill(el);
    back();
  }
  app.on(el, "keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    close();
  });
  /** @param {Fault} fault */
  const failed = (fault) => {
    let line = el.querySelector(".wb-editerror");
    if (!line) el.append((line = h("div", { class: "wb-editerror wb-red", role: "alert" })));
    fill(line, fault.title, " ", fault.next ?? "");
  };
  const cancel = () => {
    const node = button("Cancel", { kind: "small" });
    app.on(node, "click", close);
    return node;
  };

  /** @param {Row} row */
  function rename(row) {
    const field = h("input", { type: "text", class: "wb-field wb-code", "aria-label": `New name of ${row.key}`, spellcheck: "false", autocomplete: "off" });
    field.value = row.remapped;
    const go = button("Rename", { kind: "primary" });
    const run = () => void app.ask("rename", { id: row.id, name: field.value }).then(close, failed);
    app.on(go, "click", run);
    app.on(field, "keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      run();
    });
    fill(el, h("span", { class: "wb-second" }, "Rename to"), field, go, cancel());
    el.hidden = false;
    field.focus();
    field.select();
  }

  /** @param {string[]} ids */
  async function fromSelection(ids) {
    const answer = await app.ask("from_selection", { ids }).catch((/** @type {Fault} */ fault) => void app.fail(fault));
    if (!answer) return;
    const list = h("div", { class: "wb-readings", role: "group", "aria-label": "Rules for the chosen keys" }, ...answer.readings.map((reading) => {
      const node = h("button", { type: "button", class: "wb-reading" }, h("span", { class: "wb-code", dir: "ltr" }, reading.pattern), icon("arrow"),
        h("span", { class: "wb-second" }, "nothing"), h("span", { class: "wb-second" }, `${plural(reading.n, "key")}, ${reading.words}`));
      app.on(node, "click", () => void app.ask("add_rule", { pattern: reading.pattern, replacement: "", step: "" }).then(close, failed));
      return node;
    }));
    app.on(list, "keydown", (event) => {
      const all = [...list.querySelectorAll("button")];
      const at = all.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
      const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
      if (to === undefined || all.length === 0) return;
      event.preventDefault();
      all[(to + all.length) % all.length].focus();
    });
    fill(el, h("span", { class: "wb-second" }, answer.readings.length ? `A rule for ${plural(ids.length, "row")}:` : answer.why), list, cancel());
    el.hidden = false;
    /** @type {HTMLElement} */ (el.querySelector("button")).focus();
  }
  return { el, rename, fromSelection };
}
