/** The panel that lists what one should know, each with its way out. @import {App, FindingFacts, Part} from "./types.js" */
import { button, fill, h, isField, prose } from "./dom.js";
import { createExplain } from "./explain.js";
import { fixForm } from "./fix.js";
import { icon } from "./icons.js";
import { plural } from "./text.js";

export const FINDING_ICONS = { error: "octagon", warning: "triangle", note: "info" };

/** Findings whose export is a form in place: the state_dict in a file of its own. */
const WRITTEN_HERE = ["whole-model", "whole-model-under-key", "whole-model-beside", "torchscript", "weights-only-refused"];

/**
 * A mend as a button; it goes by the finding's place in the list of this revision.
 * @param {App} app @param {FindingFacts} finding
 * @param {{kind?: string, place?: (form: HTMLElement) => void, written?: () => void}} [more] where a form goes, by itself below the button
 */
export function mend(app, finding, { kind = "plain", place, written } = {}) {
  if (!finding.repair) return null;
  const { repair } = finding;
  const here = repair.do === "export" && WRITTEN_HERE.includes(finding.code);
  const node = button(here ? `${repair.label}…` : repair.label, { icon: "wand", kind });
  /** @type {HTMLElement | undefined} */
  let form;
  app.on(node, "click", () => {
    if (here) {
      if (!form?.isConnected) {
        form = fixForm(app, repair, () => node.focus(), { several: finding.code === "whole-model-under-key", written });
        if (place) place(form);
        else node.closest(".wb-findingfoot, .wb-lint")?.after(form);
      }
      return form.querySelector("input")?.focus();
    }
    if (repair.do === "export") return app.show("Export");
    app.ask("repair", { finding: finding.number, revision: app.findings().revision }).then(({ label }) => app.say(`Done: ${label}`), app.fail);
  });
  return node;
}

/** @param {App} app @returns {Part & {count(): string, only(severity: FindingFacts["severity"]): void}} */
export function createFindings(app) {
  const explain = createExplain(app);
  const words = h("span", { class: "wb-second" });
  const all = button("Show all", { kind: "small" });
  const head = h("div", { class: "wb-findingshead" }, words, all);
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
  /** What the list shows; "" is all. */
  let wanted = "";
  app.on(all, "click", () => {
    wanted = "";
    update();
    explain.focus();
  });

  /** @param {FindingFacts} finding */
  function one(finding) {
    const meaning = [finding.place === "the file" ? "" : finding.place, finding.next].filter(Boolean);
    return h("li", { class: `wb-finding wb-f-${finding.severity}` }, icon(FINDING_ICONS[finding.severity]),
      h("div", {}, h("div", { class: "wb-findingtext" }, h("span", { class: "wb-hidden" }, `${finding.severity}: `), ...prose(finding.text)),
        ...meaning.map((text) => h("div", { class: "wb-second" }, ...prose(text))),
        h("div", { class: "wb-findingfoot" }, h("span", { class: "wb-second wb-code" }, finding.code), mend(app, finding))));
  }

  function update() {
    explain.update();
    const findings = app.findings().items;
    if (wanted && !findings.some((finding) => finding.severity === wanted)) wanted = "";
    const now = wanted + JSON.stringify(findings);
    if (now === shown) return;
    shown = now;
    const by = (/** @type {string} */ severity) => findings.filter((finding) => finding.severity === severity);
    const errors = by("error"), warnings = by("warning"), notes = by("note");
    all.hidden = !wanted;
    words.textContent = findings.length === 0 ? "Nothing was found. That says only that no check of ours fits."
      : [plural(errors.length, "error"), plural(warnings.length, "warning"), plural(notes.length, "note")].join(", ");
    fill(list, ...[...errors, ...warnings, ...notes].filter((finding) => !wanted || finding.severity === wanted).map(one));
  }
  return {
    el, update,
    /** Shows those of one severity, until all are asked for. */
    only(severity) {
      wanted = severity;
      update();
      el.querySelector(".wb-panelbody")?.scrollTo(0, 0);
    },
    count: () => String(app.findings().items.filter((finding) => finding.severity !== "note").length || ""),
    focus: explain.focus,
  };
}
