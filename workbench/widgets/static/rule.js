/** One rule: its line, its two fields, and the text that is not valid yet. @import {App, Fault, FindingFacts, GroupsAnswer, Rule} from "./types.js" */
import { button, debounce, fill, h, marked, newest, set } from "./dom.js";
import { FINDING_ICONS, mend } from "./findings.js";
import { icon } from "./icons.js";
import { nameOf } from "./keys.js";
import { elideMiddle, plural, valueWords } from "./text.js";

/**
 * What a rule asks of its list. The list alone knows places.
 * @typedef {{
 *   at(rule: RuleView): number,
 *   commit(rule: RuleView, text: {pattern: string, replacement: string}, step: string): Promise<void>,
 *   tab(rule: RuleView, direction: 1 | -1): boolean,
 *   open(rule: RuleView): void,
 *   move(rule: RuleView, by: 1 | -1): void,
 *   remove(rule: RuleView): void,
 *   settled(rule: RuleView): void,
 *   reveal(rule: RuleView): void,
 * }} RuleHost
 * @typedef {ReturnType<typeof createRule>} RuleView
 */

const EMPTY = { title: "empty pattern", code: "pattern", column: -1, width: 0 };

/** How many letters of the code font fit into a node. @param {HTMLElement} node @param {number} otherwise when it is not shown */
function letters(node, otherwise) {
  if (!node.clientWidth) return otherwise;
  return Math.floor(node.clientWidth / (parseFloat(getComputedStyle(node).fontSize) * 0.603));
}

