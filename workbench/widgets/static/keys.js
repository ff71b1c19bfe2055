/** The keyboard as tables. No DOM. */

/** @typedef {{key: string, ctrlKey: boolean, metaKey: boolean, shiftKey: boolean, altKey: boolean}} Stroke */

/** "Ctrl+Shift+Z", "Alt+ArrowUp", "?"; Cmd reads as Ctrl. Shift is said only where it is not part of the sign. @param {Stroke} stroke */
export function nameOf(stroke) {
  const letter = stroke.key.length === 1;
  const key = stroke.key === " " ? "Space" : letter ? stroke.key.toUpperCase() : stroke.key;
  const ctrl = stroke.ctrlKey || stroke.metaKey;
  const shift = stroke.shiftKey && (!letter || ctrl || stroke.key === " ");
  return `${ctrl ? "Ctrl+" : ""}${stroke.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${key}`;
}

/** Keys with Ctrl that edit or copy text; the browser does these, here and in a field. */
const TEXT = new Set(["A", "C", "V", "X", "Z", "Shift+Z", "Y", "Backspace", "Delete", "Home", "End", "ArrowLeft", "ArrowRight",
  "Shift+ArrowLeft", "Shift+ArrowRight", "ArrowUp", "ArrowDown", "Shift+Home", "Shift+End", "Shift+V"]);

/** Should the host (JupyterLab) see this stroke that no part here has used? @param {Stroke} stroke */
export function isForHost(stroke) {
  if (!stroke.ctrlKey && !stroke.metaKey) return false;
  if (["Control", "Meta", "Shift", "Alt"].includes(stroke.key)) return false;
  return !TEXT.has(nameOf(stroke).replace("Ctrl+", "").replace("Alt+", ""));
}

/** What a key does on a row of the table. @type {Record<string, string>} */
export const TABLE = {
  ArrowUp: "up", ArrowDown: "down", PageUp: "page-up", PageDown: "page-down", Home: "first", End: "last",
  ArrowRight: "in", ArrowLeft: "out", "*": "siblings", Space: "toggle", "Shift+ArrowUp": "extend-up",
  "Shift+ArrowDown": "extend-down", "Ctrl+A": "all", "Ctrl+C": "copy", Escape: "one", Enter: "open",
  F2: "rename", Delete: "skip", F: "repeat",
};

/** What a key does on a rule that is not being typed in. @type {Record<string, string>} */
export const RULES = {
  ArrowUp: "up", ArrowDown: "down", Home: "first", End: "last", Enter: "edit", Space: "toggle",
  "Alt+ArrowUp": "move-up", "Alt+ArrowDown": "move-down", Delete: "delete", ".": "stop", "Ctrl+.": "mend",
};

/** @param {number} row @param {string} action @param {number} total @param {number} page */
export function stepRow(row, action, total, page) {
  const to = { up: row - 1, "extend-up": row - 1, down: row + 1, "extend-down": row + 1, "page-up": row - page, "page-down": row + page,
    first: 0, last: total - 1 }[action];
  return to === undefined ? row : Math.max(0, Math.min(total - 1, to));
}

/** The list of keys that "?" shows. @type {[string, [string, string][]][]} */
export const LIST = [
  ["Anywhere", [["F6, Shift F6", "next, previous region"], ["/", "find"], ["N", "new rule"], ["?", "this list"], ["Ctrl Z, Ctrl Shift Z", "undo, redo"]]],
  ["Table", [["↑ ↓ PgUp PgDn Home End", "move"], ["→ ←", "open, then first child; close, then parent"], ["*", "open all siblings"],
    ["Space, Shift ↑ ↓, Ctrl A", "select, extend, all"], ["Ctrl C", "copy full keys"], ["Enter", "to the Inspector"],
    ["F2", "rename this key"], ["Delete", "skip, or take back"], ["F", "each repeated block singly, or folded"], ["G", "rule from the chosen keys"]]],
  ["Find", [["Enter, Shift Enter", "next, previous hit"], ["Esc", "clear"]]],
  ["Rules", [["↑ ↓", "move"], ["Enter", "edit the pattern"], ["Space", "on, off"], ["Alt ↑ ↓", "move the rule"], ["Delete", "delete the rule"],
    [".", "stop after this rule"], ["Ctrl .", "take its first mend"]]],
  ["In a rule's field", [["Tab, Shift Tab", "pattern, replacement, next rule"], ["Enter", "commit, back to the list"], ["Esc", "revert"]]],
];
