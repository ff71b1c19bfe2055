/** What stands above everything, at most one at a time: trouble, or what should be known of this file first. @import {App, BannerFacts, Fault, Part} from "./types.js" */
import { button, copyText, fill, h, prose } from "./dom.js";
import { FINDING_ICONS, mend } from "./findings.js";
import { icon } from "./icons.js";

/** @param {App} app @returns {Part & {health(health: "well" | "busy" | "gone"): void, fail(fault: Fault): void, height(): number}} */
export function createBanner(app) {
  const trouble = createTrouble(app, () => update());
  const changed = createChanged(app);
  const about = h("section", { class: "wb-banner", "aria-label": "About this file", "data-region": "banner", hidden: true });
  // A live region speaks only what changes within it: it stands before its words come.
  const words = h("div", { class: "wb-bannertext", role: "status" });
  const foot = h("div", { class: "wb-bannerform" });
  const close = button("", { icon: "x", kind: "tool", label: "Close" });
  const el = h("div", { class: "wb-banners" }, trouble.el, changed.el, about);
  /** Files and codes of what was closed. @type {Set<string>} */
  const closed = new Set();
  let shown = "";
  let here = "";
  let written = "";

  app.on(close, "click", () => {
    closed.add(here);
    written = "";
    update();
    app.home();
  });
  app.on(about, "keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    app.home();
  });

  /** @param {BannerFacts} banner */
  function draw(banner) {
    const finding = app.findings().items[banner.finding];
    const look = banner.danger ? "error" : finding.severity === "note" ? "note" : "warning";
    about.className = `wb-banner wb-f-${look}`;
    const write = mend(app, finding, {
      kind: finding.code === "several-top-level-keys" ? "plain" : "primary",
      place: (form) => fill(foot, form),
      written: () => {
        written = here;
        about.className = "wb-banner wb-f-done";
        fill(about, foot, close);
      },
    });
    const copy = button("Copy", { icon: "copy", kind: "small", label: "Copy the line for the file's owner" });
    app.on(copy, "click", async () => void ((await copyText(banner.owner)) && app.say("Copied the line for the file's owner.")));
    const owner = banner.owner && h("div", { class: "wb-owner" }, h("span", { class: "wb-second" }, "For the file's owner"),
      h("span", { class: "wb-pre", dir: "ltr" }, banner.owner), copy);
    fill(words, h("b", {}, ...prose(banner.title)), banner.text && h("div", {}, ...prose(banner.text)));
    fill(foot);
    // The way out comes first for the keyboard; the style sheet puts it to the right of the words.
    fill(about, write, icon(FINDING_ICONS[look]), h("div", { class: "wb-bannerbody" }, words, owner, foot), close);
  }

  function update() {
    const summary = app.summary();
    changed.update(trouble.el.hidden === true);
    const free = trouble.el.hidden && changed.el.hidden;
    const { banner, items } = app.findings();
    const open = summary.state === "open" && banner !== null && items[banner.finding] !== undefined;
    const now = open ? `${summary.path} ${items[banner.finding].code}` : "";
    // What was written stays in sight until it is closed or another file is open.
    if (written && written.startsWith(`${summary.path} `) && summary.state === "open") {
      about.hidden = !free;
      return;
    }
    written = "";
    here = now;
    const text = open ? JSON.stringify([now, banner, items[banner.finding].repair]) : "";
    const had = about.contains(document.activeElement);
    if (open && text !== shown) draw(banner);
    shown = text;
    about.hidden = !open || closed.has(here) || !free;
    if (had && about.hidden) app.home();
    else if (had && !about.contains(document.activeElement)) focus();
  }
  const focus = () => /** @type {HTMLElement | null} */ ((changed.el.hidden ? about : changed.el).querySelector("button, input"))?.focus();
  return { el, update, focus, fail: trouble.fail, health: trouble.health, height: () => el.offsetHeight };
}

/** The file on disk is another one than the table shows. @param {App} app */
function createChanged(app) {
  const el = h("section", { class: "wb-banner wb-f-warning", "aria-label": "The file changed", hidden: true });
  const words = h("div", { class: "wb-bannerbody", role: "status" });
  const again = button("Open again", { kind: "plain" });
  const keep = button("Keep", { kind: "small" });
  app.on(again, "click", () => void app.tell("open_again", {}).then(app.home));
  app.on(keep, "click", () => void app.tell("keep_shown", {}).then(app.home));
  fill(el, again, icon(FINDING_ICONS.warning), words, keep);
  let shown = "";
  return {
    el,
    /** @param {boolean} free nothing weightier stands here */
    update(free) {
      const file = app.changed();
      el.hidden = !file || !free;
      const now = JSON.stringify(file);
      if (now === shown) return;
      shown = now;
      again.hidden = !file?.when;
      if (file) fill(words, h("b", {}, h("span", { dir: "ltr" }, file.name), file.when ? ` changed on disk ${file.when}.` : " was moved or removed."), " The table shows the old one.");
    },
  };
}

/** A kernel that is gone, or an error without a better place. @param {App} app @param {() => void} changed */
function createTrouble(app, changed) {
  const el = h("div", { class: "wb-banner wb-f-error", hidden: true });
  const close = button("Close", { kind: "small", icon: "x" });
  let sticky = false;
  app.on(close, "click", () => {
    el.hidden = true;
    changed();
    app.home();
  });
  return {
    el,
    /** @param {"well" | "busy" | "gone"} health */
    health(health) {
      sticky = health !== "well";
      el.hidden = !sticky;
      el.setAttribute("role", "status");
      if (health === "gone") fill(el, icon("octagon"), h("span", {}, h("b", {}, "The kernel has stopped."), " What you see is the last state. Run the cell again to go on."));
      if (health === "busy") fill(el, icon("octagon"), h("span", {}, h("b", {}, "The kernel has not answered yet."), " It may be busy with another cell; what you did waits for it."));
      changed();
    },
    /** @param {Fault} fault */
    fail(fault) {
      if (sticky) return;
      el.setAttribute("role", "alert");
      fill(el, icon("octagon"), h("span", {}, h("b", {}, fault.title), " ", [fault.cause, fault.next].filter(Boolean).join(" ")), h("span", { class: "wb-space" }), close);
      el.hidden = false;
      changed();
    },
  };
}
