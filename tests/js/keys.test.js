import assert from "node:assert/strict";
import test from "node:test";
import { isForHost, nameOf, RULES, stepRow, TABLE } from "../../workbench/widgets/static/keys.js";

/** Like a KeyboardEvent: what it says lies on its prototype, not on itself. */
class Stroke {
  #key;
  #held;
  constructor(key, ...held) {
    this.#key = key;
    this.#held = held;
  }
  get key() { return this.#key; }
  get ctrlKey() { return this.#held.includes("ctrl"); }
  get metaKey() { return this.#held.includes("meta"); }
  get shiftKey() { return this.#held.includes("shift"); }
  get altKey() { return this.#held.includes("alt"); }
}
const stroke = (...args) => new Stroke(...args);

test("a stroke has one name, on every keyboard", () => {
  const cases = [[stroke("z", "ctrl"), "Ctrl+Z"], [stroke("Z", "meta", "shift"), "Ctrl+Shift+Z"], [stroke("?", "shift"), "?"], [stroke("*", "shift"), "*"],
    [stroke("n"), "N"], [stroke(" "), "Space"], [stroke("ArrowUp", "alt"), "Alt+ArrowUp"], [stroke("F6", "shift"), "Shift+F6"], [stroke("Tab", "shift"), "Shift+Tab"]];
  for (const [given, name] of cases) assert.equal(nameOf(given), name);
});

test("the host sees strokes with Ctrl that are not about text, and no others", () => {
  const forHost = [stroke("s", "ctrl"), stroke("C", "ctrl", "shift"), stroke("s", "meta"), stroke("Enter", "ctrl"), stroke("b", "ctrl")];
  const kept = [stroke("b"), stroke("Control", "ctrl"), stroke("c", "ctrl"), stroke("v", "ctrl"), stroke("z", "ctrl"), stroke("Z", "ctrl", "shift"),
    stroke("ArrowLeft", "ctrl"), stroke("Enter", "shift")];
  for (const given of forHost) assert.equal(isForHost(given), true, nameOf(given));
  for (const given of kept) assert.equal(isForHost(given), false, nameOf(given));
});

test("moves stay within the table", () => {
  assert.equal(stepRow(0, "up", 10, 5), 0);
  assert.equal(stepRow(3, "extend-down", 10, 5), 4);
  assert.equal(stepRow(8, "page-down", 10, 5), 9);
  assert.equal(stepRow(8, "page-up", 10, 5), 3);
  assert.deepEqual([stepRow(4, "first", 10, 5), stepRow(4, "last", 10, 5)], [0, 9]);
  assert.equal(stepRow(4, "copy", 10, 5), 4);
});

test("rows and rules use no letter that means something in a notebook's command mode", () => {
  for (const key of [...Object.keys(TABLE), ...Object.keys(RULES)]) assert.doesNotMatch(key, /^[ABCDIJKLMRVXYZ0-6]$/);
});
