import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.mapping.reindex import as_index, close_gaps


@pytest.mark.parametrize(
    ("segment", "number"),
    [("0", 0), ("007", 7), ("+2", 2), (str(2**64 - 1), 2**64 - 1), ("0" * 5000 + "5", 5)],
)
def test_an_index_is_what_rust_parses_as_usize(segment, number):
    assert as_index(segment) == number


@pytest.mark.parametrize("segment", ["", "+", "-1", "1a", "٣", str(2**64), "9" * 5000, " 1", "1_0"])
def test_other_segments_are_no_indices(segment):
    assert as_index(segment) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["fc.0.w", "fc.2.w", "fc.4.w"], ["fc.0.w", "fc.1.w", "fc.2.w"]),
        (["v.0.2"], ["v.0.0"]),
        (["0.weight", "2.weight"], ["0.weight", "1.weight"]),
        (["p.10", "p.9"], ["p.1", "p.0"]),
        (["p.01", "p.1"], ["p.0", "p.0"]),
        (["a.5.b.7.c", "a.6.b.7.c"], ["a.0.b.0.c", "a.1.b.0.c"]),
        (["m.x", "m.3"], ["m.x", "m.0"]),
    ],
)
def test_gaps_close_in_numeric_order_below_each_prefix(before, after):
    assert close_gaps(before, dot_is_root=True) == after


def test_a_leading_dot_counts_with_the_root_from_burn_0_22_on():
    keys = [".3.w", "0.w", "7.w"]
    by_version = {
        version: wb.Mapping(burn=version, reindex=True).remap_keys(keys) for version in ("0.21", "0.22", "0.23")
    }
    assert by_version["0.21"] == [".0.w", "0.w", "1.w"]
    assert by_version["0.22"] == by_version["0.23"] == [".1.w", "0.w", "2.w"]


keys = st.lists(st.lists(st.sampled_from(["a", "b", "0", "1", "5", "+7", ""]), min_size=1, max_size=4).map(".".join))


@given(keys)
def test_closing_gaps_twice_changes_no_more_than_once(names):
    once = close_gaps(names, dot_is_root=False)
    assert close_gaps(once, dot_is_root=False) == once


@given(keys)
def test_only_indices_change(names):
    for before, after in zip(names, close_gaps(names, dot_is_root=False), strict=True):
        pairs = zip(before.split("."), after.split("."), strict=True)
        assert all(new == old or as_index(old) is not None for old, new in pairs)
