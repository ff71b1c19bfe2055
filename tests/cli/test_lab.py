"""`workbench lab`, up to the moment when JupyterLab takes over; tests/browser looks at the rest."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli import lab
from workbench.errors import WorkbenchError

HOSTILE = [
    'net"); import os; os.abort() #.pt',
    "net'\"\\.pt",
    "net\n.pt",
    "net\u202egnp.pt",
    "net\udcff.pt",
    "{net}%2e%2e$HOME.pt",
    "<img src=x onerror=alert(1)>.pt",
]


def first_source(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return next(cell.source for cell in cells if cell.cell_type == "code")


def checkpoint(folder: Path, name: str = "net.pt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"")
    return path


def test_lab_makes_a_notebook_beside_the_file_that_opens_it(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    start = lab.prepare(Path("net.pt"), tmp_path)
    assert start == lab.Start(tmp_path, tmp_path / "net.pt.workbench.ipynb", lab.opening_source("net.pt"))
    nbformat.validate(nbformat.read(start.notebook, as_version=4))
    assert first_source(start.notebook) == 'import workbench as wb\n\nview = wb.Workbench("net.pt")\nview'


def test_lab_without_a_file_opens_the_empty_workbench_in_the_current_folder(tmp_path: Path) -> None:
    start = lab.prepare(None, tmp_path)
    assert start.notebook == tmp_path / "workbench.ipynb"
    assert first_source(start.notebook) == start.run == "import workbench as wb\n\nview = wb.Workbench()\nview"


def test_lab_never_changes_a_notebook_that_is_there(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    notebook = tmp_path / "net.pt.workbench.ipynb"
    notebook.write_text("mine", "utf-8")
    start = lab.prepare(Path("net.pt"), tmp_path)
    assert notebook.read_text("utf-8") == "mine"
    assert start.run == ""


def test_lab_keeps_the_current_folder_as_root_for_a_file_below_it(tmp_path: Path) -> None:
    checkpoint(tmp_path / "models")
    start = lab.prepare(Path("models/net.pt"), tmp_path)
    assert start.root == tmp_path
    assert start.url_path == "models/net.pt.workbench.ipynb"
    assert "--LabApp.default_url=/lab/tree/models/net.pt.workbench.ipynb" in lab.arguments(start, [])


@pytest.mark.parametrize("where", ["elsewhere", "here/.hidden"])
def test_lab_roots_in_the_files_folder_where_the_current_one_does_not_show_it(tmp_path: Path, where: str) -> None:
    (tmp_path / "here").mkdir()
    path = checkpoint(tmp_path / where)
    assert lab.prepare(path, tmp_path / "here").root == tmp_path / where


@pytest.mark.parametrize("name", HOSTILE)
def test_lab_writes_a_hostile_file_name_as_text_only(tmp_path: Path, name: str) -> None:
    checkpoint(tmp_path, name)
    start = lab.prepare(Path(name), tmp_path)
    tree = ast.parse(first_source(start.notebook))
    [text] = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert text == name
    assert start.run == first_source(start.notebook)
    assert start.notebook.name.isprintable()
    assert all(argument.isprintable() for argument in lab.arguments(start, []))


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=300))
def test_every_name_comes_back_from_its_literal_and_has_a_plain_notebook_name(name: str) -> None:
    literal = lab.python_string(name)
    assert ast.literal_eval(literal) == name
    assert literal.isprintable()
    notebook = lab.notebook_name(name)
    assert not notebook.startswith(".")
    assert len(os.fsencode(notebook)) <= 255


def test_two_files_that_differ_in_their_suffix_only_have_two_notebooks() -> None:
    assert lab.notebook_name("net.pt") != lab.notebook_name("net.safetensors")
    assert lab.notebook_name("a?.pt") != lab.notebook_name("a*.pt")


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ('import workbench as wb\nview = wb.Workbench("net.pt")\nview', True),
        ("import workbench as wb\nview = wb.Workbench()\nview", True),
        ('import workbench as wb\nview = wb.Workbench(open("net.pt"))\nview', False),
        ('import workbench as wb\nview = wb.Workbench(f"{1}")\nview', False),
        ('import workbench as wb\nview = wb.Workbench(*"ab")\nview', False),
        ('import workbench as wb\nview = wb.Workbench("net.pt")\nview\nprint(1)', False),
        ('import workbench as wb, evil\nview = wb.Workbench("net.pt")\nview', False),
        ('import workbench as wb\nview = wb.export("net.pt")\nview', False),
        ('import workbench as wb\nview = other = wb.Workbench("net.pt")\nview', False),
        ('%run evil.py\nimport workbench as wb\nview = wb.Workbench("net.pt")\nview', False),
        ("", False),
        ("(" * 100_000, False),
    ],
)
def test_only_a_cell_that_opens_a_file_and_does_nothing_else_runs_by_itself(source: str, runs: bool) -> None:
    assert lab.is_opening_source(source) is runs


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": [{"cell_type": "code"}]}', "\ud800", "[" * 100_000])
def test_a_notebook_that_cannot_be_read_runs_nothing_by_itself(tmp_path: Path, text: str) -> None:
    notebook = tmp_path / "odd.ipynb"
    notebook.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert lab.source_to_run(notebook) == ""


def test_lab_says_that_a_file_is_missing_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError) as caught:
        lab.prepare(Path("net.pt"), tmp_path)
    assert caught.value.code == "file-not-found"
    assert list(tmp_path.iterdir()) == []


def test_lab_says_that_it_was_given_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError) as caught:
        lab.prepare(tmp_path, tmp_path)
    assert caught.value.code == "is-a-folder"


def test_lab_says_that_the_folder_takes_no_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(WorkbenchError) as caught:
        lab.prepare(Path("net.pt"), tmp_path)
    assert caught.value.code == "folder-not-writable"
    assert "Permission denied" in str(caught.value)


def test_jupyters_own_options_pass_through_and_replace_ours(tmp_path: Path) -> None:
    start = lab.prepare(None, tmp_path)
    given_ = ["--no-browser", "--LabApp.default_url=/lab"]
    argv = lab.arguments(start, given_)
    assert argv[-2:] == given_
    assert [arg for arg in argv if "default_url" in arg] == ["--LabApp.default_url=/lab"]


def test_the_script_of_the_page_carries_its_own_hash_in_its_name() -> None:
    [package] = (lab.JUPYTER_FILES / "labextensions").glob("*/package.json")
    load = json.loads(package.read_text("utf-8"))["jupyterlab"]["_build"]["load"]
    digest = hashlib.sha256((package.parent / load).read_bytes()).hexdigest()
    assert load == f"static/run.{digest[:12]}.js"
