/** The box into which an error of another program is pasted, and what it means here. @import {App, Explained, Fault} from "./types.js" */
import { button, debounce, fill, h } from "./dom.js";
import { icon } from "./icons.js";
import { count } from "./text.js";

/** @param {App} app */
export function createExplain(app) {
  const field = h("textarea", { class: "wb-field wb-code wb-targetfield", "aria-label": "Error text", rows: "2", spellcheck: "false", autocomplete: "off",
    placeholder: "Paste an error from Burn, PyTorch or safetensors" });
  const answer = h("div", { class: "wb-explained", role: "status" });
  const el = h("div", { class: "wb-explain" }, field, answer);
  let asked = "";

  async function ask() {
    const text = field.value.trim();
    const wanted = text && `${app.revision()} ${text}`;
    if (wanted === asked) return;
    asked = wanted;
    if (!text) return fill(answer);
    const found = await app.ask("explain", { text }).catch((/** @type {Fault} */ fault) => void app.fail(fault));
    if (found && asked === wanted) draw(found);
  }
  const soon = debounce(200, () => void ask(), app.signal);
  app.on(field, "input", soon.call);
  app.on(field, "keydown", (event) => {
    if (event.key !== "Escape" || !field.value) return;
    event.preventDefault();
    field.value = "";
    void ask();
  });

  /** @param {Explained} found */
  function draw(found) {
    const inside = answer.contains(document.activeElement);
    const gone = found.known && found.still_there === false;
    const mends = gone ? [] : found.repairs.map((repair, n) => {
      const node = button(repair.label, { icon: "wand", kind: n === 0 && found.repairs.length === 1 ? "primary" : "plain" });
      app.on(node, "click", () => {
        if (repair.do === "export") return app.show("Export");
        app.ask("repair_explained", { repair: n, revision: found.revision }).then(({ label }) => {
          app.say(`Done: ${label}`);
          void ask();
        }, app.fail);
      });
      return node;
    });
    fill(answer, h("div", { class: `wb-box ${gone ? "wb-boxok" : found.known ? "wb-boxerror" : "wb-boxnote"}` }, icon(gone ? "check" : found.known ? "octagon" : "question"),
      h("div", {}, h("b", {}, gone ? "This error is gone." : found.title), !gone && h("div", {}, found.cause),
        ...(gone ? [] : found.here.map((named) => h("div", {}, h("span", { class: "wb-code", dir: "ltr" }, named.name), ": here ",
          h("span", { class: "wb-code", dir: "ltr" }, named.keys.join(", ")), named.n > named.keys.length && ` and ${count(named.n - named.keys.length)} more`))),
        !gone && found.n_here > found.here.length && h("div", {}, `and ${count(found.n_here - found.here.length)} more names`),
        found.wording && h("div", { class: "wb-second" }, `The wording is that of ${found.wording}.`),
        mends.length > 0 && h("div", { class: "wb-mends" }, ...mends))));
    if (inside) (mends[0] ?? field).focus();
  }

  return {
    el,
    /** The rules may have changed: is the error gone? */
    update: () => void ask(),
    /** What was pasted elsewhere in the panel. @param {string} text */
    take(text) {
      field.value = text;
      field.focus();
      void ask();
    },
    focus: () => field.focus(),
  };
}
