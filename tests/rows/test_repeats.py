"""Blocks that differ by their number only are one fold; what is not like the others stays outside and says why."""

import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import workbench as wb
from tests.make.named import checkpoint_named
from workbench.rows import Table, View, inspected
from workbench.rows.numbers import braces, merged
from workbench.rows.outline import NOTE

BLOCK = {"attn.q": (4, 4), "attn.k": (4, 4), "norm": (4,)}


def opened(tmp_path, tensors):
    path = tmp_path / "blocks.safetensors"
    save_file(tensors, path)
    return wb.open(path)


def blocks(n, parent="layers", dtype=np.float32, **odd):
    """`n` blocks alike; `odd` puts another array, or None for none, at "number.name"."""
    tensors = {f"{parent}.{i}.{name}": np.ones(shape, dtype) for i in range(n) for name, shape in BLOCK.items()}
    for key, value in odd.items():
        if value is None:
            del tensors[f"{parent}.{key}"]
        else:
            tensors[f"{parent}.{key}"] = value
    return tensors


def table(checkpoint, *rules, view=None, earlier=None, **options):
    mapping = wb.Mapping([wb.Rule(*rule) for rule in rules], **options)
    return Table(mapping.plan(checkpoint), view or View(), earlier)


def lines(table):
    return table.rows(0, 200)


def words(row):
    return "".join(text for text, _ in row["label"])


def labels(table):
    return ["  " * row["depth"] + words(row) for row in lines(table)]


def line(table, label):
    return next(row for row in lines(table) if words(row) == label)


def test_equal_blocks_are_one_line_that_shows_each_tensor_once(tmp_path):
    t = table(opened(tmp_path, blocks(32)))
    assert labels(t) == ["layers.{0..31}", "  attn", "    k", "    q", "  norm"]
    fold, norm = lines(t)[0], lines(t)[-1]
    assert (fold["tag"], fold["shape"], fold["status_text"]) == ("×32", "32 × 3 tensors", "96")
    assert (norm["shape"], norm["size"], norm["remapped"]) == ("4", "32 × 16 B", "layers.{0..31}.norm")


def test_two_blocks_and_blocks_with_a_gap_are_written_short(tmp_path):
    assert labels(table(opened(tmp_path, blocks(2))))[0] == "layers.{0,1}"
    gap = {key: value for key, value in blocks(9).items() if not key.startswith("layers.4.")}
    assert labels(table(opened(tmp_path, gap), burn=None))[0] == "layers.{0..3, 5..8}"


def test_remapped_keys_of_a_fold_have_the_numbers_too(tmp_path):
    t = table(opened(tmp_path, blocks(3)), (r"layers\.(\d+)\.attn", "h.$1.mha"))
    assert line(t, "q")["remapped"] == "h.{0..2}.mha.q"
    assert line(t, "norm")["remapped"] == "layers.{0..2}.norm"


def test_closed_up_numbers_do_not_split_a_fold(tmp_path):
    even = {key.replace("layers.1.", "layers.2."): value for key, value in blocks(2).items()}
    t = table(opened(tmp_path, even), reindex=True)
    assert line(t, "norm")["remapped"] == "layers.{0,1}.norm"
    assert line(t, "norm")["status_text"] == "1 of 2"


def test_a_rule_that_treats_blocks_differently_splits_the_fold(tmp_path):
    t = table(opened(tmp_path, blocks(6)), (r"layers\.([0-2])\.", "early.$1."), reindex=False)
    assert [label for label in labels(t) if "{" in label] == ["  {0..2}", "  {3..5}"]
    assert line(t, "{0..2}")["remapped"] == "early.{0..2}"


def test_a_rule_that_moves_one_number_inside_a_block_splits_it_off(tmp_path):
    tensors = {f"layers.{i}.seq.{j}.w": np.ones((2, j + 1), np.float32) for i in range(5) for j in range(2)}
    t = table(opened(tmp_path, tensors), (r"layers\.3\.seq\.1", "layers.3.seq.7"), reindex=False)
    assert [label for label in labels(t) if label.startswith("  ") and not label.startswith("   ")] == [
        "  3.seq",
        "  {0..2, 4}.seq",
    ]


def test_skipping_one_block_splits_it_off_and_skipping_the_fold_takes_all(tmp_path):
    session = wb.Session(opened(tmp_path, blocks(4)))
    t = Table(session.plan, View())
    rows = t.rows_of(lines(t)[0]["id"])
    assert sorted(rows) == list(range(12))
    session.skip_keys([key for key in session.plan.originals if key.startswith("layers.2.")])
    t = Table(session.plan, t.view, t)
    assert [label for label in labels(t) if not label.startswith("   ")] == ["layers", "  2", "  {0, 1, 3}"]
    assert line(t, "2")["status"] == "skipped"


