/** @import {Ask, Fault, Health, JobFacts, Model, Run, Wire} from "./types.js" */

/** How long a question may stay without an answer before the view says so. */
const PATIENCE_MS = 10_000;
/** How long a look at the file holds good. */
const LOOK_MS = 1_000;

/** @param {string} title @param {string} code @returns {Fault} */
function fault(title, code) {
  return { title, code, cause: "", next: "Run the cell again to go on." };
}

/**
 * Questions to the kernel, and jobs that they start: each question gets an id and exactly one answer. The promise rejects with the kernel's error as it came. When the
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
  /** Those who wait for the end of a job, by its number. @type {Map<number, {resolve: (value: any) => void, reject: (fault: Fault) => void}>} */
  const jobs = new Map();
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
    const all = [...open.values()], waiting = [...jobs.values()];
    open.clear();
    jobs.clear();
    late.clear();
    for (const question of all) {
      clearTimeout(question.timer);
      question.reject(fault("The kernel has stopped.", "gone"));
    }
    for (const waits of waiting) waits.reject(fault("The kernel has stopped.", "gone"));
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

  function onJob() {
    /** @type {JobFacts} */
    const job = model.get("job");
    if (job.state === "running") return;
    const waits = jobs.get(job.id);
    jobs.delete(job.id);
    if (job.state === "done") waits?.resolve(job.result);
    else waits?.reject(/** @type {Fault} */ (job.error));
  }
  model.on("change:job", onJob);
  signal.addEventListener("abort", () => model.off("change:job", onJob));

  /** @type {Run} */
  const run = async (name, args) => {
    const { job: id } = await ask(name, args);
    return new Promise((resolve, reject) => {
      jobs.set(id, { resolve, reject });
      // A short one may have ended before its number was known here.
      onJob();
    });
  };
  let looked = 0;
  /** Has the kernel look at the file again. Nobody waits for it: the `changed` trait says what it saw. */
  function look() {
    if (signal.aborted || health !== "well" || Date.now() - looked < LOOK_MS) return;
    looked = Date.now();
    try {
      model.send({ id: `${prefix}-${++serial}`, ask: "look", args: {} });
    } catch {
      gone();
    }
  }
  return { ask, run, look, onHealth: (listener) => void listeners.push(listener) };
}
