/** One row of the table as cells. @import {Row} from "./types.js" @import {Columns} from "./sizes.js" */
import { fill, h, marked, set } from "./dom.js";
import { icon, STATUS_ICONS } from "./icons.js";
import { elide } from "./text.js";

/** @typedef {{columns: Columns, letter: number, nested: boolean}} Look how wide the columns and a letter of the code font are */

/** @param {Row} row @param {Look} look */
function originalCell(row, look) {
  const indent = look.nested ? row.depth * 16 + 16 : 0;
  // The tag behind the key stays readable: a long one down to six letters.
  const tag = row.tag ? Math.min(row.tag.length, 6) + 3 : 0;
  const most = Math.floor((look.columns.original - 17 - indent) / look.letter) - tag;
  const guides = look.nested && row.depth > 0 ? h("span", { class: "wb-guides" }) : null;
  if (guides) guides.style.width = `${row.depth * 16}px`;
  const group = row.kind === "group";
  const fold = look.nested && h("span", { class: group ? "wb-fold" : "wb-leaf" }, group && icon(row.open ? "down" : "right"));
  return h("div", { role: "gridcell", class: "wb-cell wb-key", title: row.key || null },
    guides, fold, h("span", { class: `wb-text${group ? " wb-module" : ""}${row.tag ? " wb-keep" : ""}`, dir: "ltr" }, ...marked(elide(row.label, most))),
    row.note && h("span", { class: "wb-class", dir: "ltr" }, row.note),
    row.tag && h("span", { class: / differs?\b|^differs /.test(row.tag) ? "wb-tag wb-tagodd" : "wb-tag", title: row.tag_title || row.tag }, row.tag));
}

/** @param {Row} row @param {Look} look */
function remappedCell(row, look) {
  const most = Math.floor((look.columns.remapped - 17) / look.letter);
  const dim = row.kind === "group" || row.status === "skipped" || row.status === "outside" || row.status === "value";
  return h("div", { role: "gridcell", class: `wb-cell wb-key${dim ? " wb-dim" : ""}`, title: row.remapped || null },
    h("span", { class: "wb-text", dir: "ltr" }, ...marked(elide(row.target, most))));
}

/** @param {Row} row @param {Look} look */
function statusCell(row, look) {
  const shape = STATUS_ICONS[row.status];
  const odd = row.differs && ["unchanged", "remapped", "reindexed"].includes(row.status);
  if (odd) {
    return h("div", { role: "gridcell", class: "wb-cell wb-state wb-s-differs", title: `${row.differs}: not as in the other blocks; ${row.status}` },
      icon("triangle"), h("span", { class: look.columns.word ? "wb-text" : "wb-hidden" }, row.differs));
  }
  const said = row.reason ? `${row.status_text}: ${row.reason}` : row.kind === "group" ? `${row.status} ${row.status_text}` : row.status_text;
  return h("div", { role: "gridcell", class: `wb-cell wb-state wb-s-${shape ? row.status : "unchanged"}`, title: said },
    shape && icon(shape), h("span", { class: look.columns.word ? "wb-text" : "wb-hidden" }, row.status_text));
}

/** @param {HTMLElement} el @param {Row} row @param {Look} look */
export function drawRow(el, row, look) {
  const number = row.kind === "tensor" && /^\d/.test(row.shape);
  el.className = `wb-row${row.hit ? " wb-hit" : ""}`;
  set(el, "aria-level", String(row.depth + 1));
  set(el, "aria-expanded", row.kind === "group" ? String(row.open === true) : null);
  set(el, "aria-label", row.aria);
  set(el, "aria-busy", null);
  el.dataset.id = row.id;
  if (row.kind === "note") return drawNote(el, row, look);
  fill(el,
    originalCell(row, look),
    remappedCell(row, look),
    h("div", { role: "gridcell", class: number ? "wb-cell wb-code" : "wb-cell wb-second" }, h("span", { class: "wb-text" }, row.shape)),
    look.columns.dtype && h("div", { role: "gridcell", class: row.differs === "dtype" ? "wb-cell wb-code wb-dtype wb-odddtype" : "wb-cell wb-code wb-dtype" }, h("span", { class: "wb-text" }, row.dtype)),
    look.columns.size && h("div", { role: "gridcell", class: "wb-cell wb-number" }, row.size),
    statusCell(row, look));
}

/** A sentence below a tensor, over all columns. @param {HTMLElement} el @param {Row} row @param {Look} look */
function drawNote(el, row, look) {
  el.classList.add("wb-noterow");
  const text = row.label.map(([piece]) => piece).join("");
  const cell = h("div", { role: "gridcell", class: "wb-cell", title: text }, icon("triangle"), h("span", { class: "wb-text" }, text));
  cell.style.paddingLeft = `${8 + (look.nested ? row.depth * 16 + 16 : 0)}px`;
  fill(el, cell);
}

/** A row that is not there yet: grey bars, as long as keys are. @param {HTMLElement} el @param {number} i */
export function drawWaiting(el, i) {
  el.className = "wb-row wb-waiting";
  set(el, "aria-busy", "true");
  set(el, "aria-label", "not there yet");
  set(el, "aria-expanded", null);
  delete el.dataset.id;
  const bars = [55 + ((i * 37) % 40), 50 + ((i * 53) % 45)].map((percent) => {
    const bar = h("span", { class: "wb-bar" });
    bar.style.width = `${percent}%`;
    return h("div", { role: "gridcell", class: "wb-cell" }, bar);
  });
  fill(el, ...bars);
}
