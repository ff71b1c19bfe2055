/** Pure functions from facts to words and numbers. No DOM. @import {Parts, Mark, Summary} from "./types.js" */

/** 12345 -> "12,345" @param {number} n */
export function count(n) {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** @param {number} n @param {string} one @param {string} [many] */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Decimal units: 512 B, 1.0 kB, 147 kB, 2.11 MB, 46.8 MB. @param {number} n */
export function bytes(n) {
  if (n < 1000) return `${count(n)} B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let value = n / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = value >= 99.95 ? 0 : value >= 9.995 || unit === 0 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** "102 float32, 20 int64", or only the name when all have the same. @param {Summary["dtypes"]} dtypes */
export function dtypeWords(dtypes) {
  if (dtypes.length === 1) return dtypes[0].dtype;
  const shown = dtypes.slice(0, 3).map((d) => `${count(d.n_tensors)} ${d.dtype}`);
  if (dtypes.length > 3) shown.push(plural(dtypes.length - 3, "other dtype"));
  return shown.join(", ");
}

/** "3 on, 1 off, in this order" @param {{enabled: boolean}[]} rules */
export function rulesWords(rules) {
  if (rules.length === 0) return "none yet";
  const on = rules.filter((rule) => rule.enabled).length;
  const off = rules.length - on;
  return `${on} on${off ? `, ${off} off` : ""}${rules.length > 1 ? ", in this order" : ""}`;
}

/**
 * The equation as pieces; true marks what stands in bold.
 * @param {Summary["equation"]} equation @param {string | null} part
 * @returns {[string, boolean][]}
 */
export function equation({ found, out, skipped, collision, outside }, part) {
  /** @type {[string, boolean][]} */
  const pieces = [[count(found), true], [outside ? " found = " : " in = ", false], [count(out), true], [` out + ${count(skipped)} skipped`, false]];
  if (collision) pieces.push([" + ", false], [count(collision), true], [" in collision", false]);
  if (outside) pieces.push([` + ${count(outside)} outside ${part ?? "the part chosen"}`, false]);
  return pieces;
}

/** @param {number} n @param {boolean} blocked */
export function collisionWords(n, blocked) {
  if (n === 0) return "no collisions";
  return `${plural(n, "collision")}${blocked ? ", export blocked" : ""}`;
}

/** The first values of a group, and how many there are. @param {string[]} values @param {number} n */
export function valueWords(values, n) {
  const shown = values.slice(0, 4).map((value) => (value === "" ? "empty" : value)).join(", ");
  return n > Math.min(values.length, 4) ? `${shown}, … (${plural(n, "value")})` : shown;
}

/** Cuts the middle out. @param {string} text @param {number} max */
export function elideMiddle(text, max) {
  const letters = [...text];
  if (letters.length <= max) return text;
  if (max < 3) return "…";
  const tail = Math.floor((max - 1) / 2);
  return `${letters.slice(0, max - 1 - tail).join("")}…${letters.slice(letters.length - tail).join("")}`;
}

/** @param {Parts} parts */
const width = (parts) => parts.reduce((sum, [text]) => sum + [...text].length, 0);

/** Splits after each dot but not in {0..31}; a segment keeps its dot. @param {Parts} parts @returns {Parts[]} */
function segments(parts) {
  /** @type {Parts[]} */
  const out = [[]];
  for (const [text, mark] of parts) {
    for (const piece of text.split(/(?<=(?:^|[^.])\.)(?!\.)/)) {
      if (piece) out[out.length - 1].push([piece, mark]);
      if (/(^|[^.])\.$/.test(piece)) out.push([]);
    }
  }
  return out.filter((segment) => segment.length > 0);
}

/** First three letters, "…" and the dot if there is one. @param {Parts} segment @returns {Parts} */
function shorten(segment) {
  /** @type {Parts} */
  const out = [];
  let left = 3;
  for (const [text, mark] of segment) {
    if (left === 0) break;
    const kept = [...text].slice(0, left).join("");
    out.push([kept, mark]);
    left -= [...kept].length;
  }
  const dot = segment[segment.length - 1][0].endsWith(".") ? "." : "";
  out.push([`…${dot}`, out[out.length - 1][1]]);
  return out;
}

/**
 * Makes a key fit into `max` characters: first leading segments shared with the parent go ("….weight"), then the longest segments
 * become three letters and "…", then they go altogether, and the last segment is cut last. A segment with a digit or braces is never
 * cut; what is still too long is left to the style sheet.
 * @param {Parts} parts @param {number} max @returns {Parts}
 */
export function elide(parts, max) {
  if (width(parts) <= max || parts.some(([, mark]) => mark === "note")) return parts;
  let list = segments(parts);
  let dropped = false;
  const total = () => list.reduce((sum, segment) => sum + width(segment), dropped ? 2 : 0);
  while (list.length > 1 && total() > max && list[0].every(([, mark]) => mark === "dim")) {
    list = list.slice(1);
    dropped = true;
  }
  const text = (/** @type {Parts} */ segment) => segment.map(([piece]) => piece).join("");
  const order = list
    .map((segment, at) => ({ at, size: width(segment), last: at === list.length - 1 }))
    .filter(({ at, size }) => size > 5 && !/[\d{}]/.test(text(list[at])))
    .sort((a, b) => Number(a.last) - Number(b.last) || b.size - a.size);
  for (const { at, last } of order) {
    if (total() <= max) break;
    if (last) break;
    list[at] = shorten(list[at]);
  }
  // Still too long: what stands between the numbers and the last segment becomes one "….".
  for (let at = 0; at < list.length - 1 && total() > max; ) {
    if (/[\d{}]/.test(text(list[at]))) at += 1;
    else if (at === 0 ? dropped : text(list[at - 1]) === "….") list.splice(at, 1);
    else if (at === 0) {
      list.shift();
      dropped = true;
    } else list[at++] = [["….", "dim"]];
  }
  if (total() > max && order.at(-1)?.last) list[list.length - 1] = shorten(list[list.length - 1]);
  /** @type {Parts} */
  const head = dropped ? [["….", /** @type {Mark} */ ("dim")]] : [];
  return [...head, ...list.flat()];
}

/** "27.9 of 46.8 MB": both in the unit of the whole. @param {number} done @param {number} total */
export function ofBytes(done, total) {
  const whole = bytes(total);
  const [number, unit] = whole.split(" ");
  if (unit === "B") return `${count(done)} of ${whole}`;
  const power = ["kB", "MB", "GB", "TB", "PB"].indexOf(unit) + 1;
  return `${(done / 1000 ** power).toFixed(number.split(".")[1]?.length ?? 0)} of ${whole}`;
}

/** "1 s left", "2 min left"; rounded up, so that it never says nothing is left. @param {number | null} seconds */
export function timeLeft(seconds) {
  if (seconds === null) return "";
  const whole = Math.max(1, Math.ceil(seconds));
  if (whole < 100) return `${whole} s left`;
  const minutes = Math.ceil(whole / 60);
  return minutes < 100 ? `${minutes} min left` : `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}
