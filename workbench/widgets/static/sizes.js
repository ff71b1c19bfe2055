/** Pure functions from widths and row numbers to layout. No DOM. */

export const ROW = 24;
/** Browsers stop near 16 million px; above this many rows the scroll scale is compressed. */
const MOST_ROWS = 500_000;
const STATUS = 104;

/** @typedef {"three" | "two" | "stack" | "narrow"} Layout */

/** @param {number} width @returns {Layout} */
export function layoutFor(width) {
  if (width >= 1600) return "three";
  if (width >= 1160) return "two";
  return width >= 700 ? "stack" : "narrow";
}

/** @typedef {{template: string, original: number, remapped: number, dtype: boolean, size: boolean, word: boolean}} Columns */

/**
 * Which columns fit and how wide they are. Below 200 px per key column first size goes, then dtype, then the word of the status.
 * @param {number} width @param {boolean} wideDtype room for float8_e4m3fn @param {boolean} narrow
 * @returns {Columns}
 */
export function columns(width, wideDtype, narrow) {
  const dtypeWidth = wideDtype ? 114 : 70;
  const shape = 104;
  let size = !narrow;
  let dtype = !narrow;
  let word = true;
  const rest = () => width - shape - (dtype ? dtypeWidth : 0) - (size ? 80 : 0) - (word ? STATUS : 32);
  if (rest() < 400) size = false;
  if (rest() < 400) dtype = false;
  if (rest() < 400) word = false;
  const keys = Math.max(rest(), 160);
  const original = Math.round((keys * 0.745) / 1.745);
  const fixed = [shape, ...(dtype ? [dtypeWidth] : []), ...(size ? [80] : []), word ? STATUS : 32];
  const template = `${original}px ${keys - original}px ${fixed.map((px) => `${px}px`).join(" ")}`;
  return { template, original, remapped: keys - original, dtype, size, word };
}

/**
 * From the scroll position to the place in the rows and back. They differ only for very long tables.
 * @param {number} total rows @param {number} view px
 */
export function scale(total, view) {
  const real = total * ROW;
  const height = Math.min(real, MOST_ROWS * ROW);
  const ratio = height > view ? (real - view) / (height - view) : 1;
  return {
    height,
    /** @param {number} scrollTop */
    toRows: (scrollTop) => scrollTop * ratio,
    /** @param {number} top */
    toScroll: (top) => top / ratio,
  };
}

/** The rows to draw: what is seen and `margin` on each side. @param {number} top @param {number} view @param {number} total */
export function windowOf(top, view, total, margin = 20) {
  const from = Math.max(0, Math.floor(top / ROW) - margin);
  const to = Math.min(total, Math.ceil((top + view) / ROW) + margin);
  return { from: Math.min(from, to), to };
}

/** The first stretch of at most 200 rows in a window that is not known yet. @param {{has(i: number): boolean}} known @param {number} from @param {number} to */
export function missing(known, from, to) {
  while (from < to && known.has(from)) from += 1;
  while (to > from && known.has(to - 1)) to -= 1;
  return { from, to: Math.min(to, from + 200) };
}

/** The height in a notebook cell: what is needed, between 420 and min(720 px, 80 % of the window). @param {number} need @param {number} windowHeight */
export function cellHeight(need, windowHeight) {
  return Math.round(Math.max(420, Math.min(need, 720, windowHeight * 0.8)));
}
