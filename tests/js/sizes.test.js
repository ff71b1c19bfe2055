import assert from "node:assert/strict";
import test from "node:test";
import { cellHeight, columns, layoutFor, missing, ROW, scale, windowOf } from "../../workbench/widgets/static/sizes.js";

test("the layout goes by the width of the view", () => {
  assert.deepEqual([1600, 1599, 1160, 1159, 700, 699].map(layoutFor), ["three", "two", "two", "stack", "stack", "narrow"]);
});

test("columns go in the order size, dtype, word, and the keys keep their ratio", () => {
  const shown = (width, wide = false, narrow = false) => {
    const c = columns(width, wide, narrow);
    return [c.size, c.dtype, c.word].map(Number).join("");
  };
  assert.equal(shown(900), "111");
  assert.equal(shown(740), "011");
  assert.equal(shown(640), "001");
  assert.equal(shown(560), "000");
  assert.equal(shown(790), "111");
  assert.equal(shown(790, true), "011", "room for float8_e4m3fn");
  assert.equal(shown(690, false, true), "001", "dtype and size go in the narrow layout");
  const c = columns(896, false, false);
  assert.ok(Math.abs(c.original / c.remapped - 0.745) < 0.005);
  assert.equal(c.template.split(" ").reduce((sum, px) => sum + parseInt(px, 10), 0), 896);
});

test("up to 500,000 rows a px is a px; above, both ends are still reached", () => {
  const small = scale(1000, 500);
  assert.deepEqual([small.height, small.toRows(777)], [24_000, 777]);
  const big = scale(2_000_000, 600);
  assert.equal(big.height, 12_000_000);
  assert.equal(big.toRows(0), 0);
  assert.equal(Math.round(big.toRows(12_000_000 - 600)), 2_000_000 * ROW - 600);
  assert.ok(Math.abs(big.toRows(big.toScroll(31_000_008)) - 31_000_008) < 1e-6);
});

test("the window is what is seen and 20 rows more on each side, within the table", () => {
  assert.deepEqual(windowOf(0, 480, 1000), { from: 0, to: 40 });
  assert.deepEqual(windowOf(2400, 480, 1000), { from: 80, to: 140 });
  assert.deepEqual(windowOf(9_999, 480, 10), { from: 10, to: 10 });
  assert.deepEqual(windowOf(0, 480, 3), { from: 0, to: 3 });
});

test("only rows that are not known are asked for, 200 at most", () => {
  assert.deepEqual(missing(new Set([0, 1, 5]), 0, 6), { from: 2, to: 5 });
  const none = missing(new Set([0, 1]), 0, 2);
  assert.equal(none.from, none.to);
  assert.deepEqual(missing(new Set(), 100, 900), { from: 100, to: 300 });
});

test("the height in a cell stays between 420 and min(720, 80 % of the window)", () => {
  assert.deepEqual([cellHeight(100, 900), cellHeight(500, 900), cellHeight(5000, 1000), cellHeight(5000, 800)], [420, 500, 720, 640]);
});
