/** The panel that writes files. @import {App, ExportAnswer, ExportCheck, Fault, JobFacts, Part} from "./types.js" */
import { button, debounce, fill, h, newest, set, setOff } from "./dom.js";
import { createCode } from "./exportcode.js";
import { createFiles } from "./exportfiles.js";
import { cancelledBox, createRun, doneBox, failedBox } from "./exportrun.js";
import { mend } from "./findings.js";
import { icon } from "./icons.js";
import { bytes, plural } from "./text.js";

/** @type {ExportCheck} */
const UNCHECKED = { files: [], n_files: 0, nbytes: 0, n_replaced: 0, n_tied: 0, problem: "", is_known: true };

/** So many tensors are looked through only when it is quiet. */
const LARGE = 3000;

/** @param {App} app @returns {Part} */
export function createExport(app) {
  const blocked = h("div", { class: "wb-box wb-boxerror", role: "status", hidden: true });
  const folder = h("input", { type: "text", class: "wb-field wb-code", "aria-label": "Folder", title: "A folder, or a file that ends in .zip", spellcheck: "false", autocomplete: "off" });
  const go = button("Export", { kind: "primary" });
  const cancel = button("Cancel");
  const note = h("div", { class: "wb-exportnote", "aria-live": "polite", hidden: true });
  const outcome = h("div", { class: "wb-outcome" });
  const files = createFiles(app, () => void ask());
  const run = createRun(app);
  const code = createCode(app);
  const body = h("div", { class: "wb-panelbody" }, blocked, h("div", { class: "wb-exportline" }, h("span", { class: "wb-second" }, "Folder"), folder, go, cancel), note, outcome, run.el, files.el, code.el);
  const el = h("section", {}, body);

  let path = "";
  let typed = false;
  let starting = false;
  let check = UNCHECKED;
  /** Of what `check` tells: folder, options, revision, and how much was known. */
  let checked = "";
  let visible = false;
  let block = "";
  /** The job whose end was put away with the file it was of. */
  let past = 0;
  let told = "";

  const name = () => folder.value.trim();
  const isRunning = () => app.job().state === "running";
  const wanted = () => JSON.stringify([name(), files.options(), app.revision(), app.foreseen()]);
  async function look() {
    const now = wanted();
    if (!name() || app.summary().state !== "open" || now === checked) return words();
    try {
      const answer = await app.ask("check_export", { folder: name(), ...files.options() });
      if (now !== wanted()) return;
      check = answer;
    } catch (fault) {
      if (now !== wanted()) return;
      check = { ...check, n_replaced: 0, problem: /** @type {Fault} */ (fault).title };
    }
    checked = now;
    files.show(check);
    words();
  }
  const ask = newest(async () => (visible ? look() : words()));
  const askSoon = debounce(120, () => void ask(), app.signal);
  const eye = new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    if (visible) void ask();
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
      if (!event.repeat) void start();
    } else if (event.key === "Escape" && typed) {
      event.preventDefault();
      typed = false;
      folder.value = app.summary().export.folder;
      void ask();
    }
  });
  app.on(go, "click", () => void start());
  // It stands where the other button stood: the second half of a double click is not meant for it.
  app.on(cancel, "click", (event) => {
    if (event.detail > 1) return;
    app.ask("cancel", { job: app.job().id }).catch(app.fail);
  });
  app.on(cancel, "keydown", (event) => {
    if (event.repeat) event.preventDefault();
  });

  /** Why it cannot be done now, or "". */
  function reason() {
    const { blocked: why } = app.summary();
    if (starting || isRunning()) return "another file is being written";
    if (why) return why.title;
    if (!name()) return "name a folder";
    if (check.problem) return check.problem;
    return "";
  }

  function words() {
    const { n_replaced: replaced, n_files: n, problem } = check;
    const verb = replaced ? `Replace ${plural(replaced, "file")}` : n ? `Export ${plural(n, "file")}` : "Export";
    fill(go, h("span", {}, verb));
    const why = reason();
    setOff(go, why !== "");
    set(go, "aria-label", why ? `${verb}, not possible: ${why}` : verb);
    set(go, "title", why || null);
    const isBad = problem !== "" && !app.summary().blocked;
    note.classList.toggle("wb-red", isBad);
    const size = replaced ? `${plural(replaced, "file")} will be replaced` : check.nbytes ? `${bytes(check.nbytes)} in all` : "";
    note.textContent = isBad ? problem : check.is_known || why ? size : `${size}${size ? "; " : ""}checking whether the formats can hold it…`;
    note.classList.toggle("wb-quiet", !isBad && !replaced);
    note.hidden = note.textContent === "" || isRunning();
    set(folder, "aria-invalid", isBad ? "true" : null);
  }

  async function start() {
    askSoon.stop();
    if (checked !== wanted()) {
      await look();
      // What would be replaced is shown before it is done.
      if (checked !== wanted() || check.n_replaced) return;
    }
    if (reason()) return;
    starting = true;
    told = "";
    words();
    try {
      await app.run("export", { folder: name(), ...files.options(), formats: files.possible(check), overwrite: check.n_replaced > 0 });
    } catch (fault) {
      // The end of a job is shown by all views, from the trait; this one did not begin.
      const { state, error } = app.job();
      if (fault !== error || state === "running") fill(outcome, failedBox(/** @type {Fault} */ (fault)));
    } finally {
      starting = false;
      checked = "";
      words();
      void ask();
    }
  }

  function showJob() {
    const job = app.job();
    const runs = isRunning() && job.kind === "export";
    const focused = document.activeElement;
    go.hidden = runs;
    cancel.hidden = !runs;
    setOff(cancel, job.stopping === true);
    run.el.hidden = !runs;
    files.el.hidden = runs;
    if (runs && focused === go) cancel.focus();
    else if (!runs && focused === cancel) go.focus();
    if (runs) run.show(job);
    const now = `${job.id} ${job.state}`;
    if (job.kind !== "export" || job.id === past || now === told) return;
    told = now;
    if (job.state === "running") fill(outcome);
    else if (job.state === "done") fill(outcome, doneBox(app, /** @type {ExportAnswer} */ (job.result)));
    else if (job.state === "cancelled") fill(outcome, cancelledBox());
    else if (job.state === "failed") fill(outcome, failedBox(/** @type {Fault} */ (job.error)));
  }

  function showBlock() {
    const { blocked: why } = app.summary();
    const found = app.findings().items.filter((finding) => finding.code === "collision" && finding.repair);
    const now = why ? JSON.stringify([why, found]) : "";
    blocked.hidden = !why;
    if (now === block) return;
    block = now;
    if (!why) return;
    const skip = why.skip ? button(why.skip, { icon: "skip" }) : null;
    if (skip) app.on(skip, "click", () => void app.tell("skip_collided", {}));
    fill(blocked, icon("octagon"), h("div", {}, h("b", {}, why.title), h("div", {}, why.text),
      h("div", { class: "wb-mends" }, ...found.slice(0, 3).map((finding) => mend(app, finding)), skip)));
  }

  function update() {
    const summary = app.summary();
    if (summary.state !== "open") return;
    if (summary.path !== path) {
      path = summary.path;
      typed = false;
      if (!isRunning()) past = app.job().id;
      fill(outcome);
    }
    if (!typed && folder.value !== summary.export.folder) folder.value = summary.export.folder;
    files.update();
    showBlock();
    showJob();
    words();
    // A large plan takes a moment to look through: not at every stroke of a key.
    if (summary.n_tensors > LARGE) askSoon.call();
    else void ask();
    code.update();
  }
  return { el, update, focus: () => folder.focus() };
}
