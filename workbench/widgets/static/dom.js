/** @import {Parts} from "./types.js" */
import { icon } from "./icons.js";

/** @typedef {Node | string | null | undefined | false} Kid */

/**
 * An element. Text always enters as a text node, and attributes that could run or load something are refused.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes] true sets "", false and null leave it out
 * @param {...Kid} kids
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, ...kids) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (/^(on|href|src|style|action|form)/.test(name)) throw new Error(`the attribute ${name} is not set here`);
    if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? "" : String(value));
  }
  fill(node, ...kids);
  return node;
}

/** Replaces what is in `node`. @param {Element} node @param {...Kid} kids */
export function fill(node, ...kids) {
  node.replaceChildren(.../** @type {(Node | string)[]} */ (kids.filter((kid) => kid !== null && kid !== undefined && kid !== false)));
}

/** A sentence as nodes: what stands between backticks is code. @param {string} text @returns {(Node | string)[]} */
export function prose(text) {
  return text.split("`").map((piece, n, all) => (n % 2 && n < all.length - 1 ? h("span", { class: "wb-code", dir: "ltr" }, piece) : n % 2 ? `\`${piece}` : piece));
}

/** Sets the attribute only if it differs. @param {Element} node @param {string} name @param {string | null} value */
export function set(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** A button with an icon, words, or both. @param {string} words @param {{icon?: string, kind?: string, label?: string}} [more] */
export function button(words, more = {}) {
  const kind = more.kind ?? "plain";
  return h("button", { type: "button", class: `wb-button wb-${kind}`, "aria-label": more.label, title: more.label },
    more.icon && icon(more.icon), words && h("span", {}, words));
}

/** @param {HTMLElement} node @param {boolean} off */
export function setOff(node, off) {
  set(node, "aria-disabled", off ? "true" : null);
}

const MARKS = { new: "ins", gone: "del", find: "mark", dim: "span", note: "span", "": "span" };
const HIDDEN = { new: "new", gone: "removed" };

/** Marked text as nodes; readers also hear "new" and "removed". @param {Parts} parts @returns {Node[]} */
export function marked(parts) {
  return parts.map(([text, mark]) => {
    if (!mark) return document.createTextNode(text);
    const tag = /** @type {keyof HTMLElementTagNameMap} */ (MARKS[mark] ?? "span");
    const said = mark === "new" || mark === "gone" ? h("span", { class: "wb-hidden" }, ` ${HIDDEN[mark]} `) : null;
    return h(tag, { class: `wb-m-${mark}` }, said, text);
  });
}

/** Keys of the keyboard, shown. @param {string} keys */
export function kbd(keys) {
  return h("kbd", { class: "wb-kbd" }, keys);
}

/**
 * Runs one at a time and keeps only the newest call that waits.
 * @template {any[]} A
 * @param {(...args: A) => Promise<void>} run
 * @returns {(...args: A) => Promise<void>}
 */
export function newest(run) {
  let busy = false;
  /** @type {A | null} */
  let waiting = null;
  return async function call(...args) {
    if (busy) {
      waiting = args;
      return;
    }
    busy = true;
    try {
      await run(...args);
    } finally {
      busy = false;
      const next = waiting;
      waiting = null;
      if (next) void call(...next);
    }
  };
}

/**
 * Waits until it is quiet for `ms`. `flush` runs at once what waits.
 * @param {number} ms @param {() => void} run @param {AbortSignal} signal
 */
export function debounce(ms, run, signal) {
  /** @type {any} */
  let timer = 0;
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
  };
  signal.addEventListener("abort", stop);
  return {
    call() {
      stop();
      timer = setTimeout(() => {
        timer = 0;
        run();
      }, ms);
    },
    flush() {
      if (!timer) return;
      stop();
      run();
    },
    stop,
  };
}

/** Puts text on the clipboard, also on pages without https. @param {string} text @returns {Promise<boolean>} */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const area = h("textarea", { class: "wb-hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus();
    return done;
  }
}

/** Is this a place where letters are typed? @param {EventTarget | null} target */
export function isField(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return target.type !== "checkbox";
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}
