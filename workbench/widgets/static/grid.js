/** The window of rows: which are asked for, drawn, active and selected. @import {App, Row, RowsAnswer} from "./types.js" */
import { h, newest, set } from "./dom.js";
import { drawRow, drawWaiting } from "./row.js";
import { columns, missing, ROW, scale, windowOf } from "./sizes.js";

/** Rows that a selection or a copy may fetch at most. */
const MOST_SELECTED = 4000;

/**
 * @param {App} app
 * @param {HTMLElement} scroller @param {HTMLElement} spacer
 * @param {(row: Row | undefined) => void} tell is told which row is the active one
 */
export function createGrid(app, scroller, spacer, tell) {
  /** @type {Map<number, Row>} */
  const rows = new Map();
  /** @type {Map<number, {el: HTMLElement, row: Row | undefined, look: unknown}>} */
  const drawn = new Map();
  /** @type {Map<string, string>} id -> full key */
  const selected = new Map();
  let version = -1;
  let total = 0;
  let active = 0;
  /** @type {string | null} */
  let activeId = null;
  let anchor = 0;
  /** @type {Row | undefined} */
  let told;
  /** @type {number | null} */
  let pendingTop = null;
  let pendingFocus = false;
  let look = { columns: columns(900, false, false), letter: 7.2, nested: true };
  let map = scale(0, 0);

  const view = () => scroller.clientHeight;
  const top = () => map.toRows(scroller.scrollTop);

  const ask = newest(async () => {
    if (app.signal.aborted) return;
    const now = app.table();
    if (now.total === 0) return void clear(now.version);
    const shown = version === now.version;
    const want = windowOf(pendingTop ?? top(), view(), shown ? total : now.total);
    const gap = shown ? missing(rows, want.from, want.to) : { from: want.from, to: Math.min(want.to, want.from + 200) };
    if (gap.from >= gap.to) return;
    const answer = await app.ask("rows", gap).catch(() => null);
    if (!answer || app.signal.aborted) return;
    const current = app.table().version;
    if (answer.version !== current) {
      // An older one: ask again. A newer one: its traits are on the way, and they ask.
      if (answer.version < current) void ask();
      return;
    }
    take(answer);
    if (answer.rows.length > 0) void ask();
  });

  /** @param {number} now */
  function clear(now) {
    rows.clear();
    version = now;
    total = 0;
    resize();
  }

  /** @param {RowsAnswer} answer */
  function take(answer) {
    if (answer.version !== version) {
      rows.clear();
      version = answer.version;
      total = answer.total;
      resize();
    }
    for (const row of answer.rows) rows.set(row.i, row);
    if (rows.size > 2000) {
      const { from, to } = windowOf(top(), view(), total, 500);
      for (const i of rows.keys()) if (i < from || i >= to) rows.delete(i);
    }
    if (pendingTop !== null) {
      scroller.scrollTop = map.toScroll(pendingTop);
      pendingTop = null;
    }
    active = Math.max(0, Math.min(active, total - 1));
    draw();
    if (pendingFocus) drawn.get(active)?.el.focus({ preventScroll: true });
    pendingFocus = false;
  }

  function resize() {
    map = scale(total, view());
    spacer.style.height = `${map.height}px`;
    set(/** @type {Element} */ (scroller.parentElement), "aria-rowcount", String(total + 1));
    draw();
  }

  function draw() {
    const { from, to } = windowOf(top(), view(), total);
    // While the rows of another version are on the way the old ones stay, as many as there are.
    const shift = scroller.scrollTop - top();
    const keep = drawn.get(active)?.el.contains(document.activeElement) ? active : -1;
    for (const [i, { el }] of drawn) {
      if ((i < from || i >= to) && (i !== keep || i >= total)) {
        if (el.contains(document.activeElement)) scroller.focus({ preventScroll: true });
        el.remove();
        drawn.delete(i);
      }
    }
    for (let i = from; i < to; i += 1) place(i, shift);
    if (keep >= 0 && keep < total && (keep < from || keep >= to)) place(keep, shift);
    const row = rows.get(active);
    if (row) activeId = row.id;
    if (row && row !== told) tell(row);
    told = row;
    scroller.tabIndex = drawn.has(active) ? -1 : 0;
  }

  /** @param {number} i @param {number} shift */
  function place(i, shift) {
    let entry = drawn.get(i);
    const row = rows.get(i);
    if (!entry) {
      const el = h("div", { role: "row", "aria-rowindex": i + 2 });
      entry = { el, row: undefined, look: null };
      drawn.set(i, entry);
      spacer.append(el);
    }
    const { el } = entry;
    if (entry.look !== look || entry.row !== row) {
      if (row) drawRow(el, row, look);
      else drawWaiting(el, i);
      entry.row = row;
      entry.look = look;
    }
    el.style.transform = `translateY(${i * ROW + shift}px)`;
    const on = row !== undefined && selected.has(row.id);
    set(el, "aria-selected", String(on));
    set(el, "tabindex", i === active ? "0" : "-1");
    el.classList.toggle("wb-active", i === active);
  }

  /** Makes row `i` the active one and brings it into view. @param {number} i @param {boolean} focus */
  function go(i, focus) {
    if (total === 0) return;
    active = Math.max(0, Math.min(i, total - 1));
    activeId = rows.get(active)?.id ?? null;
    const y = active * ROW;
    if (y < top()) scroller.scrollTop = map.toScroll(y);
    else if (y + ROW > top() + view()) scroller.scrollTop = map.toScroll(y + ROW - view());
    draw();
    if (focus) drawn.get(active)?.el.focus({ preventScroll: true });
    void ask();
  }

  /** Rows of a stretch, fetched if they are not here. @param {number} from @param {number} to @returns {Promise<Row[]>} */
  async function fetch(from, to) {
    const end = Math.min(to, total, from + MOST_SELECTED);
    if (to - from > MOST_SELECTED) app.say(`Only the first ${MOST_SELECTED} rows were taken.`);
    /** @type {Row[]} */
    const out = [];
    for (let at = from; at < end; ) {
      const row = rows.get(at);
      if (row) {
        out.push(row);
        at += 1;
        continue;
      }
      const answer = await app.ask("rows", { from: at, to: Math.min(end, at + 200) });
      if (answer.rows.length === 0) break;
      out.push(...answer.rows);
      at += answer.rows.length;
    }
    return out;
  }

  return {
    get active() { return active; },
    get total() { return total; },
    get selected() { return selected; },
    row: (/** @type {number} */ i) => rows.get(i),
    /** Focus on the active row, as soon as it is there. */
    focus() {
      if (total > 0) return go(active, true);
      pendingFocus = true;
      scroller.focus({ preventScroll: true });
    },
    page: () => Math.max(1, Math.floor(view() / ROW) - 1),
    go,
    fetch,
    scrolled() {
      draw();
      void ask();
    },
    /** The traits say something new. The active row stays where it is on the screen if it is still there. */
    async changed() {
      const now = app.table();
      if (now.version === version && (rows.size > 0 || now.total === 0)) return draw();
      const y = active * ROW - top();
      if (activeId !== null && now.total > 0 && y > -ROW && y < view()) {
        const wanted = activeId;
        const answer = await app.ask("row_of", { id: wanted }).catch(() => ({ row: -1 }));
        if (app.table().version !== now.version) return;
        const moved = activeId !== wanted; // by the user, meanwhile: that row is the active one now
        anchor = answer.row >= 0 && !moved ? answer.row : active;
        if (answer.row >= 0 && answer.row !== active && !moved) {
          const had = drawn.get(active)?.el.contains(document.activeElement);
          active = answer.row;
          if (y !== active * ROW - top()) pendingTop = Math.max(0, active * ROW - y);
          pendingFocus = had === true;
        }
      }
      void ask();
    },
    /** Another column width or letter. @param {number} width @param {boolean} wideDtype @param {boolean} narrow @param {number} letter */
    fit(width, wideDtype, narrow, letter) {
      look = { columns: columns(width, wideDtype, narrow), letter, nested: app.table().arrangement === "nested" };
      map = scale(total, view());
      draw();
      void ask();
      return look.columns;
    },
    /** @param {number} i */
    selectOnly(i) {
      selected.clear();
      anchor = i;
      const row = rows.get(i);
      if (row) selected.set(row.id, row.key);
      draw();
    },
    /** @param {number} i */
    toggle(i) {
      const row = rows.get(i);
      if (!row) return;
      anchor = i;
      if (!selected.delete(row.id)) selected.set(row.id, row.key);
      draw();
    },
    /** From the anchor to `i`. @param {number} i */
    async extend(i) {
      const found = await fetch(Math.min(anchor, i), Math.max(anchor, i) + 1);
      selected.clear();
      for (const row of found) selected.set(row.id, row.key);
      draw();
    },
    async selectAll() {
      for (const row of await fetch(0, total)) selected.set(row.id, row.key);
      draw();
    },
  };
}
