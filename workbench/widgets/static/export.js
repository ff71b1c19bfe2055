/** The panel that writes files. @import {App, ExportAnswer, Fault, Part} from "./types.js" */
import { button, copyText, debounce, fill, h, newest, set, setOff } from "./dom.js";
import { icon } from "./icons.js";
import { bytes, plural } from "./text.js";

/** @param {App} app @returns {Part} */
export function createExport(app) {
  const blocked = h("div", { class: "wb-box wb-boxerror", role: "status", hidden: true });
  const folder = h("input", { type: "text", class: "wb-field wb-code", "aria-label": "Folder", spellcheck: "false", autocomplete: "off" });
  const go = button("Export", { kind: "primary" });
  const note = h("div", { class: "wb-exportnote", "aria-live": "polite", hidden: true });
  const files = h("ul", { class: "wb-files" });
  const outcome = h("div", { class: "wb-outcome" });
  const language = h("select", { class: "wb-select", "aria-label": "Language of the code" }, ...["Python", "Rust"].map((name) => h("option", { value: name.toLowerCase() }, name)));
  const code = h("pre", { class: "wb-pre", tabindex: "0", "aria-label": "The same as code", dir: "ltr" });
  const copy = button("Copy", { icon: "copy", label: "Copy the code" });
  const body = h("div", { class: "wb-panelbody" }, blocked, h("div", { class: "wb-exportline" }, h("span", { class: "wb-second" }, "Folder"), folder, go), note, outcome, files,
    h("div", { class: "wb-codehead" }, h("span", { class: "wb-second" }, "The same in"), language, h("span", { class: "wb-space" }), copy), code);
  const el = h("section", {}, body);

  let path = "";
  let typed = false;
  let running = false;
  let check = { folder: "", n_replaced: 0, problem: "" };
  let coded = "";
  let visible = false;

  /** @type {Set<string> | null} the formats that are ticked; null before the first file */
  let ticked = null;

  const name = () => folder.value.trim();
  const formats = () => app.summary().export.files.map((file) => file.format).filter((format) => format && ticked?.has(format));
  const ask = newest(async () => {
    const wanted = name();
    if (!wanted || app.summary().state !== "open") return;
    const answer = await app.ask("check_folder", { folder: wanted, formats: formats() }).catch((/** @type {Fault} */ fault) => ({ n_replaced: 0, problem: fault.title }));
    if (wanted !== name()) return;
    check = { folder: wanted, ...answer };
    words();
  });
  const askSoon = debounce(120, () => void ask(), app.signal);
  const written = newest(async () => {
    const wanted = `${app.revision()} ${language.value}`;
    if (!visible || coded === wanted || app.summary().state !== "open") return;
    const answer = await app.ask("code", { language: language.value }).catch((/** @type {Fault} */ fault) => ({ text: `${fault.title} ${fault.next ?? ""}` }));
    if (wanted !== `${app.revision()} ${language.value}`) return;
    coded = wanted;
    code.textContent = answer.text;
  });
  app.on(language, "change", () => void written());
  // Only when it can be seen: in the narrow layout the panel may be behind a tab.
  const eye = new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    void written();
  });
  eye.observe(el);
  app.signal.addEventListener("abort", () => eye.disconnect());

  app.on(folder, "input", () => {
    typed = true;
    words();
    askSoon.call();
  });
  app.on(folder, "keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      void run();
    } else if (event.key === "Escape" && typed) {
      event.preventDefault();
      typed = false;
      folder.value = app.summary().export.folder;
      void ask();
    }
  });
  app.on(go, "click", () => void run());
  app.on(copy, "click", async () => {
    const answer = await app.ask("code", { language: language.value }).catch((fault) => void app.fail(fault));
    if (answer && (await copyText(answer.text))) app.say("Copied the code.");
  });

  /** Why it cannot be done now, or "". */
  function reason() {
    const { blocked: block } = app.summary();
    if (running) return "the export is running";
    if (block) return block.title;
    if (!name()) return "name a folder";
    if (formats().length === 0) return "tick a file of weights";
    if (check.folder === name() && check.problem) return check.problem;
    return "";
  }

  function words() {
    const n = 1 + formats().length;
    const replaced = check.folder === name() ? check.n_replaced : 0;
    const verb = running ? "Exporting…" : replaced ? `Replace ${plural(replaced, "file")}` : `Export ${plural(n, "file")}`;
    fill(go, h("span", {}, verb));
    const why = reason();
    setOff(go, why !== "");
    set(go, "aria-label", why ? `${verb}, not possible: ${why}` : verb);
    set(go, "title", why || null);
    const problem = check.folder === name() ? check.problem : "";
    note.hidden = !problem && !replaced;
    note.classList.toggle("wb-red", problem !== "");
    note.textContent = problem || (replaced ? `${plural(replaced, "file")} will be replaced` : "");
    set(folder, "aria-invalid", problem ? "true" : null);
  }

  async function run() {
    askSoon.flush();
    if (reason()) return;
    const wanted = name();
    if (check.folder !== wanted) {
      const answer = await app.ask("check_folder", { folder: wanted, formats: formats() }).catch((/** @type {Fault} */ fault) => void failed(fault));
      if (!answer || wanted !== name()) return;
      check = { folder: wanted, ...answer };
      words();
      // What would be replaced is shown before it is done.
      if (check.n_replaced || reason()) return;
    }
    running = true;
    words();
    const slow = setTimeout(() => fill(outcome, h("div", { class: "wb-progress", role: "progressbar", "aria-label": "Export is running" }, h("span"))), 300);
    try {
      done(await app.ask("export", { folder: wanted, overwrite: check.n_replaced > 0, formats: formats() }));
    } catch (fault) {
      failed(/** @type {Fault} */ (fault));
    } finally {
      clearTimeout(slow);
      running = false;
      words();
      void ask();
    }
  }

  /** @param {ExportAnswer} answer */
  function done(answer) {
    const line = button("Copy", { icon: "copy", label: "Copy the line that loads it" });
    app.on(line, "click", async () => void ((await copyText(answer.code)) && app.say("Copied.")));
    fill(outcome, h("div", { class: "wb-box wb-boxok", role: "status" }, icon("check"),
      h("div", {}, h("b", {}, `Wrote ${plural(answer.paths.length, "file")}, ${bytes(answer.nbytes)}`),
        h("ul", { class: "wb-paths wb-code" }, ...answer.paths.map((one) => h("li", { dir: "ltr" }, one))),
        h("div", { class: "wb-copyline" }, h("code", { class: "wb-pre", dir: "ltr" }, answer.code), line))));
  }
  /** @param {Fault} fault */
  function failed(fault) {
    fill(outcome, h("div", { class: "wb-box wb-boxerror", role: "alert" }, icon("octagon"),
      h("div", {}, h("b", {}, fault.title), ...[fault.place, fault.cause, fault.next].filter(Boolean).map((text) => h("div", {}, text)),
        fault.code && h("div", { class: "wb-second wb-code" }, fault.code))));
  }

  /** @param {{name: string, note: string, format: string}} file */
  function fileLine(file) {
    const box = h("input", { type: "checkbox", class: "wb-check" });
    box.checked = !file.format || ticked?.has(file.format) === true;
    box.disabled = !file.format;
    app.on(box, "change", () => {
      if (box.checked) ticked?.add(file.format);
      else ticked?.delete(file.format);
      check = { folder: "", n_replaced: 0, problem: "" };
      words();
      void ask();
    });
    return h("li", {}, h("label", { class: "wb-fileline" }, box, h("span", { class: "wb-code" }, file.name)), h("span", { class: "wb-second" }, file.note));
  }

  let exported = "";
  function update() {
    const summary = app.summary();
    if (summary.state !== "open") return;
    ticked ??= new Set(summary.export.files.filter((file) => file.on).map((file) => file.format));
    if (summary.path !== path) {
      path = summary.path;
      typed = false;
      fill(outcome);
    }
    if (!typed && folder.value !== summary.export.folder) {
      folder.value = summary.export.folder;
      void ask();
    }
    blocked.hidden = !summary.blocked;
    if (summary.blocked && blocked.dataset.title !== summary.blocked.title + summary.blocked.text) {
      blocked.dataset.title = summary.blocked.title + summary.blocked.text;
      fill(blocked, icon("octagon"), h("div", {}, h("b", {}, summary.blocked.title), h("div", {}, summary.blocked.text)));
    }
    const now = JSON.stringify(summary.export.files);
    if (now !== exported) {
      exported = now;
      fill(files, ...summary.export.files.map(fileLine));
    }
    words();
    void written();
  }
  return { el, update, focus: () => folder.focus() };
}
