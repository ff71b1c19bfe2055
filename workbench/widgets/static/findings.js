/** The panel that lists what one should know, each with its way out. @import {App, FindingFacts, Part} from "./types.js" */
import { button, fill, h, isField } from "./dom.js";
import { createExplain } from "./explain.js";
import { fixForm } from "./fix.js";
import { icon } from "./icons.js";
import { plural } from "./text.js";

export const FINDING_ICONS = { error: "octagon", warning: "triangle", note: "info" };

/** A mend as a button; it goes by the finding's place in the list of this revision. @param {App} app @param {FindingFacts} finding @param {string} [kind] */
export function mend(app, finding, kind = "plain") {
  if (!finding.repair) return null;
  const node = button(finding.repair.label, { icon: "wand", kind });
  const { repair } = finding;
  app.on(node, "click", () => {
    if (repair.do === "export" && finding.code.startsWith("whole-model")) {
      const form = fixForm(app, repair, () => node.focus());
      node.closest(".wb-findingfoot, .wb-lint")?.after(form);
      return form.querySelector("input")?.focus();
    }
    if (repair.do === "export") return app.show("Export");
    app.ask("repair", { finding: finding.number, revision: app.findings().revision }).then(({ label }) => app.say(`Done: ${label}`), app.fail);
  });
  return node;
}

/** @param {App} app @returns {Part & {count(): string}} */
export function createFindings(app) {
  const explain = createExplain(app);
  const head = h("div", { class: "wb-second wb-findingshead" });
  const list = h("ul", { class: "wb-findings" });
  const el = h("section", {}, h("div", { class: "wb-panelbody", tabindex: "-1" }, explain.el, head, list));
  // Ctrl+V anywhere in the panel goes into the box.
  app.on(el, "paste", (event) => {
    const text = event.clipboardData?.getData("text/plain");
    if (!text || isField(event.target)) return;
    event.preventDefault();
    explain.take(text);
  });
  let shown = "";

  /** @param {FindingFacts} finding */
  function one(finding) {
    const meaning = [finding.place === "the file" ? "" : finding.place, finding.next].filter(Boolean);
    return h("li", { class: `wb-finding wb-f-${finding.severity}` }, icon(FINDING_ICONS[finding.severity]),
      h("div", {}, h("div", { class: "wb-findingtext" }, h("span", { class: "wb-hidden" }, `${finding.severity}: `), finding.text),
        ...meaning.map((text) => h("div", { class: "wb-second" }, text)),
        h("div", { class: "wb-findingfoot" }, h("span", { class: "wb-second wb-code" }, finding.code), mend(app, finding))));
  }

  function update() {
    explain.update();
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
    focus: explain.focus,
  };
}
