/** The form that writes the state_dict a finding is about. @import {App, Fault, RepairFacts} from "./types.js" */
import { button, copyText, fill, h, set } from "./dom.js";
import { icon } from "./icons.js";
import { bytes, plural } from "./text.js";

/**
 * @param {App} app @param {RepairFacts} repair @param {() => void} back gives the focus back
 * @param {{several?: boolean, written?: () => void}} [more] whether a top-level key must be chosen; what to do when it is written
 * @returns {HTMLElement}
 */
export function fixForm(app, repair, back, { several = false, written } = {}) {
  const stem = app.summary().path.replace(/\.[^./\\]*$/, "");
  const field = h("input", { type: "text", class: "wb-field wb-code", "aria-label": "File to write", spellcheck: "false", autocomplete: "off" });
  field.value = `${stem}.state_dict.safetensors`;
  const keys = several && repair.top_level_key === null ? app.summary().top_level_keys : [];
  const which = h("select", { class: "wb-select", "aria-label": "Whose state_dict", hidden: keys.length === 0 },
    ...keys.map(({ key, n_tensors, nbytes }) => h("option", { value: key }, `${key} · ${plural(n_tensors, "tensor")}, ${bytes(nbytes)}`)));
  const go = button("Write", { kind: "primary" });
  const cancel = button("Cancel", { kind: "small" });
  const outcome = h("div", { class: "wb-fixed" });
  const el = h("div", { class: "wb-fix", role: "group", "aria-label": repair.label }, which, field, go, cancel, outcome);
  let overwrite = false;

  const close = () => {
    el.remove();
    back();
  };
  async function run() {
    if (go.getAttribute("aria-disabled") === "true") return;
    set(go, "aria-disabled", "true");
    try {
      const done = await app.run("fix", { path: field.value, top_level_key: keys.length ? which.value : repair.top_level_key, overwrite });
      const open = button("Open it");
      app.on(open, "click", () => void app.tell("open", { path: done.path }));
      const copy = button("Copy path", { icon: "copy" });
      app.on(copy, "click", async () => void ((await copyText(done.path)) && app.say("Copied the path.")));
      fill(el, h("div", { class: "wb-box wb-boxok", role: "status" }, icon("check"), h("div", {},
        h("div", {}, "Wrote ", h("b", { class: "wb-inline" }, done.path), `: ${plural(done.n_tensors, "tensor")}, ${bytes(done.nbytes)}, read back and equal.`),
        ...done.left_out.map((text) => h("div", { class: "wb-second" }, `left out: ${text}`)),
        h("div", { class: "wb-mends" }, open, copy))));
      written?.();
      open.focus();
    } catch (error) {
      const fault = /** @type {Fault} */ (error);
      set(go, "aria-disabled", null);
      overwrite = fault.code === "files-exist";
      fill(go, overwrite ? "Replace it" : "Write");
      fill(outcome, h("div", { class: "wb-red", role: "alert" }, [fault.title, fault.cause, fault.next].filter(Boolean).join(" ")));
    }
  }
  app.on(go, "click", () => void run());
  app.on(cancel, "click", close);
  app.on(field, "input", () => {
    overwrite = false;
    fill(go, "Write");
    fill(outcome);
  });
  app.on(el, "keydown", (event) => {
    if (event.key === "Enter" && event.target === field) void run();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return el;
}
