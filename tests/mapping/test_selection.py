import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.make.named import checkpoint_named

KEYS = ["enc.0.w", "enc.1.w", "enc.2.w", "encoder.w", "head.w"]


def skipped(plan):
    return {row.original: row.reason for row in plan.rows if row.status == "skipped"}


@pytest.mark.parametrize(
    ("selection", "left_out"),
    [
        (wb.Selection(exclude=(wb.Pick("regex", r"^enc\.\d"),)), {"enc.0.w", "enc.1.w", "enc.2.w"}),
        (wb.Selection(exclude=(wb.Pick("node", "enc"),)), {"enc.0.w", "enc.1.w", "enc.2.w"}),
        (wb.Selection(exclude=(wb.Pick("key", "enc.1.w"), wb.Pick("key", "head.w"))), {"enc.1.w", "head.w"}),
        (wb.Selection(include=(wb.Pick("regex", "^enc"),)), {"head.w"}),
        (
            wb.Selection((wb.Pick("node", "enc"), wb.Pick("key", "head.w")), (wb.Pick("regex", "1"),)),
            {"enc.1.w", "encoder.w"},
        ),
        (wb.Selection(), set()),
    ],
)
def test_what_is_taken_is_included_and_not_excluded(tmp_path, selection, left_out):
    plan = wb.Mapping(selection=selection).plan(checkpoint_named(tmp_path, KEYS))
    assert set(skipped(plan)) == left_out
    assert [bool(taken) for taken in plan.selected] == [key not in left_out for key in plan.originals]
    assert plan.n_out == len(KEYS) - len(left_out)


def test_the_reason_names_the_pick(tmp_path):
    selection = wb.Selection((wb.Pick("regex", "^enc"),), (wb.Pick("node", "enc.1"), wb.Pick("regex", "2")))
    plan = wb.Mapping(selection=selection).plan(checkpoint_named(tmp_path, KEYS))
    assert skipped(plan) == {
        "enc.1.w": "left out by exclude enc.1 and below",
        "enc.2.w": "left out by exclude /2/",
        "head.w": "left out: not in include /^enc/",
    }


def test_it_is_decided_on_the_keys_of_the_file_not_on_new_names(tmp_path):
    mapping = wb.Mapping([wb.Rule("^head", "tail")], selection=wb.Selection(exclude=(wb.Pick("regex", "tail"),)))
    assert skipped(mapping.plan(checkpoint_named(tmp_path, KEYS))) == {}


def test_what_is_left_out_claims_no_name(tmp_path):
    mapping = wb.Mapping([wb.Rule("^head", "encoder")], selection=wb.Selection(exclude=(wb.Pick("key", "head.w"),)))
    plan = mapping.plan(checkpoint_named(tmp_path, KEYS))
    assert plan.collisions == ()
    assert plan.row(4).status == "skipped"


def test_burn_numbers_what_its_filter_drops_afterwards_but_an_export_does_not_hold_it(tmp_path):
    ckpt = checkpoint_named(tmp_path, KEYS)
    options = {"selection": wb.Selection(exclude=(wb.Pick("key", "enc.1.w"),)), "reindex": True}
    kept = {
        route: [row.remapped for row in wb.Mapping(route=route, **options).plan(ckpt).rows if row.status != "skipped"]
        for route in ("original", "exported")
    }
    assert kept["original"] == ["enc.0.w", "enc.2.w", "encoder.w", "head.w"]
    assert kept["exported"] == ["enc.0.w", "enc.1.w", "encoder.w", "head.w"]


def test_picks_of_many_keys_are_found_in_one_go(tmp_path):
    keys = [f"a.{n}.w" for n in range(3_000)]
    picks = tuple(wb.Pick("key", key) for key in keys[::2])
    plan = wb.Mapping(selection=wb.Selection(exclude=picks)).plan(checkpoint_named(tmp_path, keys))
    assert set(skipped(plan)) == set(keys[::2])


@settings(max_examples=30)
@given(
    include=st.lists(st.sampled_from(["^enc", "w", "[02]", "head"]), max_size=2),
    exclude=st.lists(st.sampled_from(["^enc", "w", "[02]", "head"]), max_size=2),
    pattern=st.sampled_from(["^enc", r"\d", "head"]),
)
def test_every_tensor_is_out_skipped_or_in_collision(tmp_path_factory, include, exclude, pattern):
    ckpt = checkpoint_named(tmp_path_factory.mktemp("plan"), KEYS)
    selection = wb.Selection(
        tuple(wb.Pick("regex", each) for each in include), tuple(wb.Pick("regex", each) for each in exclude)
    )
    start = wb.Mapping([wb.Rule(pattern, "x")], reindex=True).plan(ckpt)
    mapping = wb.Mapping([wb.Rule(pattern, "x")], selection=selection, reindex=True)
    updated, anew = start.update(mapping), mapping.plan(ckpt)
    assert list(updated.rows) == list(anew.rows)
    assert anew.n_out + anew.counts["skipped"] + anew.counts["collision"] == len(KEYS)
