"""What stands above the table of a file that needs a decision first, and the way out of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import expect
from safetensors.numpy import save_file

from tests.oracles import torch

if TYPE_CHECKING:
    from conftest import LabPage


def whole_model(lab: LabPage, name: str):
    nn = torch().nn
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch().save(model, lab.server.root / name)
    return model


def banner(lab: LabPage):
    return lab.workbench().get_by_role("region", name="About this file")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_banner_of_a_whole_model_is_reached_by_tab_and_turns_into_what_was_written(
    lab: LabPage, theme: str
) -> None:
    model = whole_model(lab, f"banner_{theme}.pt")
    lab.notebook_on(f"banner_{theme}.pt")
    lab.theme(theme)
    view, keyboard = lab.workbench(), lab.page.keyboard
    expect(banner(lab)).to_contain_text("This file holds the whole model, not its state_dict.")
    expect(banner(lab)).to_contain_text(f'torch.save(model.state_dict(), "banner_{theme}.pt")')
    assert banner(lab).bounding_box()["height"] >= 44
    lab.picture(f"banner-{theme}")

    view.focus()
    keyboard.press("Tab")
    expect(banner(lab).get_by_role("button", name="Write the state_dict…")).to_be_focused()
    keyboard.press("Enter")
    field = banner(lab).get_by_label("File to write")
    expect(field).to_be_focused()
    expect(field).to_have_value(f"banner_{theme}.state_dict.safetensors")
    lab.picture(f"banner-form-{theme}")
    field.fill(f"banner_{theme}.state_dict.pt")
    keyboard.press("Enter")
    expect(banner(lab)).to_contain_text("read back and equal")
    expect(banner(lab)).not_to_contain_text("not its state_dict")
    expect(banner(lab).get_by_role("button", name="Open it")).to_be_focused()
    lab.picture(f"banner-written-{theme}")
    written = torch().load(lab.server.root / f"banner_{theme}.state_dict.pt", weights_only=True)
    assert list(written) == list(model.state_dict())

    keyboard.press("Enter")
    expect(view.get_by_text("flat state_dict")).to_be_visible()
    expect(banner(lab)).to_be_hidden()


def test_a_closed_banner_stays_a_finding_and_gives_the_focus_to_the_table(lab: LabPage) -> None:
    whole_model(lab, "closed.pt")
    lab.notebook_on("closed.pt")
    view = lab.workbench()
    banner(lab).get_by_role("button", name="Close").press("Enter")
    expect(banner(lab)).to_be_hidden()
    expect(view.locator('[role="treegrid"] :focus')).to_have_count(1)
    expect(view.get_by_role("tabpanel", name="Findings")).to_contain_text("This file holds the whole model")
    view.get_by_label("For which Burn").select_option("0.21")
    expect(view.get_by_role("tabpanel", name="Findings")).to_contain_text("Burn 0.21 refuses it")
    expect(banner(lab)).to_be_hidden()


def test_of_two_models_one_is_chosen_in_the_form(lab: LabPage) -> None:
    nn = torch().nn
    ema = nn.Linear(2, 4)
    torch().save({"model": nn.Linear(2, 3), "ema": ema}, lab.server.root / "two_models.pt")
    lab.notebook_on("two_models.pt")
    expect(banner(lab)).to_contain_text("model holds a whole model; ema holds another.")
    banner(lab).get_by_role("button", name="Write the state_dict").click()
    banner(lab).get_by_label("Whose state_dict").select_option("ema")
    lab.picture("banner-two")
    banner(lab).get_by_role("button", name="Write", exact=True).click()
    expect(banner(lab)).to_contain_text("read back and equal")
    written = lab.server.root / "two_models.state_dict.safetensors"
    from safetensors.torch import load_file

    assert torch().equal(load_file(written)["weight"], ema.weight)


class Evil:
    def __reduce__(self):
        return os.system, ("touch was_run",)


def test_code_in_the_pickle_is_said_first_and_was_not_run(lab: LabPage) -> None:
    torch().save({"w": torch().ones(2), "<img src=x onerror=alert(1)>": Evil()}, lab.server.root / "evil.pt")
    lab.notebook_on("evil.pt")
    expect(banner(lab)).to_contain_text("Loading this with PyTorch would run posix.system.")
    expect(banner(lab)).to_contain_text("Nothing was run here.")
    lab.picture("banner-danger")
    assert not (lab.server.root / "was_run").exists()
    assert lab.dialogs == []


def test_a_nested_file_is_read_below_its_key_by_the_banner(lab: LabPage) -> None:
    lab.notebook_on("net_nested.pt")
    view = lab.workbench()
    lab.picture("banner-nested")
    banner(lab).get_by_role("button", name="Read below my_state_dict").click()
    expect(view.get_by_label("Top-level key")).to_have_value("my_state_dict")
    expect(banner(lab)).to_be_hidden()
    expect(view.locator('[role="treegrid"] :focus')).to_have_count(1)


def test_a_file_without_a_decision_has_no_banner(lab: LabPage) -> None:
    lab.notebook_on("net.pt")
    expect(lab.workbench().get_by_role("treegrid")).to_be_visible()
    expect(banner(lab)).to_be_hidden()


def test_trouble_takes_the_place_of_the_banner_and_gives_it_back(lab: LabPage) -> None:
    whole_model(lab, "trouble.pt")
    lab.notebook_on("trouble.pt")
    view = lab.workbench()
    expect(banner(lab)).to_be_visible()
    lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(view.get_by_text("The kernel has stopped.")).to_be_visible()
    expect(banner(lab)).to_be_hidden()


@pytest.mark.parametrize(("width", "theme"), [(2100, "light"), (1000, "dark"), (760, "light")])
def test_the_banner_fits_every_width(lab: LabPage, width: int, theme: str) -> None:
    whole_model(lab, f"wide_{width}.pt")
    lab.page.set_viewport_size({"width": width, "height": 900})
    lab.notebook_on(f"wide_{width}.pt")
    lab.theme(theme)
    box, outer = banner(lab).bounding_box(), lab.workbench().bounding_box()
    assert box["width"] <= outer["width"]
    assert banner(lab).evaluate("node => node.scrollWidth <= node.clientWidth")
    expect(banner(lab).get_by_role("button", name="Write the state_dict…")).to_be_in_viewport(ratio=1)
    expect(banner(lab).get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
    lab.picture(f"banner-{width}")


def test_the_counts_in_the_header_show_the_findings_of_one_severity(lab: LabPage) -> None:
    whole_model(lab, "counted.pt")
    lab.notebook_on("counted.pt")
    view = lab.workbench()
    panel = view.get_by_role("tabpanel", name="Findings")
    view.get_by_role("button", name="2 warnings, show").click()
    expect(panel).to_contain_text("This file holds the whole model")
    view.get_by_role("button", name="1 note, show").click()
    expect(panel).not_to_contain_text("This file holds the whole model")
    panel.get_by_role("button", name="Show all").click()
    expect(panel).to_contain_text("This file holds the whole model")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_file_that_changed_on_disk_is_told_and_opened_again_or_kept(lab: LabPage, theme: str) -> None:
    path = lab.server.root / f"changed_{theme}.safetensors"
    save_file({"conv.a": np.ones(2, np.float32), "conv.b": np.ones(3, np.float32)}, path)
    lab.notebook_on(path.name)
    lab.theme(theme)
    view = lab.workbench()
    changed = view.get_by_role("region", name="The file changed")
    expect(changed).to_be_hidden()

    def save_anew(key: str) -> None:
        save_file({key: np.ones(4, np.float32)}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    save_anew("conv.c")
    lab.page.locator(".jp-Notebook .cm-content").first.click()
    view.get_by_role("row", name="conv.b, ").click()
    expect(changed).to_contain_text(f"{path.name} changed on disk")
    expect(changed).to_contain_text("The table shows the old one.")
    lab.picture(f"banner-changed-{theme}")
    changed.get_by_role("button", name="Keep").press("Enter")
    expect(changed).to_be_hidden()
    expect(view.locator('[role="treegrid"] :focus')).to_have_count(1)
    expect(view.get_by_role("row", name="conv.b, ")).to_be_visible()

    save_anew("conv.d")
    lab.page.keyboard.press("n")
    lab.page.keyboard.type(r"^conv\.")
    expect(changed.get_by_role("button", name="Open again")).to_be_visible()
    lab.page.keyboard.press("F6")
    changed.get_by_role("button", name="Open again").press("Enter")
    expect(changed).to_be_hidden()
    expect(view.get_by_role("row", name="conv.d, becomes d, ")).to_be_visible()
    expect(view.get_by_role("group", name="Rule 1, 1 key")).to_be_visible()
    assert lab.errors == []
