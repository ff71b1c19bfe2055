"""Checkpoints of which only the keys matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import workbench as wb


def checkpoint_named(folder: Path, keys: Sequence[str], name: str = "named.safetensors") -> wb.Checkpoint:
    """A safetensors checkpoint with one float32 value under each of `keys`."""
    path = folder / name
    save_file({key: np.array([n], np.float32) for n, key in enumerate(keys)}, path)
    return wb.open(path)
