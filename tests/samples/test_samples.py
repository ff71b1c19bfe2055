"""The committed samples are what their script makes."""

from __future__ import annotations

import hashlib
import os
import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parents[1] / "workbench" / "samples"
FILES = sorted(path.name for path in SAMPLES.iterdir() if path.suffix in {".pt", ".safetensors"})


@pytest.mark.parametrize("name", FILES)
def test_the_list_of_samples_names_the_file_with_its_hash(name: str) -> None:
    digest = hashlib.sha256((SAMPLES / name).read_bytes()).hexdigest()
    lines = (SAMPLES / "README.md").read_text("utf-8").splitlines()
    assert any(f"| `{name}` |" in line and digest in line for line in lines)


def test_the_script_makes_the_very_same_bytes(tmp_path: Path) -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("torch", reason="torch made the samples and is not installed")
    made = runpy.run_path(str(HERE / "make_samples.py"))["make"](tmp_path)
    assert sorted(path.name for path in made) == FILES
    for path in made:
        assert path.read_bytes() == (SAMPLES / path.name).read_bytes()
