"""What our answers are compared with, each absent somewhere: PyTorch, and files that do not belong to the project."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skip on an ordinary machine; fail in CI, where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def torch() -> ModuleType:
    """PyTorch; the test is skipped where it is not installed, except in CI, where it must be."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        unavailable("PyTorch is not installed")


def corpus(folder: str) -> Path:
    """A folder of the collection of real checkpoints that the variable WORKBENCH_CORPUS names."""
    root = os.environ.get("WORKBENCH_CORPUS")
    if not root:
        pytest.skip("WORKBENCH_CORPUS names no collection of checkpoints")
    found = Path(root) / folder
    assert found.is_dir(), f"WORKBENCH_CORPUS has no {folder}"
    return found
