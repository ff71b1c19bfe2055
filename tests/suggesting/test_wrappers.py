import pytest

import workbench as wb
from workbench.suggesting import wrapper_rules


def offered(*keys):
    return [(suggestion.rule.pattern, suggestion.rule.replacement) for suggestion in wrapper_rules(keys)]


def without_wrappers(*keys):
    return wb.Mapping([suggestion.rule for suggestion in wrapper_rules(keys)]).remap_keys(keys)


@pytest.mark.parametrize("wrapper", ["module", "_orig_mod", "model", "net", "ema_model", "_fsdp_wrapped_module"])
def test_a_wrapper_in_front_of_every_key_is_offered_anchored(wrapper):
    assert offered(f"{wrapper}.a.weight", f"{wrapper}.b.weight") == [(rf"^{wrapper}\.", "")]


def test_a_submodule_that_is_called_module_is_no_wrapper():
    assert offered("module.a.weight", "head.weight") == []
    assert offered("a.module.weight", "a.module.bias", "a.scale") == []
    assert offered("a.module.weight", "b.weight") == []


def test_wrappers_in_each_other_come_off_one_after_the_other():
    keys = ("module._orig_mod.model.a.weight", "module._orig_mod.model.b.weight")
    assert without_wrappers(*keys) == ["a.weight", "b.weight"]
    assert ("^module\\.", "") in offered(*keys)


def test_compile_fsdp_and_checkpointing_wrappers_come_off_at_any_depth():
    keys = (
        "_orig_mod.a._fsdp_wrapped_module._checkpoint_wrapped_module.fc.weight",
        "_orig_mod.b._orig_mod._orig_mod.fc.weight",
        "_orig_mod.head.weight",
    )
    assert without_wrappers(*keys) == ["a.fc.weight", "b.fc.weight", "head.weight"]
    assert offered("a._orig_mod.w", "b.w") == [(r"(^|\.)_orig_mod\.", "$1")]


def test_a_module_wrapped_alone_is_offered_where_nothing_stands_beside_it():
    assert offered("enc.module.a.weight", "enc.module.b.weight", "head.weight") == [(r"\.module\.", ".")]


def test_what_a_wrapper_rule_changes_is_counted_and_shown():
    (suggestion,) = wrapper_rules(["module.a.weight", "module.b.weight"])
    assert suggestion.gains == 2
    assert suggestion.examples == (("module.a.weight", "a.weight"), ("module.b.weight", "b.weight"))
    assert suggestion.ambiguous == ()


def test_two_keys_that_would_become_one_are_said():
    (suggestion,) = wrapper_rules(["a._orig_mod.weight", "a.weight"])
    assert "name that another one has" in suggestion.ambiguous[0]


def test_an_averaged_copy_beside_the_weights_is_a_choice_to_make():
    keys = ["model.a.weight", "model.b.weight", "model_ema.module.a.weight", "model_ema.module.b.weight"]
    found = {suggestion.rule.pattern: suggestion for suggestion in wrapper_rules(keys)}
    assert found[r"^model\."].gains == 2
    assert any("averaged copies" in suggestion.ambiguous[0] for suggestion in found.values() if suggestion.ambiguous)


def test_names_without_wrappers_get_no_offer():
    assert offered("model", "module", "a.weight") == []
    assert offered("model.weight") == [(r"^model\.", "")]
    assert offered() == []
    assert offered("module.\ud800") == []