def test_the_block_that_differs_stands_before_the_fold_with_a_sentence(tmp_path):
    odd = {"2.attn.q": np.ones((4, 4), np.float32)}
    t = table(opened(tmp_path, blocks(5, dtype=ml_dtypes.bfloat16, **odd)))
    head, block, fold = line(t, "layers.{0..4}"), line(t, "2"), line(t, "{0, 1, 3, 4}")
    assert (head["tag"], block["tag"], fold["tag"]) == ("×5, one differs", "differs from 4", "×4 identical")
    assert block["i"] < fold["i"]
    note = next(row for row in lines(t) if row["kind"] == "note")
    assert words(note) == "float32 here, bfloat16 in the 4 others. Shape and the other 2 tensors are the same."
    assert lines(t)[note["i"] - 1]["key"] == "layers.2.attn.q"
    assert (t.n_differs, lines(t)[note["i"] - 1]["differs"]) == (1, "dtype")


@pytest.mark.parametrize(
    ("odd", "sentence"),
    [
        ({"1.norm": np.ones(5, np.float32)}, "5 here, 4 in the 4 others. The other 2 tensors are the same."),
        ({"1.bias": np.ones(5, np.float32)}, "Only here: the 4 others have no such tensor."),
        ({"1.norm": None}, "Its block lacks norm, which the 4 others have."),
    ],
    ids=["shape", "extra", "missing"],
)
def test_the_sentence_says_what_differs(tmp_path, odd, sentence):
    t = table(opened(tmp_path, blocks(5, **odd)), view=View(chip="differs"))
    assert [words(row) for row in lines(t) if row["kind"] == "note"] == [sentence]


def test_without_a_majority_nothing_folds_and_nothing_differs(tmp_path):
    tensors = {f"l.{i}.w": np.ones(1 + i % 2, np.float32) for i in range(4)}
    t = table(opened(tmp_path, tensors))
    assert labels(t) == ["l", "  0.w", "  1.w", "  2.w", "  3.w"]
    assert t.n_differs == 0


def test_a_module_of_another_kind_among_the_blocks_is_not_said_to_differ(tmp_path):
    tensors = blocks(3) | {f"layers.3.{name}": np.ones((2, 2, 2), np.float32) for name in "abcd"}
    t = table(opened(tmp_path, tensors))
    assert t.n_differs == 0
    assert "differs" not in "".join(row["tag"] for row in lines(t))


def test_experts_in_layers_fold_twice(tmp_path):
    tensors = {
        f"layers.{i}.experts.{j}.{w}": np.ones((2, 3), np.float32)
        for i in range(4)
        for j in range(8)
        for w in ("a", "b")
    }
    t = table(opened(tmp_path, tensors), (r"experts\.(\d+)\.a", "experts.$1.first"))
    assert labels(t) == ["layers.{0..3}.experts.{0..7}", "  a", "  b"]
    assert (lines(t)[0]["shape"], lines(t)[1]["size"]) == ("32 × 2 tensors", "32 × 24 B")
    assert lines(t)[1]["remapped"] == "layers.{0..3}.experts.{0..7}.first"


def test_find_takes_the_block_that_is_meant_out_of_its_fold(tmp_path):
    ckpt = opened(tmp_path, blocks(32))
    t = table(ckpt, view=View(find="layers.17.attn"))
    assert [row["key"] for row in lines(t) if row["hit"]] == ["layers.17.attn.k", "layers.17.attn.q"]
    t = table(ckpt, view=View(find="attn.q"))
    assert [row["key"] for row in lines(t) if row["hit"]] == ["layers.{0..31}.attn.q"]
    assert (t.n_found, t.next_hit(-1, 1)) == (32, (2, 1))


def test_f_shows_blocks_singly_and_folds_them_again(tmp_path):
    t = table(opened(tmp_path, blocks(3)))
    singly = Table(t.plan, t.toggle_repeat(line(t, "norm")["id"]), t)
    assert [label for label in labels(singly) if label.strip().isdigit()] == ["  0", "  1", "  2"]
    again = Table(t.plan, singly.toggle_repeat(line(singly, "1")["id"]), singly)
    assert labels(again)[0] == "layers.{0..2}"


def test_nothing_to_fold_is_said_and_not_guessed(tmp_path):
    t = table(checkpoint_named(tmp_path, ["a.x", "b.y"]))
    assert t.toggle_repeat(lines(t)[0]["id"]) is None


