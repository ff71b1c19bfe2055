"""The Export panel: what will be written, how far it is, how it ended. WORKBENCH_PICTURES=docs keeps the pictures."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from playwright.sync_api import Locator, expect
from safetensors.numpy import load_file, save_file

import workbench as wb
from tests.oracles import torch

if TYPE_CHECKING:
    from conftest import LabPage, LabServer

# The writer stands still at so many bytes, until it is let go or cancelled.
HELD = """
import threading
import workbench as wb
from workbench.writing.progress import Meter

go_on, add = threading.Event(), Meter.add

def held(meter, nbytes):
    add(meter, nbytes)
    if meter._done >= {stop} and not go_on.is_set():
        meter._tell(0.0)
    while meter._done >= {stop} and not go_on.wait(0.01):
        meter._check()

Meter.add = held
wb.Workbench({file!r})
"""

STRUCT = """
#[derive(Module, Debug)]
pub struct Net<B: Backend> {
    conv1: Conv2d<B>,
    conv2: Conv2d<B>,
}
"""


def weights(server: LabServer, name: str, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Four megabytes in eight tensors, in the file `name`."""
    made = {f"layers.{n}.weight": np.full((64, 2048), n, dtype) for n in range(8)}
    save_file(made, server.root / name)
    return made


def held_notebook(lab: LabPage, file: str, stop: int) -> Locator:
    """The workbench of a notebook whose export stands still at `stop` bytes until `let_go`."""
    source = HELD.format(stop=stop, file=file)
    lab.notebook_of(source, f"held-{file}", own_kernel=True)
    return lab.workbench()


def let_go(lab: LabPage) -> None:
    lab.page.evaluate(
        """() => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            return kernel.requestExecute({code: "go_on.set()"}).done.then(() => true);
        }"""
    )


def panel(view: Locator) -> Locator:
    view.get_by_role("tab", name="Export").click()
    return view.get_by_role("tabpanel", name="Export")


def button(panel: Locator) -> Locator:
    """The button that writes, whatever its words are."""
    return panel.locator(".wb-exportline .wb-primary")


