"""What the screen says is wrong, and the way out: findings, and an error that was pasted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.oracles import torch

if TYPE_CHECKING:
    from conftest import LabPage

BURN_ERROR = (
    "DeserializeError(\"Serde error: other error: Missing source values for the 'conv1' field of type "
    "'Conv2dRecordItem'. Please verify the source data and ensure the field name is correct\")"
)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_pasted_burn_error_is_answered_with_the_rule_that_ends_it(lab: LabPage, theme) -> None:
    lab.notebook_on("net_prefixed.pt")
    lab.theme(theme)
    view = lab.workbench()
    view.get_by_role("tab", name="Findings").click()
    view.get_by_label("Error text").fill(BURN_ERROR)
    expect(view.get_by_text("The model has a field that the file has nothing for.")).to_be_visible()
    mend = view.locator(".wb-explained").get_by_role("button", name=r"Add rule `^conv\.` → nothing")
    expect(mend).to_be_visible()
    lab.picture(f"error-{theme}")
    mend.press("Enter")
    expect(view.get_by_text("This error is gone.")).to_be_visible()
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ")).to_be_visible()
    expect(view.get_by_role("group", name="Rule 1, 3 keys")).to_be_visible()


def test_a_prefix_of_all_keys_is_taken_off_by_the_button_of_its_note(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    view.get_by_role("button", name="1 note, show").click()
    panel = view.get_by_role("tabpanel", name="Findings")
    expect(panel).to_contain_text("All 3 keys begin with conv.")
    panel.get_by_role("button", name=r"Add rule `^conv\.` → nothing").press("Enter")
    expect(view.get_by_role("row", name="conv.conv1.bias, becomes conv1.bias, ")).to_be_visible()
    expect(panel).not_to_contain_text("All 3 keys begin with")


def test_an_error_that_is_not_known_is_called_so(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    view.get_by_role("tab", name="Findings").click()
    view.get_by_label("Error text").fill("segfault in my own loader near conv.conv1.weight")
    expect(view.get_by_text("Not known")).to_be_visible()
    expect(view.get_by_role("tabpanel", name="Findings")).to_contain_text("conv.conv1.weight")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_state_dict_of_a_whole_model_is_written_in_three_key_strokes(lab: LabPage, theme) -> None:
    nn = torch().nn
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch().save(model, lab.server.root / f"whole_{theme}.pt")
    lab.notebook_on(f"whole_{theme}.pt")
    lab.theme(theme)
    view, keyboard = lab.workbench(), lab.page.keyboard
    panel = view.get_by_role("tabpanel", name="Findings")
    expect(panel).to_contain_text("This file holds the whole model, not its state_dict.")
    panel.get_by_role("button", name="Write the state_dict").press("Enter")
    field = view.get_by_label("File to write")
    expect(field).to_be_focused()
    expect(field).to_have_value(f"whole_{theme}.state_dict.safetensors")
    field.fill(f"whole_{theme}.state_dict.pt")
    keyboard.press("Enter")
    expect(view.get_by_text("read back and equal")).to_be_visible()
    expect(view.get_by_role("button", name="Open it")).to_be_focused()
    lab.picture(f"whole-{theme}")

    written = torch().load(lab.server.root / f"whole_{theme}.state_dict.pt", weights_only=True)
    expected = model.state_dict()
    assert list(written) == list(expected)
    assert all(torch().equal(written[key], expected[key]) for key in expected)
    keyboard.press("Enter")
    expect(view.get_by_text(f"whole_{theme}.state_dict.pt").first).to_be_visible()
    expect(view.get_by_text("flat state_dict")).to_be_visible()


def test_a_whole_model_under_a_key_is_found_and_its_key_is_chosen(lab: LabPage) -> None:
    nn = torch().nn
    torch().save({"model": nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)), "epoch": 7},
                 lab.server.root / "trained.pt")  # fmt: skip
    lab.notebook_on("trained.pt")
    view = lab.workbench()
    view.get_by_role("tab", name="Findings").click()
    panel = view.get_by_role("tabpanel", name="Findings")
    expect(panel).to_contain_text("model holds a whole model.")
    lab.picture("findings")
    panel.get_by_role("button", name="Read below model").click()
    expect(view.get_by_label("Top-level key")).to_have_value("model")
    expect(panel).not_to_contain_text("Read below model")


def test_a_weight_that_is_stored_in_parts_is_folded_and_the_fold_is_undone(lab: LabPage) -> None:
    nn = torch().nn
    layer = torch().nn.utils.weight_norm(nn.Linear(3, 4))
    model = nn.ModuleDict({"body": layer, "head": nn.Linear(4, 2)})
    torch().save(model.state_dict(), lab.server.root / "weight_norm.pt")
    lab.notebook_on("weight_norm.pt")
    view = lab.workbench()
    view.get_by_role("tab", name="Findings").click()
    panel = view.get_by_role("tabpanel", name="Findings")
    expect(panel).to_contain_text("body stores weight as the parts that weight_norm computes it from")
    lab.picture("fold-before")
    panel.get_by_role("button", name="Fold into weight").press("Enter")

    part = view.get_by_role("row", name=re.compile(r"^body\.weight_g, .*skipped"))
    weight = view.get_by_role("row", name=re.compile(r"^body\.weight_v, becomes body\.weight, 4 by 3, float32"))
    expect(weight).to_be_visible()
    expect(part).to_be_visible()
    expect(part).to_contain_text("skipped")
    expect(part.get_by_role("gridcell").last).to_have_attribute("title", "skipped: folded into body.weight")
    expect(view.locator("[data-equation]")).to_contain_text("5 in = 4 out + 1 skipped")
    expect(panel).not_to_contain_text("the parts that weight_norm computes it from")
    lab.picture("fold-after")

    view.get_by_role("tab", name="Export").click()
    export = view.get_by_role("tabpanel", name="Export")
    export.get_by_label("Folder", exact=True).fill("folded")
    export.locator(".wb-primary").click()
    expect(export.get_by_text('wb.load_export("folded")')).to_be_visible()
    from safetensors.torch import load_file

    written = load_file(lab.server.root / "folded" / "model.safetensors")
    assert set(written) == {"body.weight", "body.bias", "head.weight", "head.bias"}
    assert torch().allclose(written["body.weight"], layer.weight, rtol=1e-6, atol=1e-7)

    view.get_by_role("button", name="Undo: Fold into weight").click()
    expect(view.get_by_role("row", name=re.compile(r"^body\.weight_g, "))).not_to_contain_text("skipped")
    expect(view.locator("[data-equation]")).to_contain_text("5 in = 5 out + 0 skipped")
    view.get_by_role("tab", name="Findings").click()
    expect(panel.get_by_role("button", name="Fold into weight")).to_be_visible()
    assert lab.errors == []
