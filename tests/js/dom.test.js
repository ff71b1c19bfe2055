import assert from "node:assert/strict";
import test from "node:test";
import { debounce, newest } from "../../workbench/widgets/static/dom.js";

test("one at a time runs, and of those that wait only the newest", async () => {
  const started = [];
  const gates = [];
  const run = newest(async (name) => {
    started.push(name);
    await new Promise((open) => gates.push(open));
  });
  void run("a");
  void run("b");
  void run("c");
  assert.deepEqual(started, ["a"]);
  gates[0]();
  await new Promise(setImmediate);
  assert.deepEqual(started, ["a", "c"]);
  gates[1]();
  await new Promise(setImmediate);
  assert.deepEqual(started, ["a", "c"]);
});

test("one that fails does not block those that follow", async () => {
  const started = [];
  const run = newest(async (name) => {
    started.push(name);
    if (name === "a") throw new Error("no");
  });
  const first = run("a");
  void run("b");
  await assert.rejects(first);
  assert.deepEqual(started, ["a", "b"]);
});

test("typing waits until it is quiet; flush does not; an ended view never runs", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const control = new AbortController();
  let runs = 0;
  const typed = debounce(80, () => (runs += 1), control.signal);
  typed.call();
  t.mock.timers.tick(79);
  typed.call();
  t.mock.timers.tick(79);
  assert.equal(runs, 0);
  t.mock.timers.tick(1);
  assert.equal(runs, 1);
  typed.flush();
  assert.equal(runs, 1, "nothing waits");
  typed.call();
  typed.flush();
  t.mock.timers.tick(500);
  assert.equal(runs, 2);
  typed.call();
  control.abort();
  t.mock.timers.tick(500);
  assert.equal(runs, 2);
});
