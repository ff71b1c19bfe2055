/** The panel: Inspector, Findings, Target and Export behind one row of tabs; in a narrow view the rules are a tab too. @import {App, Part} from "./types.js" */
import { fill, h, set } from "./dom.js";

/** @typedef {Part & {count?(): string}} View what stands behind a tab; `count` is said beside its name */

/**
 * @param {App} app
 * @param {Record<string, View>} views by the word on the tab
 * @param {Part} rules
 * @returns {Part & {show(name: string, focus?: boolean): void, current(): string}}
 */
export function createPanel(app, views, rules) {
  const { root } = app;
  const names = Object.keys(views);
  const all = ["Rules", ...names];
  let chosen = names[names.length - 1];
  const tabs = all.map((name) => {
    const id = `wb-tab-${name.toLowerCase()}`;
    const tab = h("button", { type: "button", role: "tab", class: "wb-tab", "data-tab": name, "data-for": id }, name);
    app.on(tab, "click", () => show(name));
    return tab;
  });
  const tablist = h("div", { class: "wb-tabs", role: "tablist", "aria-label": "Panel" }, ...tabs);
  const el = h("div", { class: "wb-panel", "data-region": "panel" }, tablist, ...names.map((name) => {
    const view = views[name].el;
    view.classList.add("wb-panelview");
    set(view, "role", "tabpanel");
    set(view, "aria-label", name);
    return view;
  }));

  const narrow = () => root.dataset.layout === "narrow";
  const current = () => (narrow() && root.dataset.tab === "Rules" ? "Rules" : chosen);

  app.on(tablist, "keydown", (event) => {
    const shown = narrow() ? all : names;
    const at = shown.indexOf(current());
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = shown[(to + shown.length) % shown.length];
    show(next);
    tabs[all.indexOf(next)].focus();
  });

  /** @param {string} name @param {boolean} [focus] take the focus there */
  function show(name, focus = false) {
    root.dataset.tab = name;
    if (name !== "Rules") chosen = name;
    update();
    if (focus) (name === "Rules" ? rules : views[name]).focus();
  }

  function update() {
    const now = current();
    for (const tab of tabs) {
      const name = /** @type {string} */ (tab.dataset.tab);
      const count = views[name]?.count?.() ?? "";
      if (tab.dataset.count !== count) {
        tab.dataset.count = count;
        fill(tab, name, count && h("span", { class: "wb-tabcount" }, ` ${count}`));
      }
      set(tab, "aria-selected", String(name === now));
      tab.tabIndex = name === now ? 0 : -1;
    }
    for (const name of names) {
      const view = views[name];
      view.el.hidden = name !== chosen;
      if (name === chosen && app.summary().state === "open") view.update();
    }
  }
  show(chosen);
  root.dataset.tab = "Rules";
  return { el, show, current, update, focus: () => views[chosen].focus() };
}
