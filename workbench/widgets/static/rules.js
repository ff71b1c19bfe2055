/** The list of rules, in order. @import {App, Part} from "./types.js" @import {RuleHost, RuleView} from "./rule.js" */
import { button, fill, h, kbd, set } from "./dom.js";
import { nameOf, RULES } from "./keys.js";
import { createRule } from "./rule.js";
import { plural, rulesWords } from "./text.js";

/** @param {App} app @returns {Part & {add(): void, fit(): void, need(): number}} */
export function createRules(app) {
  const words = h("span", { class: "wb-second" });
  const adder = button("Add rule", { icon: "plus" });
  const paste = button("Paste", { kind: "small", label: "Paste rules from Rust code" });
  const pasted = h("textarea", { class: "wb-field wb-code wb-targetfield", "aria-label": "Rust code with key remap calls", rows: "3", spellcheck: "false",
    placeholder: 'PytorchStore::from_file("net.pt").with_key_remapping(r"^conv\\.", "")' });
  const take = button("Add these rules", { kind: "primary" });
  const pasteNote = h("div", { class: "wb-second", role: "status" });
  const pasteForm = h("div", { class: "wb-edit", hidden: true }, pasted, take, pasteNote);
  const list = h("div", { class: "wb-rulelist", role: "list", "aria-label": "Rules" });
  const lastNumber = h("span", { class: "wb-rulenumber" });
  /** @type {HTMLElement} */
  const last = h("div", { class: "wb-rule wb-lastrule", role: "button", tabindex: "-1", "aria-label": "New rule" }, h("span"), lastNumber, h("span"),
    h("span", { class: "wb-second" }, "New pattern…"), h("span", { class: "wb-keyhint" }, kbd("N"), " new rule"));
  const lastItem = h("div", { class: "wb-ruleitem", role: "listitem" }, last);
  const el = h("section", { class: "wb-rules", "aria-label": "Rules", "data-region": "rules" },
    h("div", { class: "wb-sidehead" }, h("b", {}, "Rules"), words, h("span", { class: "wb-space" }), paste, adder), pasteForm, list);
  list.append(lastItem);

  /** @type {RuleView[]} those in the mapping, in its order */
  let views = [];
  /** @type {RuleView[]} those that are being written and not in the mapping yet; more than one only for a moment */
  let drafts = [];
  /** @type {Promise<void>} the last addition on its way: the next one waits for it, so that they keep their order */
  let adding = Promise.resolve();
  /** @type {RuleView | null} the draft that is being added */
  let arriving = null;
  /** @type {HTMLElement} */
  let current = last;

  /** @type {RuleHost} */
  const host = {
    at: (view) => everyone().indexOf(view),
    async commit(view, text, step) {
      if (arriving || drafts.includes(view)) await adding.catch(() => undefined);
      if (!drafts.includes(view)) {
        await app.ask("edit_rule", { index: views.indexOf(view), ...text, step });
        return;
      }
      arriving = view;
      adding = app.ask("add_rule", { ...text, step }).then(update).finally(() => void (arriving = null));
      await adding;
    },
    tab(view, direction) {
      const all = everyone();
      const next = all[all.indexOf(view) + direction];
      if (next) {
        host.open(next);
        (direction > 0 ? next.patternField : next.intoField).focus();
        return true;
      }
      if (direction < 0 || view.isEmpty) return false;
      view.flush();
      add();
      return true;
    },
    open(view) {
      for (const other of everyone()) if (other !== view) other.setOpen(false);
      view.setOpen(true);
      roving(view.el);
      for (const draft of drafts.filter((other) => other !== view && other.isEmpty)) drop(draft);
      host.reveal(view);
    },
    move(view, by) {
      const from = views.indexOf(view);
      const to = from + by;
      if (from >= 0 && to >= 0 && to < views.length) move(from, to);
    },
    remove(view) {
      if (drafts.includes(view)) {
        drop(view);
        focusOn(last);
        return;
      }
      const index = views.indexOf(view);
      if (index < 0) return;
      views.splice(index, 1);
      focusOn(views[index]?.el ?? drafts[0]?.el ?? last);
      view.item.remove();
      void app.tell("delete_rule", { index });
    },
    settled: () => heading(),
    reveal(view) {
      // Not scrollIntoView: that would also move the notebook.
      const outer = list.getBoundingClientRect();
      const inner = view.item.getBoundingClientRect();
      if (inner.bottom > outer.bottom) list.scrollTop += Math.min(inner.bottom - outer.bottom, inner.top - outer.top);
      else if (inner.top < outer.top) list.scrollTop += inner.top - outer.top;
    },
  };

  /** Shows the keys as they are after this rule; a second time shows all again. @param {RuleView} view */
  function stopAfter(view) {
    const n = views.indexOf(view) + 1;
    if (n > 0) void app.tell("stop_after", { rules: app.table().stop === n ? null : n });
  }

  const everyone = () => [...views, ...drafts];
  const nodes = () => [...everyone().map((view) => view.el), ...(drafts.length ? [] : [last])];

  /** @param {RuleView} draft */
  function drop(draft) {
    draft.item.remove();
    drafts = drafts.filter((other) => other !== draft);
    lastItem.hidden = drafts.length > 0;
    roving(views[views.length - 1]?.el ?? last);
  }
  /** @param {HTMLElement} node */
  function roving(node) {
    current = node;
    for (const other of [...everyone().map((view) => view.el), last]) other.tabIndex = other === node ? 0 : -1;
  }
  /** @param {HTMLElement} node */
  function focusOn(node) {
    roving(node);
    node.focus();
  }
  /** @param {number} from @param {number} to */
  function move(from, to) {
    const [view] = views.splice(from, 1);
    views.splice(to, 0, view);
    const focused = /** @type {HTMLElement | null} */ (view.item.contains(document.activeElement) ? document.activeElement : null);
    list.insertBefore(view.item, views[to + 1]?.item ?? drafts[0]?.item ?? lastItem);
    focused?.focus();
    void app.tell("move_rule", { index: from, to });
  }
  function add() {
    // A draft that is on its way is as good as a rule: the next one is written meanwhile.
    let draft = drafts[drafts.length - 1];
    if (!draft || draft === arriving) {
      draft = createRule(app, host, null);
      drafts.push(draft);
      list.insertBefore(draft.item, lastItem);
      lastItem.hidden = true;
      drags(draft);
    }
    host.open(draft);
    draft.focusPattern();
  }

  /** @param {boolean} open */
  function pasting(open) {
    pasteForm.hidden = !open;
    fill(pasteNote);
    (open ? pasted : paste).focus();
  }
  app.on(paste, "click", () => pasting(pasteForm.hidden === true));
  app.on(pasteForm, "keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    pasting(false);
  });
  app.on(take, "click", () => {
    app.ask("paste_rules", { text: pasted.value }).then(
      ({ n, left }) => {
        if (left.length) return fill(pasteNote, `Added ${n}. Not understood: `, ...left.map((text) => h("div", { class: "wb-code" }, text)));
        pasted.value = "";
        pasting(false);
        app.say(`Added ${plural(n, "rule")}.`);
      },
      (fault) => fill(pasteNote, h("span", { class: "wb-red" }, fault.title), " ", fault.next ?? ""),
    );
  });
  app.on(adder, "click", add);
  app.on(last, "click", add);
  app.on(list, "keydown", (event) => {
    const all = nodes();
    const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
    const action = RULES[nameOf(event)];
    if (at < 0 || !action) return;
    event.preventDefault();
    const view = everyone()[at];
    const to = { up: at - 1, down: at + 1, first: 0, last: all.length - 1 }[action];
    if (to !== undefined) return focusOn(all[Math.max(0, Math.min(all.length - 1, to))]);
    if (!view) return action === "edit" || action === "toggle" ? add() : undefined;
    if (action === "edit") {
      host.open(view);
      view.focusPattern();
    } else if (action === "toggle") view.toggle();
    else if (action === "delete") host.remove(view);
    else if (action === "mend") view.mend();
    else if (action === "stop") stopAfter(view);
    else host.move(view, action === "move-up" ? -1 : 1);
  });
  app.on(list, "focusin", (event) => {
    const node = /** @type {HTMLElement} */ (event.target).closest(".wb-rule");
    if (node) roving(/** @type {HTMLElement} */ (node));
  });

  /** Drag a grip; a 2-px line shows the place. @param {RuleView} view */
  function drags(view) {
    app.on(view.grip, "pointerdown", (event) => {
      if (event.button !== 0 || views.indexOf(view) < 0) return;
      event.preventDefault();
      const from = views.indexOf(view);
      let to = from;
      const show = () => views.forEach((other, i) => {
        other.item.classList.toggle("wb-drop-above", to !== from && to < from && i === to);
        other.item.classList.toggle("wb-drop-below", to !== from && to > from && i === to);
      });
      const drag = new AbortController();
      const { signal } = drag;
      app.signal.addEventListener("abort", () => drag.abort(), { signal });
      view.grip.setPointerCapture(event.pointerId);
      view.grip.addEventListener("pointermove", (moved) => {
        const over = views.findIndex((other) => moved.clientY < other.item.getBoundingClientRect().bottom);
        to = over < 0 ? views.length - 1 : over;
        show();
      }, { signal });
      /** @param {boolean} done */
      const end = (done) => {
        drag.abort();
        const place = to;
        to = from;
        show();
        if (done && place !== from) move(from, place);
      };
      view.grip.addEventListener("pointerup", () => end(true), { signal });
      view.grip.addEventListener("pointercancel", () => end(false), { signal });
    });
  }

  function heading() {
    words.textContent = rulesWords(app.rules());
    lastNumber.textContent = String(app.rules().length + 1);
  }

  let path = "";
  function update() {
    const rules = app.rules();
    const other = app.summary().path !== path;
    if (other) {
      path = app.summary().path;
      const inside = list.contains(document.activeElement);
      views = [];
      drafts = [];
      lastItem.hidden = false;
      fill(list, lastItem);
      if (inside) focusOn(last);
    }
    if (arriving && drafts.includes(arriving) && rules.length > views.length) {
      drafts = drafts.filter((draft) => draft !== arriving);
      views.push(arriving);
      lastItem.hidden = drafts.length > 0;
    }
    while (views.length > rules.length) {
      const view = /** @type {RuleView} */ (views.pop());
      const had = view.item.contains(document.activeElement);
      if (had) focusOn(views[views.length - 1]?.el ?? last);
      else if (current === view.el) roving(views[views.length - 1]?.el ?? last);
      view.item.remove();
    }
    while (views.length < rules.length) {
      const view = createRule(app, host, rules[views.length]);
      drags(view);
      views.push(view);
      list.insertBefore(view.item, drafts[0]?.item ?? lastItem);
    }
    const findings = app.findings().items;
    const stop = app.table().stop;
    views.forEach((view, i) => {
      view.show(rules[i], findings.filter((finding) => finding.rule === i));
      view.item.classList.toggle("wb-stop", stop === i + 1);
      view.item.classList.toggle("wb-later", stop !== null && i >= stop);
    });
    for (const draft of drafts) draft.setOpen(draft.isOpen);
    heading();
    if ((other && !list.contains(document.activeElement)) || !list.contains(current)) roving(views[0]?.el ?? last);
    set(list, "aria-label", `Rules, ${rulesWords(rules)}`);
  }
  return { el, update, add, focus: () => current.focus(), fit: () => views.forEach((view) => view.paint()),
    need: () => 36 + (app.rules().length + 1) * 28 + 150 };
}
