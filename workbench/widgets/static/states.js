/** What stands in the place of table and rules when no checkpoint is open. @import {App, Fault, Part} from "./types.js" */
import { button, copyText, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { bytes } from "./text.js";

/** @param {App} app @returns {Part} */
export function createStates(app) {
  const el = h("section", { class: "wb-stateview", "aria-label": "Open a checkpoint", "data-region": "table", hidden: true });
  const trouble = h("div", { class: "wb-trouble", role: "alert", hidden: true });
  let shown = "";
  let busy = false;

  /** @param {string} path */
  async function open(path) {
    if (!path.trim() || busy) return;
    busy = true;
    trouble.hidden = true;
    el.classList.add("wb-busy");
    try {
      await app.ask("open", { path: path.trim() });
    } catch (fault) {
      const { title, next } = /** @type {Fault} */ (fault);
      // State "error" shows it in full; this is for a kernel that does not change its state.
      fill(trouble, h("b", {}, title), next ? ` ${next}` : "");
      trouble.hidden = app.summary().state === "error";
    } finally {
      busy = false;
      el.classList.remove("wb-busy");
    }
  }

  /** @param {string} words */
  function form(words) {
    const field = h("input", { type: "text", class: "wb-field wb-code", "aria-label": "Path of a checkpoint", placeholder: "path on the server, e.g. models/net.pt", spellcheck: "false", autocomplete: "off" });
    const go = button(words, { kind: "primary" });
    app.on(field, "keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      void open(field.value);
    });
    app.on(go, "click", () => (field.value.trim() ? void open(field.value) : field.focus()));
    return h("div", { class: "wb-openform" }, field, go);
  }
  function folder() {
    const list = app.summary().folder ?? [];
    if (list.length === 0) return null;
    return h("div", { class: "wb-folder" }, h("div", { class: "wb-second" }, "In this folder"),
      h("ul", {}, ...list.map(({ path, nbytes }) => {
        const link = h("button", { type: "button", class: "wb-link wb-code", dir: "ltr" }, path);
        app.on(link, "click", () => void open(path));
        return h("li", {}, link, h("span", { class: "wb-second" }, bytes(nbytes)));
      })), app.summary().folder_more && h("div", { class: "wb-second" }, app.summary().folder_more));
  }
  function empty() {
    return h("div", { class: "wb-empty" }, h("h2", {}, "Open a checkpoint"), form("Open"), trouble,
      h("p", { class: "wb-second" }, "Opening reads names and shapes only. No code in the file is run."), folder());
  }
  /** @param {Fault} fault */
  function broken(fault) {
    const again = button("Try again", { kind: "primary" });
    app.on(again, "click", () => void open(app.summary().path || fault.file || ""));
    const copy = button("Copy this message", { icon: "copy" });
    app.on(copy, "click", async () => void ((await copyText([fault.title, fault.file, fault.place, fault.cause, fault.next, fault.code].filter(Boolean).join("\n"))) && app.say("Copied.")));
    /** @type {[string, string | undefined, boolean][]} */
    const facts = [["file", fault.file, true], ["place", fault.place, false], ["cause", fault.cause, false], ["next step", fault.next, false]];
    return h("div", { class: "wb-error", role: "alert" }, h("h2", {}, fault.title),
      h("dl", {}, ...facts.filter(([, text]) => text).flatMap(([name, text, code]) => [h("dt", { class: "wb-second" }, name), h("dd", { class: code ? "wb-code" : "" }, text)])),
      h("div", { class: "wb-errortools" }, again, copy, fault.code && h("span", { class: "wb-code wb-second" }, fault.code)), trouble,
      h("div", { class: "wb-another" }, h("div", { class: "wb-second" }, "Open another…"), form("Open"), folder()));
  }

  function update() {
    const summary = app.summary();
    const open = summary.state === "open";
    el.hidden = open;
    const now = open ? "" : JSON.stringify([summary.state, summary.error, summary.folder]);
    if (now === shown) return;
    shown = now;
    const had = el.contains(document.activeElement);
    trouble.hidden = true;
    if (open) fill(el);
    else fill(el, summary.error ? broken(summary.error) : empty());
    if (had && !open) focus();
  }
  const focus = () => /** @type {HTMLElement | null} */ (el.querySelector("button.wb-primary, input"))?.focus();
  return { el, update, focus: () => (app.summary().state === "empty" ? /** @type {HTMLElement | null} */ (el.querySelector("input"))?.focus() : focus()) };
}
