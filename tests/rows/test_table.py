import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.make.named import checkpoint_named
from workbench.rows import Table, View
from workbench.rows.outline import Outline
from workbench.rows.repeats import Arranged

NET = ["conv.conv1.bias", "conv.conv1.weight", "conv.conv2.weight"]


def table(tmp_path, keys, *rules, view=None, **options):
    mapping = wb.Mapping([wb.Rule(*rule) for rule in rules], **options)
    return Table(mapping.plan(checkpoint_named(tmp_path, keys)), view or View())


def shown(table):
    """Each line as indented text: label, target, status."""
    return [
        f"{'  ' * row['depth']}{joined(row['label'])} | {joined(row['target'])} | {row['status_text']}"
        for row in table.rows(0, 200)
    ]


def joined(parts):
    marks = {"": "{}", "dim": "{}", "gone": "-{}-", "new": "+{}+", "note": "({})", "find": "*{}*"}
    return "".join(marks[mark].format(text) for text, mark in parts)


def test_the_nested_table_folds_by_segment_and_joins_chains(tmp_path):
    assert shown(table(tmp_path, NET)) == [
        "conv | conv | 3",
        "  conv1 | conv.conv1 | 2",
        "    bias | conv.conv1.bias | unchanged",
        "    weight | conv.conv1.weight | unchanged",
        "  conv2.weight | conv.conv2.weight | unchanged",
    ]


def test_a_removed_prefix_is_struck_and_said(tmp_path):
    assert shown(table(tmp_path, NET, (r"conv\.(.*)", "$1"))) == [
        "-conv- | ((prefix removed)) | 3",
        "  conv1 | conv1 | 2",
        "    bias | conv1.bias | remapped",
        "    weight | conv1.weight | remapped",
        "  conv2.weight | conv2.weight | remapped",
    ]


def test_new_parts_are_marked_in_groups_and_tensors(tmp_path):
    lines = shown(table(tmp_path, ["l.0.w", "l.1.w", "l.1.b"], (r"^l\.", "l.blocks.")))
    assert lines == [
        "l | l+.blocks+ | 3",
        "  0.w | l.+blocks.+0.w | remapped",
        "  1 | l.+blocks.+1 | 2",
        "    b | l.+blocks.+1.b | remapped",
        "    w | l.+blocks.+1.w | remapped",
    ]


def test_a_group_whose_tensors_part_says_so_and_shows_the_worst(tmp_path):
    lines = shown(table(tmp_path, ["a.x", "a.y", "b.x"], (r"^a\.x$", "b.x")))
    assert lines[0] == "a | ((several prefixes)) | 1 of 2"


def test_a_filter_keeps_the_parents_of_what_it_finds(tmp_path):
    filtered = table(tmp_path, [*NET, "fc.bias"], view=View(find="conv1 W"))
    assert shown(filtered) == [
        "conv | conv | 3",
        "  *conv1* | conv.*conv1* | 2",
        "    *w*eight | conv.*conv1*.*w*eight | unchanged",
    ]
    assert filtered.n_found == 1


def test_what_a_rule_makes_is_found_by_its_new_name(tmp_path):
    filtered = table(tmp_path, NET, ("conv1", "first"), view=View(find="first.bias"))
    assert filtered.n_found == 1


def test_a_chip_shows_only_rows_of_its_status(tmp_path):
    filtered = table(tmp_path, NET, ("conv1", "first"), view=View(chip="unchanged"))
    assert [row["key"] for row in filtered.rows(0, 200) if row["kind"] == "tensor"] == ["conv.conv2.weight"]


def test_folding_shuts_one_group_and_siblings_all_beside_it(tmp_path):
    t = table(tmp_path, ["a.x", "a.y", "b.x", "b.y"])
    first = t.rows(0, 1)[0]
    one = Table(t.plan, t.fold(first["id"], open=False), t)
    assert [row["key"] for row in one.rows(0, 200)] == ["a", "b", "b.x", "b.y"]
    both = Table(t.plan, t.fold(first["id"], open=False, siblings=True), t)
    assert [row["key"] for row in both.rows(0, 200)] == ["a", "b"]


def test_groups_can_be_shut_while_a_filter_is_on(tmp_path):
    t = table(tmp_path, NET, view=View(find="bias"))
    shut = Table(t.plan, t.fold(t.rows(0, 1)[0]["id"], open=False), t)
    assert len(shut) == 1


def test_flat_by_remapped_key_puts_collisions_together(tmp_path):
    flat = table(tmp_path, ["a.w", "b.z", "c.w"], ("^[ac]", "x"), view=View("flat-remapped"))
    assert shown(flat) == [
        "b.z | b.z | unchanged",
        "-a-.w | +x+.w | collision",
        "-c-.w | (the same) | collision",
    ]


def test_flat_order_counts_numbers_as_numbers(tmp_path):
    flat = table(tmp_path, ["l.10", "l.9"], view=View("flat"))
    assert [row["key"] for row in flat.rows(0, 9)] == ["l.9", "l.10"]


def test_steps_through_hits_wrap_and_count_from_1(tmp_path):
    t = table(tmp_path, NET, view=View(find="weight"))
    first, number = t.next_hit(-1, 1)
    assert (t.rows(first, first + 1)[0]["key"], number) == ("conv.conv1.weight", 1)
    second, number = t.next_hit(first, 1)
    assert (t.rows(second, second + 1)[0]["key"], number) == ("conv.conv2.weight", 2)
    assert t.next_hit(second, 1) == (first, 1)
    assert t.next_hit(first, -1) == (second, 2)


def test_hostile_keys_reach_the_page_escaped_and_bounded(tmp_path):
    keys = ["a\x1b[31m.b\u202e", "x" * 100_000]
    rows = table(tmp_path, keys, view=View("flat")).rows(0, 9)
    sent = "".join(joined(row["label"]) + joined(row["target"]) for row in rows)
    assert sent.isprintable()
    assert len(sent) < 10_000


def test_a_tensor_that_is_also_a_group_shows_as_both(tmp_path):
    assert [row["kind"] for row in table(tmp_path, ["a", "a.b", "a.c"]).rows(0, 9)] == [
        "tensor",
        "group",
        "tensor",
        "tensor",
    ]


def test_a_key_of_a_hundred_thousand_segments_is_one_line():
    assert len(Outline(Arranged([".".join("a" * 100_000)], [(0,)]))) == 1


@pytest.mark.parametrize("bad", [{"arrangement": "sideways"}, {"chip": "loud"}])
def test_a_view_takes_only_what_it_knows(bad):
    with pytest.raises(ValueError, match="must be one of"):
        View(**bad)


names = st.lists(st.text("ab.", min_size=1, max_size=5), min_size=1, max_size=8, unique=True)


@settings(max_examples=60)
@given(names, st.sampled_from(["", "a", "b."]), st.sampled_from(["", "x"]))
def test_an_updated_table_shows_what_a_new_one_would(tmp_path_factory, keys, find, replacement):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("rows"), keys)
    start = Table(wb.Mapping().plan(ckpt), View(find=find))
    plan = start.plan.update(wb.Mapping([wb.Rule("a", replacement)]))
    assert Table(plan, start.view, start).rows(0, 200) == Table(plan, start.view).rows(0, 200)


@settings(max_examples=60)
@given(names)
def test_every_tensor_has_one_line_when_all_is_open(tmp_path_factory, keys):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("rows"), keys)
    rows = Table(wb.Mapping().plan(ckpt), View()).rows(0, 200)
    assert sorted(row["key"] for row in rows if row["kind"] == "tensor") == sorted(keys)
    assert [row["i"] for row in rows] == list(range(len(rows)))
