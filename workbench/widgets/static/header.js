/** The line on top: which file, how much is in it, undo and redo. @import {App, FindingFacts, Part} from "./types.js" */
import { button, fill, h, prose, set, setOff } from "./dom.js";
import { FINDING_ICONS } from "./findings.js";
import { icon } from "./icons.js";
import { bytes, count, dtypeWords, plural } from "./text.js";

const WHOLE = "\u0000";

/** @param {App} app @param {(severity: FindingFacts["severity"]) => void} look shows the findings of a severity @returns {Part} */
export function createHeader(app, look) {
  const mark = h("span", { class: "wb-filemark" });
  const name = h("b", { class: "wb-name" });
  const part = h("select", { class: "wb-select wb-part", "aria-label": "Top-level key", hidden: true });
  const kind = h("span", { class: "wb-second wb-kind" });
  const amount = h("span", { class: "wb-amount" });
  const bar = h("span", { class: "wb-dtypes", "aria-hidden": "true" });
  const words = h("span", { class: "wb-second2" });
  const facts = h("span", { class: "wb-facts" }, amount, bar, h("span", { class: "wb-words" }, words));
  const counts = (/** @type {FindingFacts["severity"][]} */ (["error", "warning", "note"])).map((severity) => {
    const n = h("span");
    const node = h("button", { type: "button", class: `wb-count wb-f-${severity}` }, icon(FINDING_ICONS[severity]), n);
    app.on(node, "click", () => look(severity));
    return { severity, n, node };
  });
  const found = h("span", { class: "wb-counts", role: "group", "aria-label": "Findings" }, ...counts.map(({ node }) => node));
  const burn = h("select", { class: "wb-select wb-burn", "aria-label": "For which Burn" });
  const undo = button("", { icon: "undo", kind: "tool", label: "Undo" });
  const redo = button("", { icon: "redo", kind: "tool", label: "Redo" });
  const other = button("Open another…");
  other.hidden = true;
  const title = h("span", { class: "wb-title" }, mark, name, part, kind);
  const tools = h("span", { class: "wb-tools" }, burn, other, undo, redo);
  const el = h("header", { class: "wb-header", "aria-label": "Checkpoint", "data-region": "header" }, title, facts, found, tools);
  let options = "";
  let versions = "";

  app.on(part, "change", () => void app.tell("set_top_level_key", { key: part.value === WHOLE ? null : part.value }));
  app.on(burn, "change", () => {
    app.ask("choose_burn", { choice: burn.value }).then(({ moved }) => app.say(`${burn.selectedOptions[0]?.textContent}: ${plural(moved, "row")} changed`), app.fail);
  });
  app.on(undo, "click", () => app.undo("undo"));
  app.on(redo, "click", () => app.undo("redo"));
  app.on(other, "click", () => /** @type {HTMLElement | null} */ (app.root.querySelector(".wb-stateview input"))?.focus());

  /** @param {HTMLElement} node @param {string} word @param {string} keys @param {string | null} label */
  function step(node, word, keys, label) {
    setOff(node, label === null);
    const said = label === null ? `Nothing to ${word.toLowerCase()}` : `${word}: ${label}`;
    set(node, "aria-label", said);
    set(node, "title", `${said} (${keys})`);
  }

  function update() {
    const summary = app.summary();
    const open = summary.state === "open";
    fill(mark, icon(summary.state === "error" ? "octagon" : "file"));
    el.classList.toggle("wb-broken", summary.state === "error");
    name.textContent = summary.name;
    set(name, "title", summary.path || null);
    fill(kind, ...prose(open ? summary.kind : summary.state === "error" ? "cannot be opened" : "No checkpoint open"));
    found.hidden = facts.hidden = undo.hidden = redo.hidden = burn.hidden = !open;
    other.hidden = summary.state !== "error";
    const keys = summary.top_level_keys ?? [];
    part.hidden = !open || keys.length === 0;
    const wanted = JSON.stringify(keys);
    if (options !== wanted) {
      options = wanted;
      fill(part, h("option", { value: WHOLE }, "› the whole file"),
        ...keys.map(({ key, n_tensors, nbytes }) => h("option", { value: key }, `› ${key} · ${plural(n_tensors, "tensor")}, ${bytes(nbytes)}`)));
    }
    el.classList.toggle("wb-nested", !part.hidden);
    part.value = summary.top_level_key ?? WHOLE;
    if (!open) return;
    const choices = JSON.stringify(summary.burn_choices);
    if (versions !== choices) {
      versions = choices;
      fill(burn, ...summary.burn_choices.map(({ value, words: said }) => h("option", { value }, said)));
    }
    burn.value = summary.burn_choice;
    fill(amount, h("b", {}, count(summary.n_tensors)), summary.n_tensors === 1 ? " tensor · " : " tensors · ", h("b", {}, bytes(summary.nbytes)));
    fill(bar, ...summary.dtypes.map((dtype) => {
      const piece = h("span");
      piece.style.flexGrow = String(dtype.nbytes);
      return piece;
    }));
    words.textContent = dtypeWords(summary.dtypes);
    const { items } = app.findings();
    for (const { severity, n, node } of counts) {
      const many = items.filter((finding) => finding.severity === severity).length;
      n.textContent = count(many);
      node.classList.toggle("wb-none", many === 0);
      set(node, "aria-label", `${plural(many, severity)}, show`);
      set(node, "title", plural(many, severity));
    }
    step(undo, "Undo", "Ctrl+Z", summary.undo);
    step(redo, "Redo", "Ctrl+Shift+Z", summary.redo);
  }
  return { el, update, focus: () => (part.hidden ? (other.hidden ? undo : other) : part).focus() };
}
