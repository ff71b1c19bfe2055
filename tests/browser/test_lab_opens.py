"""`workbench lab FILE`, seen in the browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import LabPage

NOTEBOOK = "net_prefixed.pt.workbench.ipynb"


@pytest.fixture
def lab(new_lab: LabPage) -> LabPage:
    """Never the JupyterLab of the test before: how it comes up is what these tests are about."""
    return new_lab


def test_lab_opens_on_the_workbench_without_a_key_press_and_without_a_toast(lab: LabPage) -> None:
    lab.open_start()
    expect(lab.workbench()).to_have_count(1)
    expect(lab.workbench()).to_contain_text("net_prefixed.pt")
    setting = "@jupyterlab/apputils-extension:notification"
    assert lab.setting(setting, "fetchNews") == "false"
    assert lab.setting(setting, "checkForUpdates") is False
    expect(lab.toasts()).to_have_text([])
    expect(lab.page.locator(".jp-Dialog")).to_have_count(0)
    assert lab.errors == []


def test_loading_the_page_anew_shows_the_same_workbench_and_runs_nothing_again(lab: LabPage) -> None:
    lab.open_notebook(NOTEBOOK)
    expect(lab.workbench()).to_have_count(1)
    prompt = lab.page.locator(".jp-CodeCell .jp-InputPrompt").first
    expect(prompt).to_have_text("[1]:")
    saved = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"
    lab.page.wait_for_function(saved)
    lab.open_notebook(NOTEBOOK)
    expect(lab.workbench()).to_have_count(1)
    expect(prompt).to_have_text("[1]:")


def test_another_notebook_with_the_very_same_cell_runs_nothing_by_itself(lab: LabPage) -> None:
    (lab.server.root / "received.ipynb").write_text(json.dumps(unrun(lab)), "utf-8")
    lab.open_notebook("received.ipynb")
    assert lab.n_executed() == 0
    expect(lab.workbench()).to_have_count(0)
    lab.run_all()
    expect(lab.workbench()).to_have_count(1)


def test_our_notebook_runs_nothing_by_itself_once_its_cell_says_something_else(lab: LabPage) -> None:
    ours = lab.server.root / NOTEBOOK
    before = ours.read_bytes()
    try:
        notebook = unrun(lab)
        cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        cell["source"] = ["open('ran', 'w')\n", *cell["source"]]
        ours.write_text(json.dumps(notebook), "utf-8")
        lab.open_notebook(NOTEBOOK)
        assert lab.n_executed() == 0
        expect(lab.workbench()).to_have_count(0)
        assert not (lab.server.root / "ran").exists()
    finally:
        ours.write_bytes(before)


def unrun(lab: LabPage) -> Any:
    """The launcher's notebook as it was before it ran."""
    notebook = json.loads((lab.server.root / NOTEBOOK).read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook


def test_the_theme_can_be_changed(lab: LabPage) -> None:
    lab.open_notebook(NOTEBOOK)
    lab.theme("dark")
    lab.theme("light")
