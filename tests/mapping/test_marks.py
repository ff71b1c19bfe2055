import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.mapping.marks import changes


@pytest.mark.parametrize(
    ("before", "after", "gone", "new"),
    [
        ("conv.conv1.bias", "conv1.bias", ["conv."], []),
        ("layer1.0.w", "layer1.blocks.0.w", [], ["blocks."]),
        ("down.0.weight", "down.conv.weight", ["0"], ["conv"]),
        ("conv1.weight", "c1.weight", ["conv1"], ["c1"]),
        ("same.w", "same.w", [], []),
    ],
)
def test_marks_name_the_segments_that_went_and_came(before, after, gone, new):
    left, right = changes(before, after)
    assert [text for text, mark in left if mark == "gone"] == gone
    assert [text for text, mark in right if mark == "new"] == new


@given(st.text("ab.01", max_size=12), st.text("ab.01", max_size=12))
def test_the_parts_join_to_the_keys_and_what_stays_is_the_same_on_both_sides(before, after):
    left, right = changes(before, after)
    assert "".join(text for text, _ in left) == before
    assert "".join(text for text, _ in right) == after
    assert "".join(t for t, mark in left if not mark) == "".join(t for t, mark in right if not mark)
