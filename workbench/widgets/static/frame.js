/** Sizes of the whole and of its parts: layout by width, height in a cell, splitters. @import {App} from "./types.js" */
import { h } from "./dom.js";
import { cellHeight, layoutFor } from "./sizes.js";

/** Header and status line; what the export panel needs, beside the rules or below them. */
const LINES = 66;
const PANEL = 330;

/** Sizes live in the browser. @param {string} name @param {number} [value] @returns {number | null} */
function remembered(name, value) {
  try {
    if (value === undefined) return Number(localStorage.getItem(`wb-${name}`)) || null;
    localStorage.setItem(`wb-${name}`, String(value));
  } catch { /* a page that may not store keeps the first sizes */ }
  return value ?? null;
}

/**
 * A separator that is dragged or moved with arrows by 16 px; double-click resets.
 * @param {App} app @param {string} label @param {"horizontal" | "vertical"} orientation how the line lies
 * @param {{get(): number, set(px: number): void, reset(): void}} size
 */
export function splitter(app, label, orientation, size) {
  const el = h("div", { class: `wb-split wb-${orientation}`, role: "separator", tabindex: "0", "aria-label": label, "aria-orientation": orientation, "aria-valuemin": 0 });
  const [less, more] = orientation === "horizontal" ? ["ArrowUp", "ArrowDown"] : ["ArrowLeft", "ArrowRight"];
  app.on(el, "focus", () => el.setAttribute("aria-valuenow", String(Math.round(size.get()))));
  app.on(el, "keydown", (event) => {
    if (event.key !== less && event.key !== more) return;
    event.preventDefault();
    size.set(size.get() + (event.key === more ? 16 : -16));
    el.setAttribute("aria-valuenow", String(Math.round(size.get())));
  });
  app.on(el, "dblclick", size.reset);
  /** @type {{at: number, size: number} | null} */
  let start = null;
  const place = (/** @type {PointerEvent} */ event) => (orientation === "horizontal" ? event.clientY : event.clientX);
  app.on(el, "pointerdown", (event) => {
    event.preventDefault();
    el.focus();
    el.setPointerCapture(event.pointerId);
    start = { at: place(event), size: size.get() };
  });
  app.on(el, "pointermove", (event) => start && size.set(start.size + place(event) - start.at));
  app.on(el, "pointerup", () => void (start = null));
  app.on(el, "pointercancel", () => void (start = null));
  return el;
}

/**
 * Follows the width of the view and sets its height.
 * @param {App} app
 * @param {{table: () => number, rules: () => number, states: () => number, banner: () => number}} need how many px the parts would like
 * @param {{main: HTMLElement, rules: HTMLElement, body: HTMLElement}} parts
 * @param {() => void} changed
 */
export function createFrame(app, need, parts, changed) {
  const { root } = app;
  let path = "";
  let height = 0;
  /** @type {Element | null | undefined} */
  let host;

  /** @param {string} name @param {number} px */
  const css = (name, px) => root.style.setProperty(name, `${Math.round(px)}px`);
  const stacked = () => root.dataset.layout === "stack" || root.dataset.layout === "narrow";

  const top = splitter(app, "Size of the table", "horizontal", {
    get: () => parts.main.getBoundingClientRect().height,
    set: (px) => css("--wb-top", Math.max(140, Math.min(px, parts.body.clientHeight - 150))),
    reset: () => first(),
  });
  const side = splitter(app, "Width of the table", "vertical", {
    get: () => parts.main.getBoundingClientRect().width,
    set: (px) => css("--wb-sidewidth", parts.body.clientWidth - Math.max(480, Math.min(px, parts.body.clientWidth - 340))),
    reset: () => root.style.removeProperty("--wb-sidewidth"),
  });
  const rules = splitter(app, "Size of the rules", "horizontal", {
    get: () => parts.rules.getBoundingClientRect().height,
    set: (px) => css("--wb-rules", Math.max(100, Math.min(px, parts.body.clientHeight - 120))),
    reset: () => first(),
  });
  const grip = splitter(app, "Height of the view", "horizontal", {
    get: () => root.getBoundingClientRect().height,
    set(px) {
      height = Math.max(320, px);
      remembered("height", height);
      apply();
    },
    reset() {
      remembered("height", 0);
      height = 0;
      path = "";
      update();
    },
  });
  grip.classList.add("wb-foot");

  /** The first split: what is needed, within bounds. After that only the user moves it. */
  function first() {
    const whole = parts.body.clientHeight;
    if (!whole) return;
    css("--wb-top", Math.max(180, Math.min(need.table(), whole * 0.55)));
    css("--wb-rules", Math.max(whole * 0.35, Math.min(need.rules(), whole * 0.6)));
  }
  function apply() {
    if (host) {
      const outer = host.getBoundingClientRect();
      const room = host.clientHeight - (root.getBoundingClientRect().top - outer.top + host.scrollTop);
      root.style.height = `${Math.max(320, Math.floor(room))}px`;
    } else root.style.height = `${height || 420}px`;
    grip.hidden = Boolean(host);
  }
  function update() {
    const summary = app.summary();
    const here = `${summary.state} ${summary.path}`;
    const beside = stacked() ? Math.max(need.rules() + 60, PANEL) : need.rules() + PANEL;
    const open = stacked() ? need.table() + beside : Math.max(need.table(), beside);
    const wish = LINES + need.banner() + (summary.state === "open" ? open : need.states());
    if (here !== path) {
      path = here;
      height = remembered("height") ?? cellHeight(wish, innerHeight);
      apply();
      first();
    } else if (!remembered("height")) {
      // Rows that come later may make it grow, never shrink: nothing below it jumps while one types.
      height = Math.max(height, cellHeight(wish, innerHeight));
      apply();
    }
  }

  const watch = new ResizeObserver(() => {
    const found = root.closest("[data-wb-fill], .wb-fill, .jp-LinkedOutputView");
    if (host === undefined || found !== host) {
      host = found;
      if (found) watch.observe(found);
    }
    if (!root.clientWidth) return;
    const layout = layoutFor(root.clientWidth);
    const other = root.dataset.layout !== layout;
    root.dataset.layout = layout;
    apply();
    if (other) {
      path = "";
      update();
    }
    changed();
  });
  watch.observe(root);
  app.signal.addEventListener("abort", () => watch.disconnect());
  return { top, side, rules, grip, update };
}
