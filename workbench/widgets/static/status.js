/** The line at the foot, and the list of keys. @import {App, Part} from "./types.js" */
import { button, fill, h, kbd } from "./dom.js";
import { LIST } from "./keys.js";
import { collisionWords, count, equation } from "./text.js";

/** @param {App} app @returns {Part & {say(text: string): void, toggleKeys(): void, job(): void, keys: HTMLElement}} */
export function createStatus(app) {
  const line = h("span", { class: "wb-live" });
  const spoken = h("span", { class: "wb-hidden", role: "status", "aria-live": "polite" });
  const said = h("span", { class: "wb-said", role: "status" });
  const help = h("button", { type: "button", class: "wb-help", "aria-expanded": "false", "aria-label": "List of keys" }, kbd("?"), h("span", { class: "wb-hintword" }, " keys"));
  const el = h("footer", { class: "wb-status", "aria-label": "Status", "data-region": "status" }, line, spoken, said, h("span", { class: "wb-space" }),
    h("span", { class: "wb-f6" }, kbd("F6"), h("span", { class: "wb-hintword" }, " next region")), help);
  const close = button("Close", { icon: "x", kind: "small" });
  const keys = h("div", { class: "wb-keys", role: "region", "aria-label": "Keys", tabindex: "-1", hidden: true },
    h("div", { class: "wb-keyshead" }, h("b", {}, "Keys"), h("span", { class: "wb-space" }), close),
    h("div", { class: "wb-keylists" }, ...LIST.map(([where, list]) => h("div", {}, h("div", { class: "wb-second" }, where),
      h("dl", {}, ...list.flatMap(([key, does]) => [h("dt", {}, ...key.split(", ").map(kbd)), h("dd", {}, does)]))))));
  /** @type {HTMLElement | null} */
  let opener = null;

  function toggleKeys() {
    keys.hidden = !keys.hidden;
    help.setAttribute("aria-expanded", String(!keys.hidden));
    if (!keys.hidden) {
      opener = /** @type {HTMLElement | null} */ (document.activeElement);
      keys.focus();
    } else (opener && app.root.contains(opener) && opener.offsetParent ? opener : help).focus();
  }
  app.on(help, "click", toggleKeys);
  app.on(close, "click", toggleKeys);
  app.on(keys, "keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    toggleKeys();
  });

  /** @type {any} */
  let timer = 0;
  let spokenAt = 0;
  /** @type {any} */
  let clear = 0;
  app.signal.addEventListener("abort", () => {
    clearTimeout(timer);
    clearTimeout(clear);
  });

  function paint() {
    const summary = app.summary();
    if (summary.state !== "open") return fill(line);
    const red = summary.n_collisions > 0;
    const job = app.job();
    return fill(line,
      h("span", { class: red ? "wb-red" : "", "data-equation": true }, ...equation(summary.equation, summary.top_level_key).map(([text, bold]) => (bold ? h("b", {}, text) : text))),
      h("span", { class: red ? "wb-red" : "" }, collisionWords(summary.n_collisions, summary.blocked !== null)),
      job.state === "running" && h("span", { class: "wb-jobword" }, `${job.kind === "export" ? "exporting" : "writing"} ${job.percent} %`),
      h("span", {}, `${count(summary.counts.remapped)} remapped, ${count(summary.counts.reindexed)} reindexed`),
      summary.burn && h("span", { class: "wb-extra" }, summary.burn),
      summary.reindex && h("span", { class: "wb-extra" }, summary.reindex),
      h("span", { class: "wb-plan" }, `plan ${summary.plan.number} in ${summary.plan.ms} ms`));
  }
  function speak() {
    spokenAt = Date.now();
    timer = 0;
    const summary = app.summary();
    const words = summary.state === "open" ? [...equation(summary.equation, summary.top_level_key).map(([text]) => text), ", ", collisionWords(summary.n_collisions, summary.blocked !== null)] : [];
    spoken.textContent = words.join("");
  }
  return {
    el, keys, toggleKeys,
    /** The line at once; what is read aloud at most once a second, so that one can follow. */
    update() {
      paint();
      if (!timer) timer = setTimeout(speak, Math.max(0, spokenAt + 1000 - Date.now()));
    },
    say(text) {
      const show = (/** @type {string} */ words) => {
        said.textContent = words;
        el.classList.toggle("wb-saying", words !== "");
      };
      show(text);
      clearTimeout(clear);
      clear = setTimeout(show, 6000, "");
    },
    /** How far a job is; its end is said where its outcome stands. */
    job: paint,
    focus: () => help.focus(),
  };
}
