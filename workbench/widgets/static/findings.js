/** The panel that lists what one should know, each with its way out. @import {App, FindingFacts, Part} from "./types.js" */
import { button, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { plural } from "./text.js";

export const FINDING_ICONS = { error: "octagon", warning: "triangle", note: "info" };

/** A mend as a button; it goes by the finding's place in the list of this revision. @param {App} app @param {FindingFacts} finding @param {string} [kind] */
export function mend(app, finding, kind = "plain") {
  if (!finding.repair) return null;
  const node = button(finding.repair.label, { icon: "wand", kind });
  app.on(node, "click", () => {
    app.ask("repair", { finding: finding.number, revision: app.findings().revision }).then(({ label }) => app.say(`Done: ${label}`), app.fail);
  });
  return node;
}

/** @param {App} app @returns {Part & {count(): string}} */
export function createFindings(app) {
  const head = h("div", { class: "wb-second wb-findingshead" });
  const list = h("ul", { class: "wb-findings" });
  const el = h("section", {}, h("div", { class: "wb-panelbody", tabindex: "-1" }, head, list));
  let shown = "";

  /** @param {FindingFacts} finding */
  function one(finding) {
    const meaning = [finding.place, finding.next].filter(Boolean);
    return h("li", { class: `wb-finding wb-f-${finding.severity}` }, icon(FINDING_ICONS[finding.severity]),
      h("div", {}, h("div", { class: "wb-findingtext" }, h("span", { class: "wb-hidden" }, `${finding.severity}: `), finding.text),
        ...meaning.map((text) => h("div", { class: "wb-second" }, text)),
        h("div", { class: "wb-findingfoot" }, h("span", { class: "wb-second wb-code" }, finding.code), mend(app, finding))));
  }

  function update() {
    const findings = app.findings().items;
    const now = JSON.stringify(findings);
    if (now === shown) return;
    shown = now;
    const by = (/** @type {string} */ severity) => findings.filter((finding) => finding.severity === severity);
    const errors = by("error"), warnings = by("warning"), notes = by("note");
    head.textContent = findings.length === 0 ? "Nothing was found. That says only that no check of ours fits."
      : [plural(errors.length, "error"), plural(warnings.length, "warning"), plural(notes.length, "note")].join(", ");
    fill(list, ...[...errors, ...warnings, ...notes].map(one));
  }
  return {
    el, update,
    count: () => String(app.findings().items.filter((finding) => finding.severity !== "note").length || ""),
    focus: () => (list.querySelector("button") ?? /** @type {HTMLElement} */ (el.firstElementChild)).focus(),
  };
}
