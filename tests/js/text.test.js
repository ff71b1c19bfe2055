import assert from "node:assert/strict";
import test from "node:test";
import { bytes, collisionWords, count, dtypeWords, elide, elideMiddle, equation, ofBytes, plural, rulesWords, timeLeft, valueWords } from "../../workbench/widgets/static/text.js";

const plain = (parts) => parts.map(([text]) => text).join("");

test("sizes are decimal with the digits of the pictures", () => {
  const cases = [[0, "0 B"], [512, "512 B"], [999, "999 B"], [1000, "1.0 kB"], [37632, "37.6 kB"], [147456, "147 kB"], [999_700, "1.00 MB"],
    [2_110_000, "2.11 MB"], [46_800_000, "46.8 MB"], [228_700_000, "229 MB"], [13_500_000_000, "13.5 GB"]];
  for (const [n, words] of cases) assert.equal(bytes(n), words);
});

test("numbers are grouped and nouns agree", () => {
  assert.equal(count(1234567), "1,234,567");
  assert.equal(count(100), "100");
  assert.equal(plural(1, "key"), "1 key");
  assert.equal(plural(0, "key"), "0 keys");
  assert.equal(plural(2104, "hit"), "2,104 hits");
});

test("one dtype is only named, several are counted, many are cut", () => {
  const d = (dtype, n_tensors) => ({ dtype, n_tensors, nbytes: 1 });
  assert.equal(dtypeWords([d("float32", 3)]), "float32");
  assert.equal(dtypeWords([d("float32", 102), d("int64", 20)]), "102 float32, 20 int64");
  assert.equal(dtypeWords([d("a", 1), d("b", 1), d("c", 1), d("d", 1), d("e", 1)]), "1 a, 1 b, 1 c, 2 other dtypes");
});

test("the head of the rules says what is on and off", () => {
  assert.equal(rulesWords([]), "none yet");
  assert.equal(rulesWords([{ enabled: true }]), "1 on");
  assert.equal(rulesWords([{ enabled: true }, { enabled: false }, { enabled: true }]), "2 on, 1 off, in this order");
});

test("the equation says outside and collision only when there is some", () => {
  const say = (facts, part = null) => plain(equation({ found: 0, out: 0, skipped: 0, collision: 0, outside: 0, ...facts }, part));
  assert.equal(say({ found: 122, out: 122 }), "122 in = 122 out + 0 skipped");
  assert.equal(say({ found: 186, out: 62, outside: 124 }, "state_dict"), "186 found = 62 out + 0 skipped + 124 outside state_dict");
  assert.equal(say({ found: 360, collision: 360 }), "360 in = 0 out + 0 skipped + 360 in collision");
  assert.deepEqual(equation({ found: 3, out: 2, skipped: 1, collision: 0, outside: 0 }, null).filter(([, bold]) => bold), [["3", true], ["2", true]]);
});

test("collisions are said, also when there are none", () => {
  assert.equal(collisionWords(0, false), "no collisions");
  assert.equal(collisionWords(1, true), "1 collision, export blocked");
});

test("values of a group: the first four and how many", () => {
  assert.equal(valueWords(["0", "1"], 2), "0, 1");
  assert.equal(valueWords(["0", "1", "2", "3"], 32), "0, 1, 2, 3, … (32 values)");
  assert.equal(valueWords(["_ema", ""], 2), "_ema, empty");
});

test("the middle of a pattern goes, and never half a letter", () => {
  assert.equal(elideMiddle("short", 5), "short");
  assert.equal(elideMiddle("abcdefghij", 7), "abc…hij");
  assert.equal(elideMiddle("😀😀😀😀😀", 3), "😀…😀");
});

test("a key that fits is left alone", () => {
  const parts = [["layer2.", "dim"], ["blocks.", "new"], ["0", ""]];
  assert.equal(elide(parts, 15), parts);
});

test("first the leading segments shared with the parent go, as few as needed", () => {
  const parts = [["layer2.0.downsample.", "dim"], ["bn", "new"], [".num_batches_tracked", ""]];
  assert.deepEqual(elide(parts, 35), [["….", "dim"], ["downsample.", "dim"], ["bn", "new"], [".", ""], ["num_batches_tracked", ""]]);
  assert.equal(plain(elide(parts, 24)), "….bn.num_batches_tracked");
});

test("then the longest segments are shortened, those with a digit never, the last one last", () => {
  assert.equal(plain(elide([["transformer.layer10.attention.weight", ""]], 30)), "tra….layer10.attention.weight");
  assert.equal(plain(elide([["transformer.layer10.attention.weight", ""]], 24)), "tra….layer10.att….weight");
  assert.equal(plain(elide([["{0..31}.running_mean", ""]], 14)), "{0..31}.run…");
});

test("before the number or the last segment is lost, what lies between goes", () => {
  const key = [["model.layers.8333.self_attn.q_proj_long.lora_adapter.default.weight", ""]];
  const out = plain(elide(key, 26));
  assert.equal(out, "….8333.….lor….def….weight");
  assert.ok([...out].length <= 26);
});

test("shortening keeps the mark, and our own words are never cut", () => {
  assert.deepEqual(elide([["backbones.", "new"], ["x", ""]], 8), [["bac", "new"], ["….", "new"], ["x", ""]]);
  const note = [["(prefix removed)", "note"]];
  assert.equal(elide(note, 4), note);
});

test("how much of a whole is through stands in the unit of the whole", () => {
  const cases = [[27_900_000, 46_800_000, "27.9 of 46.8 MB"], [0, 8_390_000, "0.00 of 8.39 MB"], [12, 136, "12 of 136 B"],
    [1_000_000, 13_500_000_000, "0.0 of 13.5 GB"], [147_000, 294_000, "147 of 294 kB"]];
  for (const [done, total, words] of cases) assert.equal(ofBytes(done, total), words);
});

test("time left is rounded up and never nothing", () => {
  const cases = [[null, ""], [0, "1 s left"], [0.2, "1 s left"], [59.1, "60 s left"], [100, "2 min left"], [3600, "60 min left"], [7260, "2 h 1 min left"]];
  for (const [seconds, words] of cases) assert.equal(timeLeft(seconds), words);
});
