import pytest

import workbench as wb


def remap(keys: list[str], *rules: tuple[str, str], **options: object) -> list[str]:
    return wb.Mapping([wb.Rule(*rule) for rule in rules], **options).remap_keys(keys)


@pytest.mark.parametrize(
    ("replacement", "result"),
    [
        ("c$1.x", "c1.x.weight"),
        ("c$1a", "c.weight"),
        ("c${1}a", "c1a.weight"),
        ("c$2", "c.weight"),
        ("c$$1", "c$1.weight"),
        ("c$", "c$.weight"),
        ("c${1", "c${1.weight"),
        (r"c\1", r"c\1.weight"),
        ("<$0>", "<conv1>.weight"),
    ],
)
def test_replacements_read_as_the_regex_crate_reads_them(replacement, result):
    assert remap(["conv1.weight"], (r"conv(\d)", replacement)) == [result]


def test_rules_apply_in_order_each_to_the_result_of_the_last():
    assert remap(["a.w"], ("^a", "b"), ("^b", "c")) == ["c.w"]
    assert remap(["a.w"], ("^b", "c"), ("^a", "b")) == ["b.w"]


def test_every_match_is_replaced_and_nothing_is_anchored():
    assert remap(["conv.my_conv.w"], ("conv", "c")) == ["c.my_c.w"]


def test_classes_are_those_of_unicode():
    assert remap(["größe٣"], (r"\w+\d", "x")) == ["x"]


def test_a_disabled_rule_is_left_out():
    mapping = wb.Mapping([wb.Rule("a", "b", enabled=False), wb.Rule("c", "d")])
    assert mapping.remap_keys(["a.c"]) == ["a.d"]


@pytest.mark.parametrize(
    ("pattern", "reason", "column", "width"),
    [
        ("(", "unclosed group", 0, 1),
        (r"a\.(b", "unclosed group", 3, 1),
        ("ééé(", "unclosed group", 3, 1),
        ("(?<=x)y", "look-around, including look-ahead and look-behind, is not supported", 0, 4),
        (r"(a)\1", "backreferences are not supported", 3, 2),
        ("ab\nc(", "unclosed group", 4, 1),
    ],
)
def test_an_invalid_pattern_raises_when_the_rule_is_made_and_says_where(pattern, reason, column, width):
    with pytest.raises(wb.RuleError) as caught:
        wb.Rule(pattern, "x")
    error = caught.value
    assert (error.reason, error.column, error.width) == (reason, column, width)
    assert error.text.startswith("regex parse error:")
    assert reason in str(error)


def test_a_pattern_too_large_to_compile_has_a_reason_and_no_place():
    with pytest.raises(wb.RuleError) as caught:
        wb.Rule("a{1001}{1001}", "x")
    assert (caught.value.column, caught.value.width) == (-1, 0)
    assert "size limit" in caught.value.reason


def test_a_pattern_of_another_type_is_refused_with_the_value():
    with pytest.raises(TypeError, match="not 3"):
        wb.Rule(3, "x")  # type: ignore[arg-type]


def test_a_pattern_with_a_lone_surrogate_is_refused():
    with pytest.raises(wb.RuleError):
        wb.Rule("\ud800", "x")
