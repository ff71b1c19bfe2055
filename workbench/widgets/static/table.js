/** The table with its toolbar, chips and keyboard. @import {App, Chip, Part, Row} from "./types.js" */
import { button, copyText, debounce, fill, h, kbd, newest, set } from "./dom.js";
import { createEdit } from "./edit.js";
import { createGrid } from "./grid.js";
import { icon } from "./icons.js";
import { nameOf, stepRow, TABLE } from "./keys.js";
import { count, plural } from "./text.js";

/** @type {[Chip, string, string][]} */
const CHIPS = [
  ["all", "All", ""], ["remapped", "Remapped", "arrow"], ["reindexed", "Reindexed", "hash"], ["unchanged", "Unchanged", "equals"],
  ["skipped", "Skipped", "skip"], ["collision", "Collisions", "merge"], ["differs", "Differs", "differs"],
];
const ARRANGEMENTS = { nested: "Nested by original", flat: "Flat, by original key", "flat-remapped": "Flat, by remapped key" };
const HEADS = ["Original key", "Remapped key", "Shape", "dtype", "Size", "Status"];

/**
 * @param {App} app
 * @param {{look(row: Row | undefined): void, open(): void}} inspector shows the active row; comes to the front
 * @returns {Part & {fit(): void, find: HTMLElement, need(): number, ruleOfSelection(): void}}
 */
