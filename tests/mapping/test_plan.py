import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.make.named import checkpoint_named
from workbench.mapping import regex
from workbench.mapping.collisions import find_collisions


def test_each_row_tells_which_rules_hit_it_counted_from_0_with_disabled_ones(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["conv.a", "conv.b", "c"])
    plan = wb.Mapping([wb.Rule("x", "y", enabled=False), wb.Rule(r"^conv\.", ""), wb.Rule("a|c", "z")]).plan(ckpt)
    assert {row.original: (row.remapped, row.rules) for row in plan.rows} == {
        "conv.a": ("z", (1, 2)),
        "conv.b": ("b", (1,)),
        "c": ("z", (2,)),
    }


def test_the_status_of_a_row_is_the_last_thing_that_happened_to_it(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["a.0", "a.2", "b", "c"])
    plan = wb.Mapping([wb.Rule("^b$", "d")], reindex=True).plan(ckpt)
    assert {row.original: str(row.status) for row in plan.rows} == {
        "a.0": "unchanged",
        "a.2": "reindexed",
        "b": "remapped",
        "c": "unchanged",
    }
    assert plan.counts == {
        "all": 4,
        "unchanged": 2,
        "remapped": 1,
        "reindexed": 1,
        "skipped": 0,
        "collision": 0,
    }


def test_two_keys_that_become_one_are_a_collision_of_both(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["a.w", "b.w", "c.w"])
    plan = wb.Mapping([wb.Rule("^[ab]", "x")]).plan(ckpt)
    assert plan.collisions == (wb.Collision("x.w", ("a.w", "b.w"), "same"),)
    assert [str(row.status) for row in plan.rows] == ["collision", "collision", "unchanged"]
    assert plan.rows[0].reason == "the same name as b.w"
    assert plan.n_out == 1


def test_a_key_that_is_also_a_group_is_a_collision(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["a", "b.c", "b.d"])
    plan = wb.Mapping([wb.Rule("^b", "a")]).plan(ckpt)
    assert plan.collisions == (wb.Collision("a", ("a", "b.c", "b.d"), "prefix"),)
    assert plan.counts["collision"] == 3


def test_leading_zeros_collide_after_reindexing_as_in_burn(tmp_path):
    plan = wb.Mapping(reindex=True).plan(checkpoint_named(tmp_path, ["p.01", "p.1"]))
    assert plan.collisions == (wb.Collision("p.0", ("p.01", "p.1"), "same"),)


def test_indices_are_closed_up_by_itself_for_pytorch_files_and_kept_for_safetensors(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["a.0", "a.2"])
    assert [row.remapped for row in wb.Mapping().plan(ckpt).rows] == ["a.0", "a.2"]
    assert [row.remapped for row in wb.Mapping(reindex=True).plan(ckpt).rows] == ["a.0", "a.1"]
    assert wb.Mapping().reindexes("torch-zip")
    assert not wb.Mapping(burn=None).reindexes("torch-zip")


def test_an_unknown_top_level_key_is_an_error_that_names_the_file(tmp_path):
    ckpt = checkpoint_named(tmp_path, ["a.0"])
    with pytest.raises(wb.WorkbenchError, match=r"named\.safetensors"):
        wb.Mapping(top_level_key="nope").plan(ckpt)


def test_an_unknown_burn_version_is_refused_with_those_that_are_known():
    with pytest.raises(wb.MappingError, match=r"0\.22"):
        wb.Mapping(burn="0.7")


def test_the_frame_has_one_line_per_tensor_with_the_names_of_the_json(tmp_path):
    frame = wb.Mapping([wb.Rule("a", "b")]).plan(checkpoint_named(tmp_path, ["a", "c"])).frame()
    assert list(frame.columns) == ["original", "remapped", "shape", "dtype", "nbytes", "rules", "status", "reason"]
    assert frame["remapped"].tolist() == ["b", "c"]
    assert frame["rules"].tolist() == [(0,), ()]
    assert frame["shape"].tolist() == [(1,), (1,)]


rules = st.lists(
    st.builds(
        wb.Rule,
        st.sampled_from(["a", r"\.", r"(\d+)", "^b", "[ab]$", "x*"]),
        st.sampled_from(["", "b", "$1", "$0.0", "a."]),
        st.booleans(),
    ),
    max_size=4,
)


@settings(max_examples=60)
@given(first=rules, second=rules, reindex=st.booleans())
def test_an_updated_plan_is_the_plan_made_anew(tmp_path_factory, first, second, reindex):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("plan"), ["a.0.w", "a.2.w", "b.b", "b", "x"])
    start = wb.Mapping(first, reindex=True).plan(ckpt)
    mapping = wb.Mapping(second, reindex=reindex)
    updated, anew = start.update(mapping), mapping.plan(ckpt)
    assert list(updated.rows) == list(anew.rows)
    assert updated.collisions == anew.collisions
    assert updated.mapping == mapping


@settings(max_examples=60)
@given(rules)
def test_every_tensor_is_exported_skipped_or_in_collision(tmp_path_factory, chosen):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("plan"), ["a.0.w", "a.2.w", "b.b", "b", "x"])
    plan = wb.Mapping(chosen).plan(ckpt)
    assert plan.n_out + plan.counts["skipped"] + plan.counts["collision"] == len(ckpt) == len(plan.rows)
    assert [row.remapped for row in plan.rows] == wb.Mapping(chosen).remap_keys(list(ckpt))


@given(st.lists(st.text("ab.-\0\1", max_size=4)))
def test_collisions_are_exactly_what_a_nested_tree_cannot_hold(names):
    originals = [f"o{n}" for n in range(len(names))]
    collisions, involved = find_collisions(originals, regex.column(names))
    fits = len(set(names)) == len(names) and not any(other.startswith(name + ".") for name in names for other in names)
    assert (not collisions) == fits
    for found in collisions:
        of_name = [o for o, name in zip(originals, names, strict=True) if name == found.remapped]
        below = [o for o, name in zip(originals, names, strict=True) if name.startswith(f"{found.remapped}.")]
        assert list(found.originals) == (of_name if found.kind == "same" else of_name + below)
    assert {originals[row] for row in involved} == {key for found in collisions for key in found.originals}
