/** What an export is to write: a line for each format with its size, and the options. @import {App, ExportCheck, ExportFiles, ExportOptions} from "./types.js" */
import { fill, h, set } from "./dom.js";
import { plural } from "./text.js";

/** @param {App} app @param {() => void} changed when the user has chosen something else */
export function createFiles(app, changed) {
  const list = h("ul", { class: "wb-files", "aria-label": "Files to write" });
  const cast = select("Floats", [["", "as they are"], ["float32", "float32"], ["float16", "float16"], ["bfloat16", "bfloat16"]]);
  const several = h("option", { value: "several", disabled: true, hidden: true }, "several dtypes");
  cast.field.append(several);
  const ties = select("Tied tensors", [["twice", "written twice"], ["once", "written once"]]);
  const shards = h("input", { type: "text", class: "wb-field", placeholder: "one file", "aria-label": "Shards of at most", title: "For example 5 GB; empty is one file", spellcheck: "false", autocomplete: "off" });
  const shardsLine = h("label", { class: "wb-option" }, h("span", { class: "wb-second" }, "Shards of at most"), shards);
  const precision = select(".mpk floats", [["full", "full precision"], ["half", "half precision"]]);
  const el = h("div", {}, list, h("div", { class: "wb-options" }, cast.el, ties.el, shardsLine, precision.el));

  /** @type {Set<string> | null} the formats that are ticked; null before the first file */
  let ticked = null;
  let shown = "";

  /** @param {string} words @param {[string, string][]} choices */
  function select(words, choices) {
    const field = h("select", { class: "wb-select", "aria-label": words }, ...choices.map(([value, text]) => h("option", { value }, text)));
    return { field, el: h("label", { class: "wb-option" }, h("span", { class: "wb-second" }, words), field) };
  }
  app.on(cast.field, "change", () => void app.tell("cast_floats", { dtype: cast.field.value || null }));
  for (const { field } of [ties, precision]) app.on(field, "change", changed);
  app.on(shards, "change", changed);
  app.on(shards, "keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    changed();
  });

  /** @param {ExportFiles} files */
  function line(files) {
    const { format, names, note, problem, why } = files;
    const box = h("input", { type: "checkbox", class: "wb-check" });
    box.checked = !format || (ticked?.has(format) === true && !problem);
    // mapping.json is always written: it says what was done.
    if (!format || problem) set(box, "aria-disabled", "true");
    app.on(box, "click", (event) => {
      if (!format || problem) event.preventDefault();
    });
    app.on(box, "change", () => {
      if (box.checked) ticked?.add(format);
      else ticked?.delete(format);
      fit();
      changed();
    });
    // One without an ending is a folder.
    const paths = names.map((name) => (name.includes(".") ? name : `${name}/`));
    const named = names.length > 2 ? [paths[0], `… ${plural(names.length - 1, "more file")}`] : paths;
    const label = h("label", { class: "wb-fileline" }, box, h("span", { class: "wb-code", dir: "ltr", title: names.length > 2 ? names.join("\n") : null }, named.join(", ")));
    if (problem) set(box, "aria-description", `${problem} ${why}`.trim());
    const said = problem && why ? h("details", { class: "wb-second wb-why" }, h("summary", {}, problem), why) : h("span", { class: "wb-second" }, problem || note);
    return h("li", { "data-format": format, class: problem ? "wb-filebad" : "" }, label, said);
  }

  /** Options of a format stand there while it is ticked. */
  function fit() {
    shardsLine.hidden = !ticked?.has("safetensors") && !ticked?.has("pt");
    precision.el.hidden = !ticked?.has("mpk");
  }

  return {
    el,
    /** @returns {ExportOptions} */
    options: () => ({ formats: [...(ticked ?? app.summary().export.formats)], ties: ties.field.value, precision: precision.field.value, shard_size: shards.value.trim() }),
    /** The formats whose boxes show a tick. @param {ExportCheck} check */
    possible: (check) => [...(ticked ?? [])].filter((format) => !check.files.some((line) => line.format === format && line.problem)),
    /** @param {ExportCheck} check */
    show(check) {
      ties.el.hidden = check.n_tied === 0;
      const now = JSON.stringify([check.files, [...(ticked ?? [])]]);
      if (now === shown) return;
      shown = now;
      const focused = /** @type {HTMLElement | null} */ (list.contains(document.activeElement) ? document.activeElement?.closest("li") ?? null : null)?.dataset.format;
      fill(list, ...check.files.map(line));
      if (focused !== undefined) /** @type {HTMLElement | null} */ ([...list.children].find((item) => /** @type {HTMLElement} */ (item).dataset.format === focused)?.querySelector("input"))?.focus();
    },
    update() {
      const choices = app.summary().export;
      ticked ??= new Set(choices.formats);
      cast.el.hidden = !choices.has_floats;
      several.hidden = choices.cast !== "several";
      if (cast.field.value !== choices.cast) cast.field.value = choices.cast;
      fit();
    },
  };
}