export function createTable(app, inspector) {
  const arrangement = h("select", { class: "wb-select", "aria-label": "Arrangement" },
    ...Object.entries(ARRANGEMENTS).map(([value, words]) => h("option", { value }, words)));
  const field = h("input", { type: "text", class: "wb-bare", "aria-label": "Find in keys", placeholder: "Find in original and remapped keys",
    spellcheck: "false", autocomplete: "off" });
  const found = h("span", { class: "wb-found", role: "status" });
  const slash = kbd("/");
  const find = h("div", { class: "wb-field wb-find" }, icon("search"), field, found, slash);
  const trouble = h("div", { class: "wb-trouble", role: "alert", hidden: true });
  const chips = h("div", { class: "wb-chips", role: "toolbar", "aria-label": "Filter by status" });
  const head = h("div", { class: "wb-head", role: "row", "aria-rowindex": 1 });
  const spacer = h("div", { class: "wb-spacer", role: "presentation" });
  const nothing = h("div", { class: "wb-nothing", hidden: true });
  const scroller = h("div", { class: "wb-scroll", role: "rowgroup" }, spacer, nothing);
  const grid = h("div", { class: "wb-grid", role: "treegrid", "aria-label": "Keys", "aria-multiselectable": "true" }, head, scroller);
  const probe = h("span", { class: "wb-probe", "aria-hidden": "true" }, "m".repeat(40));
  const el = h("section", { class: "wb-main", "aria-label": "Table", "data-region": "table" },
    h("div", { class: "wb-toolbar" }, arrangement, find), trouble, chips, grid, probe);
  const edit = createEdit(app, () => rows.focus());
  el.insertBefore(edit.el, grid);
  const rows = createGrid(app, scroller, spacer, inspector.look);
  let number = 0;

  for (const [chip, words, name] of CHIPS) {
    const node = h("button", { type: "button", class: "wb-chip", tabindex: "-1", "data-chip": chip }, name && icon(name), h("span", {}, words), h("b", {}));
    app.on(node, "click", () => view({ chip }));
    chips.append(node);
  }

  /** @param {{arrangement?: string, chip?: string, find?: string}} change */
  function view(change) {
    app.ask("view", change).then(
      () => void (trouble.hidden = true),
      (fault) => {
        fill(trouble, h("b", {}, fault.title), " ", fault.next ?? "");
        trouble.hidden = false;
      },
    );
  }
  app.on(arrangement, "change", () => view({ arrangement: arrangement.value }));
  const typed = debounce(80, () => {
    number = 0;
    view({ find: field.value });
  }, app.signal);
  const step = newest(async (/** @type {1 | -1} */ direction) => {
    const answer = await app.ask("step_find", { from: rows.active, direction }).catch(() => null);
    if (!answer) return;
    number = answer.number;
    if (answer.row >= 0) {
      rows.go(answer.row, false);
      rows.selectOnly(answer.row);
    }
    showFound(answer.n_found);
  });
  app.on(field, "input", typed.call);
  app.on(field, "keydown", (event) => {
    const key = nameOf(event);
    if (key === "Enter" || key === "Shift+Enter") {
      typed.flush();
      if (field.value) void step(key === "Enter" ? 1 : -1);
    } else if (key === "Escape" && field.value) {
      field.value = "";
      typed.call();
      typed.flush();
    } else if (key === "ArrowDown") rows.go(rows.active, true);
    else return;
    event.preventDefault();
  });

  /** @param {number | null} n */
  function showFound(n) {
    const words = n === null || !app.table().find ? "" : n === 0 ? "nothing found" : number ? `${count(number)} of ${count(n)}` : plural(n, "hit");
    found.textContent = words;
    slash.hidden = words !== "";
  }

  app.on(scroller, "scroll", rows.scrolled);
  app.on(chips, "keydown", (event) => {
    const list = [...chips.querySelectorAll("button")];
    const at = list.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: list.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = list[(to + list.length) % list.length];
    for (const node of list) node.tabIndex = node === next ? 0 : -1;
    next.focus();
  });

  /** @param {Event} event */
  function rowAt(event) {
    const node = /** @type {Element} */ (event.target).closest('[role="row"]');
    return node ? Number(node.getAttribute("aria-rowindex")) - 2 : -1;
  }
  /** @param {number} i @param {boolean} open @param {boolean} [siblings] */
  function fold(i, open, siblings = false) {
    const row = rows.row(i);
    if (row && (siblings || (row.kind === "group" && row.open !== open))) void app.tell("fold", { id: row.id, key: row.key, open, siblings });
  }
  app.on(spacer, "mousedown", (event) => {
    const i = rowAt(event);
    if (i < 0 || event.button !== 0) return;
    if (event.shiftKey) event.preventDefault();
    const onFold = /** @type {Element} */ (event.target).closest(".wb-fold");
    rows.go(i, true);
    if (onFold) fold(i, !rows.row(i)?.open);
    else if (event.shiftKey) void rows.extend(i);
    else if (event.ctrlKey || event.metaKey) rows.toggle(i);
    else rows.selectOnly(i);
  });
  app.on(spacer, "dblclick", (event) => {
    if (!(/** @type {Element} */ (event.target).closest(".wb-fold"))) fold(rowAt(event), !rows.row(rowAt(event))?.open);
  });

  async function parentOf(/** @type {number} */ i) {
    const depth = rows.row(i)?.depth ?? 0;
    for (let to = i; to > 0; to -= 200) {
      const stretch = await rows.fetch(Math.max(0, to - 200), to);
      for (const row of stretch.reverse()) if (row.depth < depth) return row.i;
    }
    return i;
  }
  async function copy() {
    const keys = rows.selected.size > 0 ? [...rows.selected.values()] : [rows.row(rows.active)?.key ?? ""];
    if (await copyText(keys.join("\n"))) app.say(`Copied ${plural(keys.length, "key")}.`);
  }
  const chosen = () => (rows.selected.size > 0 ? [...rows.selected.keys()] : [rows.row(rows.active)?.id ?? ""]);
  async function skip() {
    const answer = await app.ask("skip", { ids: chosen() }).catch((fault) => void app.fail(fault));
    if (answer) app.say(`${answer.taken_back ? "Taken back" : "Skipped"}: ${plural(answer.n, "tensor")}.`);
  }
  /** @param {string} action */
  async function act(action) {
    const i = rows.active;
    const row = rows.row(i);
    if (action === "in") {
      if (row?.kind !== "group") return;
      if (!row.open) return fold(i, true);
      rows.go(i + 1, true);
      return rows.selectOnly(i + 1);
    }
    if (action === "out") {
      if (row?.kind === "group" && row.open) return fold(i, false);
      if (!row?.depth || app.table().arrangement !== "nested") return;
      const parent = await parentOf(i);
      rows.go(parent, true);
      return rows.selectOnly(parent);
    }
    if (action === "rename") return row?.kind === "tensor" && row.id.startsWith("t:") ? edit.rename(row) : app.say("Only a tensor can be renamed; a rule moves a group.");
    if (action === "skip") return skip();
    if (action === "repeat") {
      const answer = row && await app.ask("repeat", { id: row.id }).catch((fault) => void app.fail(fault));
      if (answer && !answer.repeats) app.say("Nothing repeats here.");
      return;
    }
    if (action === "open") return inspector.open();
    if (action === "siblings") return fold(i, true, true);
    if (action === "toggle") return rows.toggle(i);
    if (action === "one") return rows.selectOnly(i);
    if (action === "all") return rows.selectAll();
    if (action === "copy") return copy();
    const next = stepRow(i, action, rows.total, rows.page());
    rows.go(next, true);
    if (action.startsWith("extend")) await rows.extend(next);
    else rows.selectOnly(next);
  }
  app.on(scroller, "keydown", (event) => {
    const action = TABLE[nameOf(event)];
    if (!action) return;
    if (action === "copy" && String(getSelection()) !== "") return;
    event.preventDefault();
    void act(action);
  });

  function fit() {
    const letter = probe.getBoundingClientRect().width / 40 || 7.2;
    const narrow = app.root.dataset.layout === "narrow";
    const wide = (app.summary().dtypes ?? []).some((d) => d.dtype.startsWith("float8"));
    const columns = rows.fit(scroller.clientWidth, wide, narrow, letter);
    el.style.setProperty("--wb-cols", columns.template);
    const shown = HEADS.filter((name) => (name !== "dtype" || columns.dtype) && (name !== "Size" || columns.size));
    if (head.childElementCount !== shown.length) {
      fill(head, ...shown.map((name) => h("div", { role: "columnheader", class: name === "Size" ? "wb-cell wb-number" : "wb-cell" }, name)));
    }
    const status = head.lastElementChild;
    if (status) status.textContent = columns.word ? "Status" : "";
  }

  let arranged = "";
  function update() {
    const table = app.table();
    set(el, "data-stop", table.stop === null ? null : String(table.stop));
    const second = head.children[1];
    if (second) second.textContent = table.stop === null ? "Remapped key" : `Key after rule ${table.stop}`;
    const { counts } = app.summary();
    arrangement.value = table.arrangement;
    if (document.activeElement !== field) field.value = table.find;
    const focused = chips.contains(document.activeElement);
    for (const [chip, words] of CHIPS) {
      const node = /** @type {HTMLElement} */ (chips.querySelector(`[data-chip="${chip}"]`));
      const n = chip === "differs" ? table.n_differs : counts?.[chip] ?? 0;
      /** @type {Element} */ (node.lastElementChild).textContent = count(n);
      set(node, "aria-pressed", String(table.chip === chip));
      set(node, "aria-label", `${words} ${count(n)}`);
      if (!focused) node.tabIndex = table.chip === chip ? 0 : -1;
    }
    el.classList.toggle("wb-collides", (counts?.collision ?? 0) > 0);
    el.classList.toggle("wb-odd", table.n_differs > 0);
    el.classList.toggle("wb-flat", table.arrangement !== "nested");
    el.classList.toggle("wb-finding", table.find !== "");
    showFound(table.n_found);
    nothing.hidden = table.total > 0;
    if (table.total === 0) {
      const all = button("Show all");
      app.on(all, "click", () => {
        field.value = "";
        view({ chip: "all", find: "" });
        arrangement.focus();
      });
      fill(nothing, table.find ? "Nothing fits what is in the find field." : "No key has this status.", all);
    }
    if (arranged !== table.arrangement) {
      arranged = table.arrangement;
      fit();
    }
    void rows.changed();
  }
  return { el, update, fit, find: field, ruleOfSelection: () => void edit.fromSelection(chosen()), focus: () => (app.table().total ? rows.focus() : field.focus()),
    need: () => 36 + (chips.offsetHeight || 30) + 26 + app.table().total * 24 + 16 };
}
