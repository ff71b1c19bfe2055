/** The panel about the model that the keys are for: how much of it is filled, and what would fill more. @import {App, Fault, Part, SuggestAnswer, TargetFacts, TargetItem} from "./types.js" */
import { button, fill, h, set } from "./dom.js";
import { icon } from "./icons.js";
import { count, plural } from "./text.js";

/** @type {Record<string, [string, string, string]>} the word, the icon and the class of each list */
const LISTS = {
  missing: ["Missing", "missing", "wb-f-error"],
  mismatched: ["Does not fit", "differs", "wb-f-error"],
  unused: ["Unused", "question", "wb-f-warning"],
};

/** @param {App} app @returns {Part & {count(): string}} */
export function createTarget(app) {
  const field = h("textarea", { class: "wb-field wb-code wb-targetfield", "aria-label": "Target", rows: "2", spellcheck: "false", autocomplete: "off",
    placeholder: "A file (.rs, .json, .csv, a checkpoint), or a pasted list of keys or Rust source" });
  const open = button("Use this target", { kind: "primary" });
  const trouble = h("div", { class: "wb-box wb-boxerror", role: "alert", hidden: true });
  const form = h("div", { class: "wb-targetform" }, h("div", { class: "wb-second" },
    "The model that should load this: a Rust source with #[derive(Module)], a file saved from the fresh model, a JSON or CSV list, or its keys pasted here."), field, h("div", { class: "wb-row2" }, open), trouble);
  const other = button("Another…", { kind: "small", label: "Choose another target" });
  const suggest = button("Suggest rules", { icon: "wand" });
  const name = h("span", { class: "wb-code wb-targetname", dir: "ltr" });
  const big = h("span", { class: "wb-percent" });
  const said = h("div", { class: "wb-targetsaid" });
  const bar = h("div", { class: "wb-bar3", role: "img" });
  const offers = h("div", { class: "wb-offers", role: "region", "aria-label": "Suggested rules", hidden: true });
  const lists = h("div", { class: "wb-targetlists" });
  const shownView = h("div", { hidden: true },
    h("div", { class: "wb-targetline" }, h("span", { class: "wb-second" }, "Target"), name, other, h("span", { class: "wb-space" }), suggest),
    h("div", { class: "wb-targetline" }, big, said), bar, offers, lists);
  const el = h("section", {}, h("div", { class: "wb-panelbody" }, form, shownView));
  let drawn = "";
  let asking = false;
  let busy = false;

  /** @param {Fault} fault */
  function failed(fault) {
    trouble.hidden = false;
    fill(trouble, icon("octagon"), h("div", {}, h("b", {}, fault.title), ...[fault.file, fault.place, fault.cause, fault.next].filter(Boolean).map((text) => h("div", {}, text))));
  }
  async function use() {
    const text = field.value.trim();
    if (!text || busy) return;
    busy = true;
    trouble.hidden = true;
    try {
      await app.ask("use_target", { text });
      asking = false;
      field.value = "";
      update();
      suggest.focus();
    } catch (fault) {
      failed(/** @type {Fault} */ (fault));
    } finally {
      busy = false;
    }
  }
  app.on(open, "click", () => void use());
  app.on(field, "keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || !field.value.includes("\n")) && !event.shiftKey) {
      event.preventDefault();
      void use();
    } else if (event.key === "Escape" && app.summary().target) {
      event.preventDefault();
      asking = false;
      update();
      other.focus();
    }
  });
  app.on(other, "click", () => {
    asking = true;
    update();
    field.focus();
  });
  async function look() {
    fill(offers, h("div", { class: "wb-second" }, "Looking for rules…"));
    offers.hidden = false;
    const answer = await app.ask("suggest", {}).catch((/** @type {Fault} */ fault) => void app.fail(fault));
    if (answer) showOffers(answer);
    else offers.hidden = true;
  }
  app.on(suggest, "click", () => void look());

  /** @param {SuggestAnswer} answer */
  function showOffers(answer) {
    offers.hidden = false;
    const close = button("Close", { icon: "x", kind: "small" });
    app.on(close, "click", () => {
      offers.hidden = true;
      suggest.focus();
    });
    const all = button(`Add ${plural(answer.rules.length, "rule")}`, { kind: "primary" });
    app.on(all, "click", () => void take(answer, answer.rules.map((_, i) => i)));
    fill(offers,
      h("div", { class: "wb-targetline" }, h("b", {}, answer.rules.length ? answer.title : "No rule was found that fills more of the target."), h("span", { class: "wb-space" }), close),
      ...answer.rules.map((rule, i) => {
        const add = button("Add", { kind: "plain", label: `Add rule ${i + 1}` });
        app.on(add, "click", () => void take(answer, [i]));
        return h("div", { class: "wb-offer" }, h("span", { class: "wb-code", dir: "ltr" }, rule.pattern), icon("arrow"),
          h("span", { class: "wb-code", dir: "ltr" }, rule.replacement || "nothing"), h("span", { class: "wb-second" }, rule.words), add);
      }),
      ...answer.ambiguous.map((text) => h("div", { class: "wb-second" }, text)),
      answer.rules.length > 1 && h("div", { class: "wb-row2" }, all));
    (answer.rules.length > 1 ? all : /** @type {HTMLElement | null} */ (offers.querySelector(".wb-offer button")) ?? close).focus();
  }
  /** @param {SuggestAnswer} answer @param {number[]} which */
  async function take(answer, which) {
    try {
      await app.ask("take_suggestions", { rules: which.map((i) => ({ pattern: answer.rules[i].pattern, replacement: answer.rules[i].replacement })) });
      app.say(`Added ${plural(which.length, "rule")}.`);
      // What is left was meant to come after rules that may not have been taken: it is sought anew.
      if (which.length < answer.rules.length) return look();
      offers.hidden = true;
      suggest.focus();
    } catch (fault) {
      app.fail(/** @type {Fault} */ (fault));
    }
  }

  /** @param {TargetItem} item @param {string} what */
  function entry(item, what) {
    const act = item.action && button(item.action, { kind: "plain", label: `${item.action}: ${item.key}` });
    if (act) app.on(act, "click", () => app.ask("mend_target", { list: what, key: item.key }).then(({ label }) => app.say(label), app.fail));
    return h("li", {}, h("div", { class: "wb-targetentry" }, h("span", { class: "wb-code", dir: "ltr" }, item.key), h("span", { class: "wb-code wb-second" }, item.shape)), act,
      item.note && h("div", { class: "wb-second" }, item.note));
  }

  function update() {
    const { target } = app.summary();
    form.hidden = Boolean(target) && !asking;
    shownView.hidden = !target || asking;
    if (!target) {
      drawn = "";
      return;
    }
    const now = JSON.stringify(target);
    if (now === drawn) return;
    drawn = now;
    paint(target);
  }
  /** @param {TargetFacts} target */
  function paint(target) {
    name.textContent = target.name;
    big.textContent = `${target.at_least ? "≤ " : ""}${target.percent} %`;
    fill(said, h("b", {}, target.text), h("div", { class: target.ok ? "" : "wb-red" }, icon(target.ok ? "check" : "octagon"), " ", target.verdict));
    set(bar, "aria-label", target.text);
    fill(bar, ...[["applied", target.n_applied], ["shape", target.n_mismatched], ["missing", target.n_missing]].map(([kind, n]) => {
      const piece = h("span", { class: `wb-bar-${kind}`, hidden: n === 0 });
      piece.style.flexGrow = String(n);
      return piece;
    }));
    const inside = lists.contains(document.activeElement);
    fill(lists, ...target.lists.filter((list) => list.n > 0).map((list) => {
      const [word, shape, style] = LISTS[list.what];
      return h("section", { "aria-label": word }, h("div", { class: `wb-targethead ${style}` }, icon(shape), h("b", {}, word), h("span", { class: "wb-second" }, list.words)),
        h("ul", {}, ...list.items.map((item) => entry(item, list.what))),
        list.n > list.items.length && h("div", { class: "wb-second" }, `and ${count(list.n - list.items.length)} more`));
    }));
    if (inside) suggest.focus();
  }

  return {
    el, update,
    count: () => (app.summary().target ? `${app.summary().target?.percent} %` : ""),
    focus: () => (form.hidden ? suggest : field).focus(),
  };
}
