/** The panel about the row one stands on: where its tensor lies, and how its key came to be. @import {App, Inspected, Part, Row} from "./types.js" */
import { button, copyText, fill, h, marked, newest } from "./dom.js";

/** @param {App} app @returns {Part & {show(row: Row | undefined): void}} */
export function createInspector(app) {
  const body = h("div", { class: "wb-panelbody wb-inspector", tabindex: "-1" });
  const el = h("section", {}, body);
  /** @type {Row | undefined} */
  let row;
  let asked = "";

  /** @param {Inspected} facts */
  function draw(facts) {
    const copy = button("Copy", { icon: "copy", kind: "small", label: "Copy the key" });
    app.on(copy, "click", async () => void ((await copyText(facts.key)) && app.say("Copied the key.")));
    fill(body,
      h("div", { class: "wb-inspectkey" }, h("span", { class: "wb-code", dir: "ltr" }, facts.shown), copy),
      facts.steps.length > 0 && h("ol", { class: "wb-steps", "aria-label": "How its name came to be" }, ...facts.steps.map((step) =>
        h("li", {}, h("span", { class: "wb-second" }, step.what),
          h("span", { class: "wb-code", dir: "ltr" }, ...marked(step.before)),
          h("span", { class: "wb-code", dir: "ltr" }, ...marked(step.after))))),
      h("dl", { class: "wb-inspectfacts" }, ...facts.facts.flatMap(([word, text, code]) =>
        [h("dt", { class: "wb-second" }, word), h("dd", { class: code ? "wb-code" : "", dir: code ? "ltr" : null }, text)])));
  }

  const ask = newest(async () => {
    if (!row || el.hidden || app.summary().state !== "open") return;
    const wanted = `${app.revision()} ${app.table().version} ${row.id}`;
    if (asked === wanted) return;
    const answer = await app.ask("inspect", { id: row.id }).catch(() => null);
    if (!answer || app.signal.aborted) return;
    asked = wanted;
    draw(answer);
  });

  return {
    el,
    update() {
      if (!row) fill(body, h("div", { class: "wb-second" }, "Choose a row of the table: its tensor, its place in the file and the steps of its name are shown here."));
      else void ask();
    },
    show(next) {
      row = next;
      void ask();
    },
    focus: () => body.focus(),
  };
}
