/** An export on its way, and how it ended. @import {App, ExportAnswer, Fault, JobFacts} from "./types.js" */
import { button, copyText, fill, h, set } from "./dom.js";
import { icon } from "./icons.js";
import { bytes, ofBytes, plural, timeLeft } from "./text.js";

const ICONS = { waiting: "dots", writing: "download", checking: "search", written: "check" };
const SHOWN = 3;

/** The job while it runs; its nodes stay, so that one can read and reach them. @param {App} app */
export function createRun(app) {
  const what = h("span", {});
  const amount = h("span", { class: "wb-amount" });
  const fillEl = h("span", {});
  const bar = h("div", { class: "wb-progress", role: "progressbar", "aria-label": "Export", "aria-valuemin": "0", "aria-valuemax": "100" }, fillEl);
  const list = h("ul", { class: "wb-files wb-running" });
  const el = h("div", { class: "wb-run", hidden: true }, h("div", { class: "wb-runline" }, what, amount), bar, list,
    h("div", { class: "wb-second" }, "A file appears in the folder only when it is whole. Cancelling leaves the folder as it was."));
  return {
    el,
    /** @param {JobFacts} job */
    show(job) {
      const verb = job.step === "verify" ? "Checking " : "Writing ";
      const of = job.name === app.summary().name ? "" : ` of ${job.name}`;
      fill(what, ...(job.stopping ? ["Cancelling"] : job.file ? [verb, h("span", { class: "wb-code", dir: "ltr" }, job.file), of] : ["Beginning"]));
      amount.textContent = [ofBytes(job.done, job.total), timeLeft(job.seconds_left)].filter(Boolean).join(", ");
      fillEl.style.width = `${job.percent}%`;
      set(bar, "aria-valuenow", String(job.percent));
      set(bar, "aria-valuetext", `${job.percent} %, ${verb.toLowerCase()}${job.file}`);
      fill(list, ...job.files.map((file) => h("li", { class: `wb-file-${file.state}` }, h("span", { class: "wb-fileline" }, icon(ICONS[file.state]), h("span", { class: "wb-code", dir: "ltr" }, file.name)),
        h("span", {}, file.state === "writing" ? `${file.percent} %` : file.state === "checking" ? `checked ${file.percent} %` : file.state))),
        job.more && h("li", { class: "wb-second" }, job.more));
    },
  };
}

/** @param {App} app @param {ExportAnswer} answer @returns {HTMLElement} */
export function doneBox(app, answer) {
  const copy = button("Copy", { icon: "copy", label: "Copy the line that loads it" });
  app.on(copy, "click", async () => void ((await copyText(answer.code)) && app.say("Copied.")));
  const line = (/** @type {string} */ text) => h("li", {}, text);
  const more = answer.n_changes - SHOWN;
  const hidden = answer.n_changes - answer.changes.length;
  const changes = answer.n_changes > 0 && h("div", { class: "wb-changes" }, h("div", {}, "Not as in the file:"),
    h("ul", {}, ...answer.changes.slice(0, SHOWN).map(line)),
    more > 0 && h("details", {}, h("summary", {}, plural(more, "more change")), h("ul", {}, ...answer.changes.slice(SHOWN).map(line),
      hidden > 0 && line(`and ${plural(hidden, "other")}: mapping.json has them all`))));
  return h("div", { class: "wb-box wb-boxok", role: "status" }, icon("check"),
    h("div", {}, h("b", {}, `Wrote ${plural(answer.paths.length, "file")}, ${bytes(answer.nbytes)}`),
      h("ul", { class: "wb-paths wb-code" }, ...answer.paths.map((one) => h("li", { dir: "ltr" }, one))), changes,
      h("div", { class: "wb-copyline" }, h("code", { class: "wb-pre", dir: "ltr" }, answer.code), copy)));
}

/** @param {Fault} fault @returns {HTMLElement} */
export function failedBox(fault) {
  return h("div", { class: "wb-box wb-boxerror", role: "alert" }, icon("octagon"),
    h("div", {}, h("b", {}, fault.title), fault.file && h("div", { class: "wb-code", dir: "ltr" }, fault.file), ...[fault.place, fault.cause, fault.next].filter(Boolean).map((text) => h("div", {}, text)),
      fault.code && h("div", { class: "wb-second wb-code" }, fault.code)));
}

/** @returns {HTMLElement} */
export function cancelledBox() {
  return h("div", { class: "wb-box wb-boxnote", role: "status" }, icon("info"), h("div", {}, h("b", {}, "Cancelled."), h("div", {}, "The folder is as it was.")));
}
