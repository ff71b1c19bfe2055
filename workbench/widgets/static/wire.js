/** @import {Ask, Fault, Health, Model, Wire} from "./types.js" */

/** How long a question may stay without an answer before the view says so. */
const PATIENCE_MS = 10_000;

/** @param {string} title @param {string} code @returns {Fault} */
function fault(title, code) {
  return { title, code, cause: "", next: "Run the cell again to go on." };
}

/**
 * Questions to the kernel: each gets an id and exactly one answer. The promise rejects with the kernel's error as it came. When the
 * kernel is gone all open questions reject with code "gone"; being slow only changes the health, the answer is still awaited.
 * @param {Model} model
 * @param {AbortSignal} signal ends everything; open questions are then never answered
 * @param {number} [patience]
 * @returns {Wire}
 */
export function connect(model, signal, patience = PATIENCE_MS) {
  const prefix = Math.random().toString(36).slice(2, 10);
  /** @type {Map<string, {resolve: (value: any) => void, reject: (fault: Fault) => void, timer: any}>} */
  const open = new Map();
  /** @type {Set<string>} */
  const late = new Set();
  /** @type {((health: Health) => void)[]} */
  const listeners = [];
  /** @type {Health} */
  let health = "well";
  let serial = 0;

  /** @param {Health} next */
  function become(next) {
    if (next === health || signal.aborted) return;
    health = next;
    for (const listener of listeners) listener(next);
  }
  function gone() {
    become("gone");
    const all = [...open.values()];
    open.clear();
    late.clear();
    for (const question of all) {
      clearTimeout(question.timer);
      question.reject(fault("The kernel has stopped.", "gone"));
    }
  }
  function onLive() {
    if (model.comm_live === true) become("well");
    else gone();
  }
  /** @param {any} message */
  function onMessage(message) {
    const question = open.get(message?.id);
    if (!question) return;
    open.delete(message.id);
    late.delete(message.id);
    clearTimeout(question.timer);
    if (late.size === 0) become("well");
    if ("error" in message) question.reject(message.error);
    else question.resolve(message.ok);
  }

  model.on("msg:custom", onMessage);
  model.on("comm_live_update", onLive);
  model.on("comm:close", gone);
  signal.addEventListener("abort", () => {
    model.off("msg:custom", onMessage);
    model.off("comm_live_update", onLive);
    model.off("comm:close", gone);
    for (const question of open.values()) clearTimeout(question.timer);
    open.clear();
  });

  /** @type {Ask} */
  const ask = (name, args) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return;
      const id = `${prefix}-${++serial}`;
      const timer = setTimeout(() => {
        late.add(id);
        become("busy");
      }, patience);
      open.set(id, { resolve, reject, timer });
      try {
        model.send({ id, ask: name, args });
      } catch {
        gone();
      }
    });
  return { ask, onHealth: (listener) => void listeners.push(listener) };
}