def test_the_id_of_a_fold_means_the_same_blocks_after_an_edit(tmp_path):
    t = table(opened(tmp_path, blocks(6)))
    fold = lines(t)[0]["id"]
    session = wb.Session(t.plan.checkpoint)
    session.skip_keys(["layers.5.norm"])
    after = Table(t.plan.update(session.mapping), t.view, t)
    assert {after.plan.originals[row].split(".")[1] for row in after.rows_of(fold)} == set("01234")


def test_a_fold_is_inspected_as_what_it_stands_for(tmp_path):
    t = table(opened(tmp_path, blocks(3)))
    told = inspected(t, line(t, "norm")["id"])
    assert told["key"] == "layers.{0..2}.norm"
    assert ("Tensors", "3", False) in told["facts"]
    assert ("Last", "layers.2.norm", True) in told["facts"]


def test_one_repair_casts_what_differs_and_undo_takes_it_back(tmp_path):
    odd = {"2.attn.q": np.ones((4, 4), np.float32)}
    session = wb.Session(opened(tmp_path, blocks(5, dtype=ml_dtypes.bfloat16, **odd)))
    (found,) = [each for each in session.findings if each.code == "block-differs"]
    session.repair(found.repair)
    assert session.plan.casts == {session.plan.originals.index("layers.2.attn.q"): "bfloat16"}
    assert not [each for each in session.findings if each.code == "block-differs"]
    t = Table(session.plan, View())
    assert t.n_differs == 0
    assert "It is cast to bfloat16." in next(words(row) for row in lines(t) if row["kind"] == "note")
    assert session.undo() == "Cast it to bfloat16"
    assert Table(session.plan, View(), t).n_differs == 1


def test_blocks_of_bare_tensors_fold_into_one_tensor(tmp_path):
    t = table(checkpoint_named(tmp_path, [f"codes.{n}" for n in range(12)]))
    (only,) = lines(t)
    assert (words(only), only["kind"], only["size"], only["tag"]) == ("codes.{0..11}", "tensor", "12 × 4 B", "×12")


def test_a_key_with_an_odd_character_folds_nothing(tmp_path):
    keys = ["l.0.w", "l.1.w", "l.\0000.w"]
    t = table(checkpoint_named(tmp_path, keys))
    assert sum(len(t.rows_of(row["id"])) for row in lines(t) if row["kind"] == "tensor") == 3


def test_numbers_are_written_as_runs_and_many_runs_are_cut():
    assert braces([1, 2, 3, 7, 9, 10]) == "{1..3, 7, 9, 10}"
    assert braces(range(0, 100, 2)).endswith("…, 98}")
    assert merged(["a.0.b.5", "a.1.b.6"]) == "a.{0,1}.b.{5,6}"


segments = st.sampled_from(["0", "1", "2", "3", "a", "b"])
names = st.lists(st.lists(segments, min_size=1, max_size=5).map(".".join), min_size=1, max_size=30, unique=True)
rules = st.lists(st.sampled_from([("^a", "z"), (r"1\.", "9."), ("0", "a"), (r"(\d)\.b", "b.$1")]), max_size=2)


@settings(max_examples=200)
@given(names, rules, st.sampled_from(["", "a", "1.", "b"]), st.booleans())
def test_every_tensor_stands_in_one_line_however_blocks_fold(tmp_path_factory, keys, rules, find, reindex):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("rows"), keys)
    start = Table(wb.Mapping().plan(ckpt), View(find=find))
    plan = start.plan.update(wb.Mapping([wb.Rule(*rule) for rule in rules], reindex=reindex))
    t = Table(plan, start.view, start)
    t = Table(plan, View(open=frozenset(t.outline.line_called), find=find), t)
    shown = [row for line in t.lines for row in leaf_rows(t, line)]
    found = [row for row in range(len(plan)) if find in plan.originals[row] or find in plan.remapped[row]]
    assert sorted(shown) == found
    if find:
        assert labels(t) == labels(Table(plan, View(find=find)))


def leaf_rows(table, line):
    item = table.outline[line]
    return [] if item.is_group or item.row == NOTE else table.outline.order[item.start : item.end]


@settings(max_examples=200)
@given(names, rules)
def test_the_remapped_keys_of_a_fold_stand_for_those_of_its_tensors(tmp_path_factory, keys, rules):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("rows"), keys)
    t = table(ckpt, *rules, view=View(find="."), reindex=False)
    for row in lines(t):
        rows = t.rows_of(row["id"])
        if row["kind"] != "tensor" or len(rows) < 2:
            continue
        for shown, keys_of_it in ((row["key"], t.plan.originals), (row["remapped"], t.plan.remapped)):
            pattern = re.sub(r"\\\{[^}]*\}", r"\\d+", re.escape(shown))
            assert all(re.fullmatch(pattern, keys_of_it[each]) for each in rows)