def test_ticked_files_are_counted_measured_and_written(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = panel(lab.workbench())
    npz = view.get_by_label("model.npz")
    expect(npz).to_be_checked()
    expect(view.locator("[data-format=safetensors]")).to_contain_text("136 B")
    before = button(view).inner_text()
    npz.uncheck()
    view.get_by_label("model.pt").check()
    expect(button(view)).to_have_text(before)
    view.get_by_label("model.pt").uncheck()
    expect(button(view)).not_to_have_text(before)
    view.get_by_label("Folder", exact=True).fill("ticked")
    button(view).click()
    expect(view.get_by_text('wb.load_export("ticked")')).to_be_visible()
    assert "ticked/model.safetensors" in view.locator(".wb-paths").inner_text()
    assert (lab.server.root / "ticked" / "model.safetensors").exists()
    assert not (lab.server.root / "ticked" / "model.npz").exists()
    lab.picture("export-done")
    assert lab.errors == []


def test_a_running_export_tells_its_progress_and_goes_on_while_one_works(lab: LabPage) -> None:
    made = weights(lab.server, "held.safetensors")
    view = held_notebook(lab, "held.safetensors", 2_500_000)
    shown = panel(view)
    shown.get_by_label("Folder", exact=True).fill("held")
    button(shown).click()
    expect(shown.get_by_role("progressbar")).to_be_visible()
    expect(shown.get_by_text("Writing model.")).to_be_visible()
    expect(shown.locator(".wb-amount")).to_contain_text(" of ")
    expect(view.locator(".wb-status")).to_contain_text("exporting ")
    expect(shown.get_by_text("Cancelling leaves the folder as it was.")).to_be_visible()
    assert not (lab.server.root / "held").exists()
    lab.picture("export-running")

    # The kernel answers meanwhile: a rule is typed, and the table follows.
    view.get_by_role("row").nth(1).click()
    lab.page.keyboard.press("n")
    lab.page.keyboard.type("layers")
    expect(view.get_by_role("group", name="Rule 1, 8 keys")).to_be_visible()

    let_go(lab)
    expect(view.get_by_text('wb.load_export("held")')).to_be_visible()
    expect(button(shown)).to_be_visible()
    model = wb.load_export(lab.server.root / "held")
    assert np.array_equal(model["layers"]["7"]["weight"], made["layers.7.weight"])
    assert lab.errors == []


def test_cancel_leaves_the_folder_as_it_was(lab: LabPage) -> None:
    weights(lab.server, "stopped.safetensors")
    folder = lab.server.root / "stopped"
    folder.mkdir(exist_ok=True)
    (folder / "model.npz").write_text("mine")
    view = held_notebook(lab, "stopped.safetensors", 2_500_000)
    shown = panel(view)
    shown.get_by_label("Folder", exact=True).fill("stopped")
    expect(button(shown)).to_have_text("Replace 1 file")
    expect(shown.get_by_text("1 file will be replaced")).to_be_visible()
    button(shown).focus()
    lab.page.keyboard.press("Enter")
    cancel = shown.get_by_role("button", name="Cancel")
    expect(cancel).to_be_focused()
    lab.page.keyboard.press("Enter")
    expect(shown.get_by_text("The folder is as it was.")).to_be_visible()
    expect(button(shown)).to_be_focused()
    assert [path.name for path in folder.iterdir()] == ["model.npz"]
    assert (folder / "model.npz").read_text() == "mine"
    lab.picture("export-cancelled")
    assert lab.errors == []


def test_files_that_are_there_are_replaced_only_when_it_was_said(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = panel(lab.workbench())
    view.get_by_label("Folder", exact=True).fill("twice")
    button(view).click()
    expect(view.get_by_text('wb.load_export("twice")')).to_be_visible()
    n = len(list((lab.server.root / "twice").iterdir()))
    expect(button(view)).to_have_text(f"Replace {n} files")
    expect(view.get_by_text(f"{n} files will be replaced")).to_be_visible()
    lab.picture("export-replaces")
    button(view).click()
    expect(view.get_by_text(f"Wrote {n} files")).to_be_visible()


def test_a_blocked_export_says_why_and_offers_the_ways_out(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    shown = panel(view)
    view.get_by_role("row").nth(1).click()
    lab.page.keyboard.press("n")
    lab.page.keyboard.type(r"conv[12]\.")
    expect(shown.get_by_text("Export is blocked: 1 remapped key is claimed twice.")).to_be_visible()
    expect(button(shown)).to_have_attribute("aria-disabled", "true")
    expect(button(shown)).to_have_accessible_name(
        re.compile("^Export .* files, not possible: Export is blocked: 1 remapped key")
    )
    button(shown).focus()
    expect(button(shown)).to_be_focused()
    lab.picture("export-blocked")
    shown.get_by_role("button", name="Skip conv.conv2.weight").click()
    expect(shown.get_by_text("Export is blocked")).to_be_hidden()
    expect(view.get_by_role("button", name="Skipped 1")).to_be_visible()


def test_floats_are_cast_and_the_cast_is_undone(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = lab.workbench()
    shown = panel(view)
    size = shown.locator("[data-format=safetensors]")
    expect(size).to_contain_text("136 B")
    shown.get_by_label("Floats", exact=True).select_option("float16")
    expect(size).to_contain_text("68 B")
    shown.get_by_label("Folder", exact=True).fill("halved")
    button(shown).click()
    expect(shown.get_by_text("cast from float32 to float16").first).to_be_visible()
    assert wb.load_export(lab.server.root / "halved")["conv"]["conv1"]["bias"].dtype == np.float16
    view.get_by_role("button", name="Undo").click()
    expect(shown.get_by_label("Floats", exact=True)).to_have_value("")
    expect(size).to_contain_text("136 B")


def test_the_code_is_shown_in_either_language(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = panel(lab.workbench())
    code = view.get_by_label("The same as code")
    expect(code).to_contain_text("PytorchStore")
    view.get_by_role("radio", name="Rust").press("ArrowRight")
    expect(view.get_by_role("radio", name="Python")).to_be_focused()
    expect(code).to_contain_text("import numpy")


def test_tied_tensors_are_written_once_when_that_is_chosen(lab: LabPage) -> None:
    shared = torch().arange(2048.0).reshape(64, 32)
    torch().save(
        {"embed.weight": shared, "head.weight": shared, "norm.weight": torch().ones(32)}, lab.server.root / "tied.pt"
    )
    lab.notebook_on("tied.pt")
    view = panel(lab.workbench())
    size = view.locator("[data-format=npz]")
    expect(size).to_contain_text("16.5 kB")
    view.get_by_label("Tied tensors").select_option("once")
    expect(size).to_contain_text("8.3 kB")
    # PyTorch has both names for one storage in any case.
    expect(view.locator("[data-format=pt]")).to_contain_text("16.5 kB")
    view.get_by_label("Folder", exact=True).fill("tied")
    button(view).click()
    expect(view.get_by_text('wb.load_export("tied")')).to_be_visible()
    with np.load(lab.server.root / "tied" / "model.npz") as written:
        assert sorted(written) == ["embed.weight", "norm.weight"]
    expect(view.locator(".wb-changes")).to_contain_text("head.weight")
    assert lab.errors == []


def test_ties_are_not_asked_about_where_nothing_is_tied(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = panel(lab.workbench())
    expect(view.locator("[data-format=npz]")).to_be_visible()
    expect(view.get_by_label("Tied tensors")).to_be_hidden()


def test_weights_are_split_into_shards_of_a_size_that_is_typed(lab: LabPage) -> None:
    made = weights(lab.server, "split.safetensors")
    lab.notebook_on("split.safetensors")
    view = panel(lab.workbench())
    field = view.get_by_label("Shards of at most", exact=True)
    expect(view.locator("[data-format=safetensors]")).to_contain_text("4.19 MB")
    before = button(view).inner_text()

    field.fill("banana")
    field.press("Enter")
    expect(view.locator(".wb-exportnote")).to_contain_text("'banana' is no size of a shard.")
    expect(button(view)).to_have_attribute("aria-disabled", "true")

    field.fill("1.1 MB")
    field.press("Enter")
    expect(view.locator("[data-format=safetensors]")).to_contain_text("in shards of 1.10 MB at most")
    expect(button(view)).not_to_have_text(before)
    view.get_by_label("pytorch_model.bin.index.json").check()
    expect(view.locator("[data-format=pt]")).to_contain_text("in shards of 1.10 MB at most")
    view.get_by_label("Folder", exact=True).fill("split")
    lab.picture("export-shards")
    button(view).click()
    expect(view.get_by_text('wb.load_export("split")')).to_be_visible()
    for name, load in (("model.safetensors", load_file), ("pytorch_model.bin", torch().load)):
        index = json.loads((lab.server.root / "split" / f"{name}.index.json").read_text("utf-8"))["weight_map"]
        assert set(index) == set(made)
        assert len(set(index.values())) == 4
        for key, shard in index.items():
            assert np.array_equal(np.asarray(load(lab.server.root / "split" / shard)[key]), made[key])

    view.locator("[data-format=pt] input").uncheck()
    expect(field).to_be_visible()
    view.get_by_label("model.safetensors").first.uncheck()
    expect(field).to_be_hidden()
    assert lab.errors == []


def test_what_a_format_cannot_hold_of_thousands_of_tensors_is_told_before_export_is_pressed(lab: LabPage) -> None:
    th = torch()
    names = ["layers.0.we\0ight", *(f"layers.{n}.weight" for n in range(1, 4_000))]
    th.save({name: th.zeros(2) for name in names}, lab.server.root / "thousands.pt")
    lab.notebook_on("thousands.pt")
    view = panel(lab.workbench())
    refused = view.locator("[data-format=npz]")
    expect(refused).to_contain_text("One tensor cannot be held by an .npz file.")
    expect(view.get_by_label("model.npz")).not_to_be_checked()
    refused.locator("summary").click()
    expect(refused).to_contain_text("npz ends a name at its first NUL character")
    lab.picture("export-refused-of-many")
    view.get_by_label("Folder", exact=True).fill("thousands")
    button(view).click()
    expect(view.get_by_text('wb.load_export("thousands")')).to_be_visible()
    written = {path.name for path in (lab.server.root / "thousands").iterdir()}
    assert "model.npz" not in written
    assert len(load_file(lab.server.root / "thousands" / "model.safetensors")) == len(names)
    assert lab.errors == []


def test_an_mpk_says_what_it_lacks_and_is_written_in_half_precision_when_it_has_it(lab: LabPage) -> None:
    lab.notebook_on("net.pt")
    view = lab.workbench()
    shown = panel(view)
    line, box = shown.locator("[data-format=mpk]"), shown.get_by_label("model.mpk")
    expect(line).to_contain_text("Burn 0.22 has no .mpk files.")
    expect(box).to_have_attribute("aria-disabled", "true")
    expect(box).to_have_accessible_description(re.compile("Choose Burn 0.21 or older"))
    box.click(force=True)
    expect(box).not_to_be_checked()

    view.get_by_label("For which Burn").select_option("0.21")
    expect(line).to_contain_text("The structs of the model are not known")
    expect(line).to_contain_text("Give the Rust source of the model as target")
    lab.picture("export-mpk-blocked")
    view.get_by_role("tab", name="Target").click()
    view.get_by_label("Target", exact=True).locator("visible=true").last.fill(STRUCT)
    view.get_by_role("button", name="Use this target").click()
    expect(view.get_by_role("tab", name="Target 100 %")).to_be_visible()

    panel(view)
    expect(line).to_contain_text("136 B")
    expect(shown.get_by_label(".mpk floats")).to_be_hidden()
    box.check()
    shown.get_by_label(".mpk floats").select_option("half")
    expect(line).to_contain_text("68 B")
    shown.get_by_label("Folder", exact=True).fill("record")
    lab.picture("export-mpk")
    button(shown).click()
    expect(shown.get_by_text('wb.load_export("record")')).to_be_visible()
    record = wb.open(lab.server.root / "record" / "model.mpk")
    original = wb.open(lab.server.root / "net.pt")
    assert set(record) == set(original)
    assert all(np.array_equal(record[key], original[key].astype(np.float16)) for key in original)
    assert {record[key].dtype for key in record} == {np.dtype(np.float16)}
    assert lab.errors == []


def test_a_folder_that_ends_in_zip_is_one_file(lab: LabPage) -> None:
    lab.notebook_on("net_prefixed.pt")
    view = panel(lab.workbench())
    view.get_by_label("Folder", exact=True).fill("packed.zip")
    button(view).click()
    expect(view.get_by_text('wb.load_export("packed.zip")')).to_be_visible()
    lab.picture("export-zip")
    with zipfile.ZipFile(lab.server.root / "packed.zip") as packed:
        assert packed.testzip() is None
        names = {Path(name).name for name in packed.namelist()}
    assert {"mapping.json", "model.npz", "model.safetensors", "load.rs", "Cargo.toml", "load.py", "REPORT.md"} <= names
    assert "conv" in wb.load_export(lab.server.root / "packed.zip")
    expect(button(view)).to_have_text("Replace 1 file")
    assert lab.errors == []


@pytest.mark.parametrize("look", ["light", "dark", "high-contrast", "forced-colors", "narrow"])
def test_the_panel_in_each_theme_and_narrow(lab: LabPage, look) -> None:
    weights(lab.server, f"look-{look}.safetensors")
    if look == "narrow":
        lab.page.set_viewport_size({"width": 980, "height": 900})
    view = held_notebook(lab, f"look-{look}.safetensors", 10_500_000)
    if look == "high-contrast":
        lab.command("apputils:change-theme", theme="JupyterLab Dark High Contrast")
        lab.page.locator("body[data-jp-theme-name='JupyterLab Dark High Contrast']").wait_for(state="attached")
    else:
        lab.theme("dark" if look == "dark" else "light")
    if look == "forced-colors":
        lab.page.emulate_media(forced_colors="active")
    shown = panel(view)
    expect(button(shown)).to_contain_text("files")
    lab.picture(f"export-{look}")
    button(shown).click()
    expect(shown.get_by_text("written", exact=True).first).to_be_visible()
    lab.picture(f"export-running-{look}")
    expect(shown.get_by_role("progressbar").locator("span")).to_be_visible()  # it has some width
    shown.get_by_role("button", name="Cancel").click()
    expect(shown.get_by_text("The folder is as it was.")).to_be_visible()
