import assert from "node:assert/strict";
import test from "node:test";
import { connect } from "../../workbench/widgets/static/wire.js";

class FakeModel {
  sent = [];
  handlers = new Map();
  on(event, run) { this.handlers.set(event, [...(this.handlers.get(event) ?? []), run]); }
  off(event, run) { this.handlers.set(event, this.handlers.get(event).filter((other) => other !== run)); }
  send(message) { this.sent.push(message); }
  fire(event, ...args) { for (const run of [...(this.handlers.get(event) ?? [])]) run(...args); }
  answer(message) { this.fire("msg:custom", message, []); }
  get n_handlers() { return [...this.handlers.values()].flat().length; }
}

function setup(patience) {
  const model = new FakeModel();
  const control = new AbortController();
  const wire = connect(model, control.signal, patience);
  const health = [];
  wire.onHealth((now) => health.push(now));
  return { model, control, wire, health };
}

test("each question gets its own answer, in whatever order they come", async (t) => {
  const { model, wire, control } = setup();
  t.after(() => control.abort());
  const first = wire.ask("rows", { from: 0, to: 2 });
  const second = wire.ask("row_of", { id: "t:1" });
  assert.deepEqual(model.sent.map(({ ask, args }) => [ask, args]), [["rows", { from: 0, to: 2 }], ["row_of", { id: "t:1" }]]);
  assert.notEqual(model.sent[0].id, model.sent[1].id);
  model.answer({ id: model.sent[1].id, ok: { row: 7 } });
  model.answer({ id: model.sent[0].id, ok: { rows: [] } });
  assert.deepEqual(await second, { row: 7 });
  assert.deepEqual(await first, { rows: [] });
});

test("an error of the kernel rejects with the error as it came", async (t) => {
  const { model, wire, control } = setup();
  t.after(() => control.abort());
  const asked = wire.ask("open", { path: "x" });
  const error = { title: "There is no such file.", code: "no-such-file" };
  model.answer({ id: model.sent[0].id, error });
  await assert.rejects(asked, (got) => got === error);
});

test("two views of one model do not take each other's answers", async (t) => {
  const model = new FakeModel();
  const control = new AbortController();
  t.after(() => control.abort());
  const one = connect(model, control.signal);
  const two = connect(model, control.signal);
  const asked = [one.ask("undo", {}), two.ask("redo", {})];
  model.answer({ id: model.sent[1].id, ok: { label: "second" } });
  model.answer({ id: model.sent[0].id, ok: { label: "first" } });
  assert.deepEqual(await Promise.all(asked), [{ label: "first" }, { label: "second" }]);
});

test("strange and repeated messages are no answers", async (t) => {
  const { model, wire, control } = setup();
  t.after(() => control.abort());
  const asked = wire.ask("undo", {});
  for (const message of [null, "text", {}, { id: "other", ok: { label: "wrong" } }]) model.answer(message);
  model.answer({ id: model.sent[0].id, ok: { label: "right" } });
  model.answer({ id: model.sent[0].id, ok: { label: "again" } });
  assert.deepEqual(await asked, { label: "right" });
});

test("a slow kernel is called busy, its answer is still taken, and then all is well", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { model, wire, health, control } = setup(1000);
  t.after(() => control.abort());
  const asked = wire.ask("undo", {});
  t.mock.timers.tick(999);
  assert.deepEqual(health, []);
  t.mock.timers.tick(1);
  assert.deepEqual(health, ["busy"]);
  model.answer({ id: model.sent[0].id, ok: { label: "late" } });
  assert.deepEqual(await asked, { label: "late" });
  assert.deepEqual(health, ["busy", "well"]);
});

test("when the kernel stops, all open questions end", async (t) => {
  const { model, wire, health, control } = setup();
  t.after(() => control.abort());
  const asked = [wire.ask("undo", {}), wire.ask("redo", {})];
  model.comm_live = false;
  model.fire("comm_live_update");
  for (const one of asked) await assert.rejects(one, { code: "gone" });
  assert.deepEqual(health, ["gone"]);
});

