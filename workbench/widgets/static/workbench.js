/** The checkpoint workbench: one file, its keys, the rules and what they make of them. @import {App, Fault, Model} from "./types.js" */
import { isField, h, set } from "./dom.js";
import { createBanner } from "./banner.js";
import { createExport } from "./export.js";
import { createFindings } from "./findings.js";
import { createFrame } from "./frame.js";
import { createHeader } from "./header.js";
import { createInspector } from "./inspector.js";
import { isForHost, nameOf } from "./keys.js";
import { createPanel } from "./panel.js";
import { createRules } from "./rules.js";
import { createStates } from "./states.js";
import { createStatus } from "./status.js";
import { createTable } from "./table.js";
import { createTarget } from "./target.js";
import { connect } from "./wire.js";

/** @param {{model: Model, el: HTMLElement, signal?: AbortSignal}} view @returns {() => void} */
function render({ model, el, signal: outer }) {
  const control = new AbortController();
  const { signal } = control;
  const root = h("div", { class: "wb-root", role: "region", "aria-label": "Workbench", "data-lm-suppress-shortcuts": "true", tabindex: "-1" });
  const wire = connect(model, signal);

  /** @type {App} */
  const app = {
    ask: wire.ask,
    run: wire.run,
    job: () => model.get("job"),
    foreseen: () => model.get("foreseen"),
    signal,
    root,
    summary: () => model.get("summary"),
    rules: () => model.get("rules") ?? [],
    table: () => model.get("table"),
    findings: () => model.get("findings"),
    revision: () => model.get("revision"),
    changed: () => (model.get("changed")?.name ? model.get("changed") : null),
    on: (node, type, run) => node.addEventListener(type, /** @type {EventListener} */ (run), { signal }),
    say: (text) => status.say(text),
    fail: (fault) => banner.fail(fault),
    tell: (name, args) => app.ask(name, args).then(() => undefined, (/** @type {Fault} */ fault) => banner.fail(fault)),
    show: (tab) => panel.show(tab, true),
    home: () => (app.summary().state === "open" ? table : states).focus(),
    undo(direction) {
      if (app.summary()[direction] === null) return app.say(`Nothing to ${direction}.`);
      app.ask(direction, {}).then(({ label }) => app.say(`${direction === "undo" ? "Undone" : "Redone"}: ${label}`), banner.fail);
    },
  };
  const banner = createBanner(app);
  const status = createStatus(app);
  const header = createHeader(app, (severity) => {
    findings.only(severity);
    panel.show("Findings", true);
  });
  const inspector = createInspector(app);
  const findings = createFindings(app);
  const table = createTable(app, { look: inspector.show, open: () => panel.show("Inspector", true) });
  const rules = createRules(app);
  const panel = createPanel(app, { Inspector: inspector, Findings: findings, Target: createTarget(app), Export: createExport(app) }, rules);
  const states = createStates(app);

  const body = h("div", { class: "wb-body" });
  const frame = createFrame(app, { table: table.need, rules: rules.need, states: () => states.el.scrollHeight, banner: banner.height }, { main: table.el, rules: rules.el, body }, () => {
    table.fit();
    rules.fit();
    panel.update();
  });
  body.append(table.el, frame.top, frame.side, h("div", { class: "wb-side" }, rules.el, frame.rules, panel.el));
  // Tab into the view lands on what the banner offers: it comes first, and the style sheet puts it below the header.
  root.append(banner.el, header.el, body, states.el, status.keys, status.el, frame.grip);
  el.append(root);

  /** @param {number} by */
  function region(by) {
    const open = app.summary().state === "open";
    const parts = open ? [header, table, rules, panel, status] : [header, states, status];
    if (banner.height() > 0) parts.splice(1, 0, banner);
    const at = parts.findIndex((part) => part.el.contains(document.activeElement));
    const next = at < 0 ? (by > 0 ? 1 : parts.length - 1) : (at + by + parts.length) % parts.length;
    if (parts[next] === rules) panel.show("Rules");
    if (parts[next] === panel && panel.current() === "Rules") panel.show("Export");
    parts[next].focus();
  }
  /** @param {KeyboardEvent} event @returns {boolean} whether the stroke was used */
  function global(event) {
    const key = nameOf(event);
    const open = app.summary().state === "open";
    if (key === "F6" || key === "Shift+F6") region(key === "F6" ? 1 : -1);
    else if (isField(event.target)) return false;
    else if (key === "?") status.toggleKeys();
    else if (!open) return false;
    else if (key === "Ctrl+Z") app.undo("undo");
    else if (key === "Ctrl+Shift+Z") app.undo("redo");
    else if (key === "/") table.find.focus();
    else if (key === "G") table.ruleOfSelection();
    else if (key === "N") {
      panel.show("Rules");
      rules.add();
    } else return false;
    return true;
  }
  app.on(root, "keydown", (event) => {
    event.stopPropagation();
    if (event.defaultPrevented) return;
    if (global(event)) return event.preventDefault();
    if (!isForHost(event) || !root.parentElement) return;
    const copy = new KeyboardEvent("keydown", { key: event.key, code: event.code, keyCode: event.keyCode, ctrlKey: event.ctrlKey, metaKey: event.metaKey,
      shiftKey: event.shiftKey, altKey: event.altKey, repeat: event.repeat, bubbles: true, cancelable: true, composed: true });
    if (!root.parentElement.dispatchEvent(copy)) event.preventDefault();
  });
  app.on(root, "keyup", (event) => event.stopPropagation());
  app.on(root, "keypress", (event) => event.stopPropagation());

  app.on(panel.el, "keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    table.focus();
  });

  let waiting = false;
  let path = "";
  function update() {
    waiting = false;
    if (signal.aborted) return;
    if (app.summary().path !== path) {
      path = app.summary().path;
      // What is wrong with a file comes first, once.
      if (app.findings().items.some((finding) => finding.severity !== "note")) panel.show("Findings");
    }
    const summary = app.summary();
    const open = summary.state === "open";
    const focused = root.contains(document.activeElement);
    set(root, "aria-label", summary.name ? `Workbench, ${summary.name}` : "Workbench");
    root.dataset.state = summary.state;
    body.hidden = !open;
    for (const part of [header, banner, states, status]) part.update();
    frame.update();
    if (open) for (const part of [table, rules, panel]) part.update();
    if (focused && !root.contains(document.activeElement)) app.home();
  }
  // The traits of one change come one by one: drawn once, when all are here.
  const changed = () => {
    if (!waiting) queueMicrotask(update);
    waiting = true;
  };
  const traits = ["change:revision", "change:summary", "change:rules", "change:table", "change:findings", "change:foreseen", "change:changed"];
  for (const trait of traits) model.on(trait, changed);
  // Ten times a second while something is written: only what says how far it is.
  const worked = () => {
    if (app.summary().state !== "open") return;
    status.job();
    panel.update();
  };
  model.on("change:job", worked);
  wire.onHealth(banner.health);
  // The file may be written anew while one is elsewhere: in another cell, another window.
  app.on(window, "focus", wire.look);
  app.on(root, "focusin", (event) => {
    if (!(event.relatedTarget instanceof Node && root.contains(event.relatedTarget))) wire.look();
  });
  signal.addEventListener("abort", () => {
    for (const trait of traits) model.off(trait, changed);
    model.off("change:job", worked);
    root.remove();
  });
  const stop = () => control.abort();
  outer?.addEventListener("abort", stop, { signal });
  update();
  return stop;
}

export default { render };
