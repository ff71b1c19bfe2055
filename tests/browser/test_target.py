"""The parts of the screen about a mapping that has to fit: target, suggestions, lints, code, one key at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from conftest import LabPage

KEYS = "conv1.weight [2, 2, 2, 2]\nconv1.bias [2]\nconv2.weight [2, 2, 2, 2]"


def use_target(view: Locator, text: str) -> None:
    view.get_by_role("tab", name="Target").click()
    view.get_by_label("Target", exact=True).locator("visible=true").last.fill(text)
    view.get_by_role("button", name="Use this target").click()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_target_is_filled_by_the_rules_that_are_suggested_for_it(lab: LabPage, theme) -> None:
    lab.notebook_on("net_prefixed.pt")
    lab.theme(theme)
    view = lab.workbench()
    use_target(view, KEYS)
    expect(view.get_by_text("0 of 3 target keys are applied.")).to_be_visible()
    expect(view.get_by_text("will refuse this load")).to_be_visible()
    lab.picture(f"target-{theme}")

    view.get_by_role("button", name="Suggest rules").press("Enter")
    expect(view.get_by_text("1 rule: from 0 to 3 of 3 applied")).to_be_visible()
    expect(view.get_by_role("button", name="Add rule 1")).to_be_focused()
    lab.picture(f"suggested-{theme}")
    lab.page.keyboard.press("Enter")
    expect(view.get_by_text("3 of 3 target keys are applied.")).to_be_visible()
    expect(view.get_by_role("tab", name="Target 100 %")).to_be_visible()
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ")).to_be_visible()
    expect(view.get_by_role("group", name="Rule 1, 3 keys")).to_be_visible()

    view.get_by_role("button", name="Undo: suggested rules").click()
    expect(view.get_by_text("0 of 3 target keys are applied.")).to_be_visible()


def test_a_missing_key_becomes_a_rule_and_an_unused_tensor_is_skipped(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    use_target(view, "conv.conv1.weight [2, 2, 2, 2]\nconv.first.bias [2]")
    expect(view.get_by_text("1 of 2 target keys are applied.")).to_be_visible()
    view.get_by_role("button", name="Make a rule: conv.first.bias").click()
    expect(view.get_by_text("2 of 2 target keys are applied.")).to_be_visible()
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv.first.bias, ")).to_be_visible()
    view.get_by_role("button", name="Skip it: conv.conv2.weight").click()
    expect(view.get_by_role("button", name="Skipped 1")).to_be_visible()
    expect(view.locator("[data-equation]")).to_contain_text("3 in = 2 out + 1 skipped")


def test_a_target_that_cannot_be_read_says_why_where_it_was_asked_for(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    use_target(view, "absent.json")
    expect(view.get_by_role("alert").locator("visible=true")).to_contain_text("absent.json")
    expect(view.get_by_role("button", name="Use this target")).to_be_visible()


def test_keys_are_renamed_skipped_taken_back_and_made_into_a_rule_by_keyboard(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view, keyboard = lab.workbench(), lab.page.keyboard
    view.get_by_role("row", name="conv.conv2.weight, ").click()
    keyboard.press("F2")
    field = view.get_by_label("New name of conv.conv2.weight")
    expect(field).to_be_focused()
    field.fill("head.$weight")
    keyboard.press("Enter")
    expect(view.get_by_role("row", name="conv.conv2.weight, becomes head.$weight, ")).to_be_focused()

    keyboard.press("Delete")
    expect(view.get_by_role("button", name="Skipped 1")).to_be_visible()
    keyboard.press("Delete")
    expect(view.get_by_role("button", name="Skipped 0")).to_be_visible()

    view.get_by_role("row", name="conv.conv1, group of 2 tensors").click()
    keyboard.press("g")
    expect(view.get_by_role("group", name="Rules for the chosen keys").get_by_role("button").first).to_be_focused()
    view.get_by_role("group", name="Rules for the chosen keys").get_by_role("button", name=r"^conv\.").first.press(
        "Enter"
    )
    expect(view.get_by_role("group", name="Rule 2, 2 keys")).to_be_visible()


def test_a_lint_stands_under_its_rule_and_is_mended_by_its_button(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view, keyboard = lab.workbench(), lab.page.keyboard
    view.get_by_role("row").nth(1).click()
    keyboard.press("n")
    keyboard.type(r"^conv\.(conv\d)")
    keyboard.press("Tab")
    keyboard.type("$1_x")
    lint = view.locator(".wb-lint").filter(has_text="1_x")
    expect(lint.first).to_be_visible()
    lab.picture("lint")
    lint.first.get_by_role("button").click()
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1_x.bias, ")).to_be_visible()
    expect(lint).to_have_count(0)


def test_the_inspector_tells_each_step_of_a_name(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view, keyboard = lab.workbench(), lab.page.keyboard
    view.get_by_role("row").nth(1).click()
    keyboard.press("n")
    keyboard.type(r"^conv\.")
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ")).to_be_visible()
    keyboard.press("Enter")
    view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ").click()
    keyboard.press("Enter")
    panel = view.get_by_role("tabpanel", name="Inspector")
    expect(panel.get_by_role("list", name="How its name came to be")).to_contain_text("rule 1")
    expect(panel).to_contain_text("float32")
    keyboard.press("Escape")
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ")).to_be_focused()
    lab.picture("inspector")


def test_the_table_stops_after_a_rule_and_another_burn_moves_the_rows(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view, keyboard = lab.workbench(), lab.page.keyboard
    view.get_by_role("row").nth(1).click()
    for pattern in (r"^conv\.", r"^conv1"):
        keyboard.press("n")
        keyboard.type(pattern)
        expect(view.get_by_label("Pattern").locator("visible=true")).to_have_value(pattern)
        keyboard.press("Tab")
        keyboard.type("" if pattern.endswith(".") else "first")
        keyboard.press("Enter")
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes first.bias, ")).to_be_visible()
    view.get_by_role("group", name="Rule 1, 3 keys").focus()
    keyboard.press(".")
    expect(view.get_by_text("Key after rule 1")).to_be_visible()
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ")).to_be_visible()
    lab.picture("stopped")
    keyboard.press(".")
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes first.bias, ")).to_be_visible()

    view.get_by_label("For which Burn").select_option("0.20")
    expect(view.get_by_text("For Burn 0.20 · PyTorchFileRecorder: 0 rows changed")).to_be_visible()
    code = view.get_by_label("The same as code")
    view.get_by_role("tab", name="Export").click()
    expect(view.get_by_role("radio", name="Rust")).to_be_checked()
    code.scroll_into_view_if_needed()
    expect(code).to_contain_text("with_key_remap(")
    view.get_by_label("For which Burn").select_option("0.22")
    expect(code).to_contain_text("with_key_remapping(")


def test_rules_come_out_of_pasted_rust(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    view.get_by_role("button", name="Paste rules from Rust code").click()
    view.get_by_label("Rust code with key remap calls").fill(
        r'.with_key_remap("conv\\.(.*)", "$1").with_key_remap(x, "")'
    )
    view.get_by_role("button", name="Add these rules").click()
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ")).to_be_visible()
    expect(view.get_by_text("Not understood")).to_be_visible()