/** @param {App} app @param {RuleHost} host @param {Rule | null} first null for one that is not in the mapping yet */
export function createRule(app, host, first) {
  const uid = Math.random().toString(36).slice(2, 8);
  let serial = 0;
  let rule = first;
  /** @type {{pattern: string, replacement: string} | null} */
  let draft = null;
  /** @type {Fault | null} */
  let error = null;
  let open = false;
  let origin = { pattern: "", replacement: "" };
  let step = "";

  const number = h("span", { class: "wb-rulenumber" });
  const grip = h("span", { class: "wb-gripdots", title: "Drag to order", "aria-hidden": "true" }, icon("grip"));
  const on = h("input", { type: "checkbox", class: "wb-check", tabindex: "-1" });
  const pattern = h("span", { class: "wb-code wb-rulepattern", dir: "ltr" });
  const into = h("span", { class: "wb-code wb-ruleinto", dir: "ltr" });
  const hits = h("span", { class: "wb-hits" });
  const patternField = h("input", { type: "text", class: "wb-field wb-code", "aria-label": "Pattern", spellcheck: "false", autocomplete: "off",
    autocapitalize: "off", placeholder: "New pattern…" });
  const intoField = h("input", { type: "text", class: "wb-field wb-code", "aria-label": "Replacement", spellcheck: "false", autocomplete: "off",
    autocapitalize: "off", placeholder: "nothing: removes the match" });
  const caret = h("div", { class: "wb-caret wb-code", "aria-hidden": "true" });
  const caretBox = h("div", { class: "wb-caretbox" }, caret);
  const problem = h("div", { class: "wb-problem", id: `wb-problem-${uid}`, role: "alert" });
  const facts = h("div", { class: "wb-rulefacts" });
  const up = button("Move up", { kind: "small" });
  const down = button("Move down", { kind: "small" });
  const remove = button("Delete", { kind: "small" });
  const line = h("div", { class: "wb-ruleline" }, pattern, h("span", { class: "wb-second" }, icon("arrow")), into);
  const edit = h("div", { class: "wb-ruleedit", hidden: true }, patternField, caretBox, problem,
    h("div", { class: "wb-intoline" }, h("span", { class: "wb-ruleinner wb-second" }, icon("arrow")), intoField), facts, h("div", { class: "wb-ruletools" }, up, down, remove));
  const el = h("div", { class: "wb-rule", role: "group", tabindex: "-1" }, grip, number, on, line, edit, hits);
  const lints = h("div", { class: "wb-lints" });
  const item = h("div", { class: "wb-ruleitem", role: "listitem" }, el, lints);

  const now = () => draft ?? rule ?? { pattern: "", replacement: "" };

  const send = newest(async () => {
    const text = draft;
    if (!text || app.signal.aborted) return;
    if (text.pattern === "") {
      error = rule ? EMPTY : null;
      return paint();
    }
    try {
      await host.commit(view, text, step);
      error = null;
      if (draft && draft.pattern === text.pattern && draft.replacement === text.replacement) draft = null;
    } catch (fault) {
      error = /** @type {Fault} */ (fault);
    }
    paint();
    host.settled(view);
  });
  const typed = debounce(80, () => void send(), app.signal);

  for (const field of [patternField, intoField]) {
    app.on(field, "focus", () => {
      step = `${uid}-${++serial}`;
      origin = { ...now() };
    });
    app.on(field, "blur", () => typed.flush());
    app.on(field, "input", () => {
      draft = { pattern: patternField.value, replacement: intoField.value };
      typed.call();
      if (error) placeCaret();
    });
    app.on(field, "keydown", (event) => {
      const key = nameOf(event);
      if (key === "Enter") {
        typed.flush();
        if (view.isNew && patternField.value === "") host.remove(view);
        else el.focus();
      } else if (key === "Escape") revert();
      else if (key === "Tab" || key === "Shift+Tab") {
        const inside = field === patternField ? key === "Tab" : key === "Shift+Tab";
        if (inside || !host.tab(view, key === "Tab" ? 1 : -1)) return;
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }
  app.on(patternField, "scroll", placeCaret);
  app.on(on, "change", () => {
    if (rule) void app.tell("toggle_rule", { index: host.at(view), enabled: on.checked });
  });
  app.on(line, "click", () => {
    host.open(view);
    (getSelection()?.isCollapsed === false ? el : patternField).focus();
  });
  app.on(up, "click", () => host.move(view, -1));
  app.on(down, "click", () => host.move(view, 1));
  app.on(remove, "click", () => host.remove(view));

  /** Back to the text at the time the field was entered. */
  function revert() {
    typed.stop();
    if (view.isNew || origin.pattern === "") return host.remove(view);
    const sent = rule && (rule.pattern !== origin.pattern || rule.replacement !== origin.replacement);
    error = null;
    draft = sent ? { ...origin } : null;
    patternField.value = origin.pattern;
    intoField.value = origin.replacement;
    if (sent) void send();
    paint();
    el.focus();
  }

  function placeCaret() {
    const column = error?.column ?? -1;
    const same = error !== null && column >= 0;
    caretBox.hidden = !same;
    if (!same) return;
    const before = [...patternField.value].slice(0, column).join("");
    fill(caret, h("span", { class: "wb-ghost" }, before), "^".repeat(Math.max(1, error?.width ?? 1)));
    caret.style.transform = `translateX(${-patternField.scrollLeft}px)`;
  }

  function paint() {
    const shown = now();
    const at = host.at(view);
    number.textContent = String(at + 1);
    item.classList.toggle("wb-opened", open);
    item.classList.toggle("wb-wrong", error !== null);
    el.classList.toggle("wb-off", rule?.enabled === false);
    item.classList.toggle("wb-new", rule === null);
    line.hidden = open;
    edit.hidden = !open;
    on.checked = rule?.enabled ?? true;
    on.disabled = rule === null;
    set(on, "aria-label", `Rule ${at + 1} on`);
    pattern.textContent = elideMiddle(shown.pattern, letters(pattern, 60));
    set(pattern, "title", shown.pattern);
    into.textContent = shown.replacement ? elideMiddle(shown.replacement, letters(into, 60)) : "nothing";
    into.classList.toggle("wb-second", shown.replacement === "");
    into.classList.toggle("wb-code", shown.replacement !== "");
    if (!draft) {
      if (patternField.value !== shown.pattern) patternField.value = shown.pattern;
      if (intoField.value !== shown.replacement) intoField.value = shown.replacement;
    }
    const words = error ? "error" : rule === null ? "" : !rule.enabled ? "off" : rule.n_keys === null ? "" : plural(rule.n_keys, "key");
    fill(hits, error && !open && icon("octagon"), words);
    set(el, "aria-label", rule === null ? "New rule" : `Rule ${at + 1}${words ? `, ${words}` : ""}`);
    set(patternField, "aria-invalid", error ? "true" : null);
    set(patternField, "aria-errormessage", error ? problem.id : null);
    problem.hidden = error === null;
    const said = error ? `${error.title}${error.next ? `. ${error.next}` : ""}` : "";
    if (error && problem.dataset.said !== said) {
      fill(problem, h("span", { class: "wb-code" }, error.title), error.next ? ` ${error.next}` : "", h("span", { class: "wb-second" }, "the table still shows the plan before this edit"));
    }
    problem.dataset.said = said;
    // A closed rule keeps its error under its line.
    if (open) edit.insertBefore(problem, caretBox.nextSibling);
    else item.insertBefore(problem, lints);
    up.hidden = down.hidden = rule === null;
    fill(remove, rule === null ? "Discard" : "Delete");
    set(up, "aria-disabled", at === 0 ? "true" : null);
    set(down, "aria-disabled", at === app.rules().length - 1 ? "true" : null);
    facts.hidden = rule === null || !rule.enabled;
    placeCaret();
  }

  /** What the groups hold and what the first hit becomes. @param {GroupsAnswer} answer */
  function showGroups(answer) {
    const hit = answer.first_hit;
    const short = hit && [...hit.before, ...hit.after].reduce((sum, [text]) => sum + text.length, 4) < letters(facts, 52) - 11;
    fill(facts,
      answer.groups.length > 0 && h("span", { class: "wb-second" }, "Groups"),
      answer.groups.length > 0 && h("span", { class: "wb-groups" }, ...answer.groups.map((group) =>
        h("span", {}, h("span", { class: "wb-code wb-second" }, group.name), " ", h("span", { class: "wb-code" }, valueWords(group.values, group.n_values))))),
      answer.n_hits !== answer.n_keys && h("span", { class: "wb-second" }, "Hits"),
      answer.n_hits !== answer.n_keys && h("span", {}, `${plural(answer.n_hits, "hit")} in ${plural(answer.n_keys, "key")}`),
      h("span", { class: "wb-second" }, "First hit"),
      !hit ? h("span", {}, "none: no key matches here") : h("span", { class: short ? "wb-firsthit" : "wb-firsthit wb-two", dir: "ltr" },
        h("span", { class: "wb-code" }, ...marked(hit.before)), short && h("span", { class: "wb-second" }, " → "), h("span", { class: "wb-code" }, ...marked(hit.after))));
  }

  let asked = -1;
  const groups = newest(async () => {
    const index = host.at(view);
    if (!open || !rule || index >= app.rules().length || asked === app.revision()) return;
    const revision = app.revision();
    const answer = await app.ask("groups", { index }).catch(() => null);
    if (!answer || revision !== app.revision() || app.signal.aborted) return;
    asked = revision;
    showGroups(answer);
    if (item.contains(document.activeElement)) host.reveal(view);
  });

  const view = {
    item, el, grip, patternField, intoField,
    get isNew() { return rule === null; },
    get isOpen() { return open; },
    get isEmpty() { return rule === null && patternField.value === ""; },
    flush: typed.flush,
    paint,
    toggle: () => on.click(),
    /** Takes the first mend that stands on this rule. */
    mend: () => lints.querySelector("button")?.click(),
    /** @param {Rule} next @param {FindingFacts[]} found what stands on it */
    show(next, found) {
      rule = next;
      const said = JSON.stringify(found);
      if (lints.dataset.said !== said) {
        lints.dataset.said = said;
        const inside = lints.contains(document.activeElement);
        // Several lints may have one way out: its button stands under the first.
        const offered = new Set();
        fill(lints, ...found.map((finding) => {
          const again = offered.has(finding.repair?.label);
          offered.add(finding.repair?.label);
          return h("div", { class: `wb-lint wb-f-${finding.severity}`, title: [finding.text, finding.next].filter(Boolean).join(" ") },
            icon(FINDING_ICONS[finding.severity]), h("span", {}, h("span", { class: "wb-hidden" }, `${finding.severity}: `), finding.text), !again && mend(app, finding, { kind: "small" }));
        }));
        if (inside) el.focus();
      }
      paint();
      void groups();
    },
    /** @param {boolean} next */
    setOpen(next) {
      if (open === next) return paint();
      open = next;
      if (!open) typed.flush();
      asked = -1;
      paint();
      void groups();
    },
    focusPattern() {
      patternField.focus();
      patternField.select();
    },
  };
  return view;
}
