"""The whole road in a real JupyterLab: see, type a rule, collide, undo, export, read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from playwright.sync_api import Locator, expect

import workbench as wb
from tests.oracles import torch

if TYPE_CHECKING:
    from conftest import LabPage

PREFIXED = "net_prefixed.pt.workbench.ipynb"


def rows(view: Locator) -> Locator:
    return view.get_by_role("treegrid").locator("[role=row][aria-rowindex]:not([aria-rowindex='1'])")


def becomes(view: Locator, original: str, remapped: str) -> None:
    expect(view.get_by_role("row", name=f"{original}, becomes {remapped}, ")).to_be_visible()


def test_the_first_notebook_shows_the_tree_of_the_sample(lab: LabPage) -> None:
    lab.notebook_on("net.pt")
    view = lab.workbench()
    expect(rows(view)).to_have_count(4)
    expect(view.get_by_role("row", name="conv1, group of 2 tensors")).to_be_visible()
    expect(view.get_by_role("row", name="conv1.weight, 2 by 2 by 2 by 2, float32, unchanged")).to_be_visible()
    expect(view.locator("[data-equation]")).to_contain_text("3 in = 3 out")


def test_strip_a_prefix_by_keyboard_collide_undo_export_and_read_back(lab: LabPage) -> None:
    lab.open_notebook(PREFIXED)
    view, keyboard = lab.workbench(), lab.page.keyboard
    view.get_by_role("row", name="conv, group of 3 tensors").click()

    # N, the pattern, Tab, the replacement, Enter: the table follows.
    keyboard.press("n")
    keyboard.type(r"conv\.(.*)")
    expect(view.get_by_label("Pattern").locator("visible=true")).to_have_value(r"conv\.(.*)")
    keyboard.press("Tab")
    keyboard.type("$1")
    becomes(view, "conv.conv1.bias", "conv1.bias")
    keyboard.press("Enter")
    expect(view.get_by_role("group", name="Rule 1, 3 keys")).to_be_visible()

    # A pattern that is not one: the caret says where, the table keeps the last good plan.
    keyboard.press("n")
    keyboard.type("conv(")
    expect(view.get_by_text("unclosed group")).to_be_visible()
    becomes(view, "conv.conv1.bias", "conv1.bias")

    # Corrected, it makes two keys one: export is refused.
    keyboard.press("Backspace")
    keyboard.type(r"\d")
    expect(view.get_by_text("Export is blocked: 1 remapped key is claimed twice.")).to_be_visible()
    expect(view.get_by_role("button", name="Collisions 2")).to_be_visible()
    folder = view.get_by_label("Folder", exact=True)
    folder.fill("collided")
    view.get_by_role("button", name="Export 7 files, not possible: Export is blocked").press("Enter")
    expect(view.get_by_text("Export is blocked: 1 remapped key is claimed twice.")).to_be_visible()
    assert not (lab.server.root / "collided").exists()

    # Undone, it goes.
    view.get_by_role("button", name="Undo").click()
    expect(view.get_by_text("Export is blocked")).to_be_hidden()
    becomes(view, "conv.conv1.bias", "conv1.bias")

    folder.fill("stripped")
    view.get_by_role("button", name="Export 7 files", exact=True).click()
    expect(view.get_by_text("wb.load_export").last).to_be_visible()
    model = wb.load_export(lab.server.root / "stripped")
    source = wb.open(lab.server.root / "net_prefixed.pt")
    assert set(model) == {"conv1", "conv2"}
    assert np.array_equal(model["conv1"]["bias"], source["conv.conv1.bias"])
    assert np.array_equal(model["conv1"]["weight"], source["conv.conv1.weight"])
    assert np.array_equal(model["conv2"]["weight"], source["conv.conv2.weight"])
    assert lab.errors == []


def test_rules_are_switched_moved_deleted_and_brought_back_by_keyboard_alone(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view, keyboard = lab.workbench(), lab.page.keyboard
    rows(view).first.click()
    for pattern, replacement in [("conv1", "first"), ("conv2", "second")]:
        keyboard.press("n")
        keyboard.type(pattern)
        keyboard.press("Tab")
        keyboard.type(replacement)
        becomes(view, f"conv.{pattern}.weight", f"conv.{replacement}.weight")
        keyboard.press("Enter")
    rule = view.get_by_role("group", name="Rule 2, 1 key")
    expect(rule).to_be_focused()
    expect(rule).to_contain_text("conv2")

    keyboard.press("Alt+ArrowUp")
    expect(view.get_by_role("group", name="Rule 1, 1 key")).to_contain_text("conv2")
    keyboard.press("Space")
    expect(view.get_by_role("checkbox", name="Rule 1 on")).not_to_be_checked()
    expect(view.get_by_role("row", name="conv.conv2.weight, 2 by 2 by 2 by 2, float32, unchanged")).to_be_visible()
    keyboard.press("Delete")
    expect(view.get_by_role("group", name="Rule 1, 2 keys")).to_contain_text("conv1")
    expect(view.get_by_role("group", name="Rule 1, 2 keys")).to_be_focused()

    for _ in range(3):
        keyboard.press("Control+z")
    expect(view.get_by_role("group", name="Rule 2, 1 key")).to_contain_text("conv2")
    becomes(view, "conv.conv2.weight", "conv.second.weight")
    keyboard.press("Control+Shift+z")
    expect(view.get_by_role("group", name="Rule 1, 1 key")).to_contain_text("conv2")
    assert lab.errors == []


def test_keys_in_the_workbench_do_not_reach_the_notebook(lab: LabPage) -> None:
    lab.open_notebook(PREFIXED)
    view = lab.workbench()
    cells = lab.page.locator(".jp-NotebookPanel:visible .jp-Cell")
    n_cells = cells.count()
    first = rows(view).first
    first.click()
    for key in ["b", "a", "ArrowDown", "m"]:
        lab.page.keyboard.press(key)
    expect(rows(view).nth(1)).to_be_focused()
    expect(cells).to_have_count(n_cells)


def test_a_nested_file_offers_its_top_level_key(lab: LabPage) -> None:
    lab.notebook_on("net_nested.pt")
    view = lab.workbench()
    view.get_by_label("Top-level key").select_option("my_state_dict")
    expect(view.get_by_role("row", name="conv1.weight, 2 by 2 by 2 by 2")).to_be_visible()


def test_a_bad_file_shows_what_it_is_and_no_traceback(lab: LabPage) -> None:
    (lab.server.root / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    lab.notebook_on("pointer.pt")
    view = lab.workbench()
    expect(view.get_by_role("alert")).to_contain_text("Git LFS pointer")
    expect(view.get_by_role("alert")).to_contain_text("pointer.pt")
    expect(lab.page.locator(".jp-OutputArea-output[data-mime-type*=error]")).to_have_count(0)


def test_nothing_open_lists_the_checkpoints_of_the_folder(lab: LabPage) -> None:
    lab.notebook_on(None)
    view = lab.workbench()
    expect(view.get_by_role("heading", name="Open a checkpoint")).to_be_visible()
    view.get_by_text("net.safetensors", exact=True).click()
    expect(view.get_by_role("row", name="conv1.bias, 2, float32, unchanged")).to_be_visible()


def test_markup_in_a_key_stays_text(lab: LabPage) -> None:
    from safetensors.numpy import save_file

    key = '<img src=x onerror="window.__hit=1">'
    save_file({key: np.zeros(2, np.float32)}, lab.server.root / "hostile.safetensors")
    lab.notebook_on("hostile.safetensors")
    view = lab.workbench()
    expect(view.get_by_text(key).first).to_be_visible()
    assert lab.page.evaluate("() => window.__hit === undefined")
    assert lab.dialogs == []


def test_a_hundred_thousand_keys_open_jump_and_follow_typing(lab: LabPage) -> None:
    from safetensors.numpy import save_file

    value = np.zeros(1, np.float32)
    save_file(
        {f"layers.{n}.{leaf}": value for n in range(25_000) for leaf in "abcd"}, lab.server.root / "many.safetensors"
    )
    lab.notebook_on("many.safetensors")
    view = lab.workbench()
    view.get_by_label("Arrangement").select_option("flat")
    grid = view.get_by_role("treegrid")
    expect(grid).to_have_attribute("aria-rowcount", "100001")
    view.locator(".wb-scroll").evaluate("(el) => { el.scrollTop = 90000 * 24; }")
    expect(view.get_by_role("row", name="layers.22500.a, 1, float32")).to_be_visible()
    assert rows(view).count() <= 120
    view.get_by_role("row", name="layers.22500.a, 1, float32").click()
    lab.page.keyboard.press("n")
    lab.page.keyboard.type("^layers")
    lab.page.keyboard.press("Tab")
    lab.page.keyboard.type("blocks")
    becomes(view, "layers.22500.a", "blocks.22500.a")


def test_a_whole_model_shows_its_classes_what_is_beside_it_and_its_values(lab: LabPage) -> None:
    nn = torch().nn
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    model.register_buffer("mask", torch().zeros(3), persistent=False)
    torch().save({"model": model, "epoch": 7}, lab.server.root / "whole.pt")
    lab.notebook_on("whole.pt")
    view, keyboard = lab.workbench(), lab.page.keyboard
    view.get_by_label("Top-level key").select_option("model")
    expect(view.get_by_role("row", name="{0,2}, becomes {0,1}, ×2, group of 4 tensors")).to_contain_text("Linear")
    view.get_by_role("row", name="Values of the file, not exported").click()
    keyboard.press("ArrowRight")
    expect(view.get_by_role("row", name="epoch, 7, not exported")).to_be_visible()
    view.get_by_role("row", name="Beside the state_dict, not exported").click()
    keyboard.press("ArrowRight")
    expect(view.get_by_role("row", name="model.mask, it is a non-persistent buffer")).to_be_visible()