test("a comm that cannot send any more is a kernel that is gone", async (t) => {
  const { model, wire, health, control } = setup();
  t.after(() => control.abort());
  model.send = () => { throw new Error("Comm is closed"); };
  await assert.rejects(wire.ask("undo", {}), { code: "gone" });
  assert.deepEqual(health, ["gone"]);
});

test("after the end of a view nothing listens and nothing is sent", () => {
  const { model, wire, control } = setup();
  assert.ok(model.n_handlers > 0);
  control.abort();
  assert.equal(model.n_handlers, 0);
  void wire.ask("undo", {});
  assert.deepEqual(model.sent, []);
});

// ---- jobs ----

function withJob(setupOf) {
  let job = { id: 0, state: "idle" };
  setupOf.model.get = (name) => (name === "job" ? job : undefined);
  return (next) => {
    job = next;
    setupOf.model.fire("change:job");
  };
}

test("a job gives its result when it ends, however often it tells how far it is", async (t) => {
  const all = setup();
  t.after(() => all.control.abort());
  const become = withJob(all);
  const ran = all.wire.run("export", { folder: "out" });
  all.model.answer({ id: all.model.sent[0].id, ok: { job: 3 } });
  await Promise.resolve();
  become({ id: 3, state: "running", percent: 10 });
  become({ id: 3, state: "running", percent: 60 });
  become({ id: 3, state: "done", result: { paths: ["out/a"] } });
  assert.deepEqual(await ran, { paths: ["out/a"] });
});

test("a job that ended before its number was known gives its result too", async (t) => {
  const all = setup();
  t.after(() => all.control.abort());
  const become = withJob(all);
  const ran = all.wire.run("fix", { path: "out" });
  become({ id: 1, state: "done", result: { path: "out" } });
  all.model.answer({ id: all.model.sent[0].id, ok: { job: 1 } });
  assert.deepEqual(await ran, { path: "out" });
});

test("a job that fails, is cancelled or is not begun rejects with what the kernel said", async (t) => {
  const all = setup();
  t.after(() => all.control.abort());
  const become = withJob(all);
  for (const [n, state] of [[1, "failed"], [2, "cancelled"]]) {
    const ran = all.wire.run("export", { folder: "out" });
    all.model.answer({ id: all.model.sent.at(-1).id, ok: { job: n } });
    await Promise.resolve();
    become({ id: n, state, error: { title: "no", code: state } });
    await assert.rejects(ran, (fault) => fault.code === state);
  }
  const refused = all.wire.run("export", { folder: "out" });
  all.model.answer({ id: all.model.sent.at(-1).id, error: { title: "Another file is being written already.", code: "job-running" } });
  await assert.rejects(refused, (fault) => fault.code === "job-running");
});

test("a job of a kernel that stops rejects, and an unmounted view listens to no job", async () => {
  const all = setup();
  withJob(all);
  const ran = all.wire.run("export", { folder: "out" });
  all.model.answer({ id: all.model.sent[0].id, ok: { job: 1 } });
  await new Promise((resolve) => setImmediate(resolve));
  all.model.fire("comm:close");
  await assert.rejects(ran, (fault) => fault.code === "gone");
  all.control.abort();
  assert.equal(all.model.n_handlers, 0);
});

test("a look at the file is asked once in a while, and nobody waits for its answer", async (t) => {
  t.mock.timers.enable({ apis: ["Date", "setTimeout"], now: 10_000 });
  const { model, wire, control, health } = setup(50);
  t.after(() => control.abort());
  wire.look();
  wire.look();
  assert.deepEqual(model.sent.map(({ ask }) => ask), ["look"]);
  t.mock.timers.tick(1_500);
  wire.look();
  assert.equal(model.sent.length, 2);
  assert.deepEqual(health, []);
});
