"""Files that other programs wrote, against what PyTorch finds in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.oracles import corpus
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.core.tensor import TensorRef
from workbench.errors import WorkbenchError

# Objects that look like modules, of a class that is none; a tensor that has no shape; an array, which
# is no tensor to torch.
OTHERWISE = {"old_style_object.pt", "old_style_object_key.pt", "nested_tensor.pt", "npz.pt", "numpy_pickle.pt"}


def compare(path: Path, expected: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    try:
        ckpt = open_checkpoint(path)
    except WorkbenchError as error:
        if "error" in expected:
            return []
        return [f"{path.name}: {error}"]
    if "error" in expected:
        return (
            [] if any(t.unreadable for t in ckpt.tensors) else [f"{path.name}: opens, torch says {expected['error']}"]
        )
    return [f"{path.name}: {what}" for what in compare_tensors(ckpt, expected["tensors"])]


def compare_tensors(ckpt: Checkpoint, wanted: dict[str, Any]) -> list[str]:
    keys = {tensor.key for tensor in ckpt.tensors}
    if keys != set(wanted):
        return [f"keys differ: {sorted(keys ^ set(wanted))}"]
    different = []
    for key, want in wanted.items():
        tensors = [tensor for tensor in ckpt.tensors if tensor.key == key]
        if not any(matches(tensor, want) for tensor in tensors):
            different.append(f"{key}: {tensors} instead of {want}")
    return different


def matches(tensor: TensorRef, want: dict[str, Any]) -> bool:
    if tensor.dtype.name != want["dtype"] or (want["shape"] is not None and list(tensor.shape) != want["shape"]):
        return False
    if tensor.unreadable or "sha256" not in want:
        return True
    return hashlib.sha256(tensor.read().tobytes()).hexdigest() == str(want["sha256"])


@pytest.mark.parametrize("folder", ["burn", "real"])
def test_checkpoints_of_other_projects_read_as_torch_reads_them(folder: str) -> None:
    place = corpus(f"peer/{folder}")
    expectations = json.loads((place / "expectations.json").read_text())
    assert expectations
    assert [what for name, want in expectations.items() for what in compare(place / name, want)] == []


def test_a_collection_of_odd_files_reads_as_torch_reads_it() -> None:
    place = corpus("golden/read")
    expectations = json.loads((place / "torch.json").read_text())
    assert len(expectations) > 150
    different = []
    for name, want in expectations.items():
        if name not in OTHERWISE:
            different += compare(place / "files" / name, want)
    assert different == []


def test_no_file_of_the_collection_makes_anything_but_our_errors() -> None:
    refused = {}
    for path in sorted(corpus("golden/read").joinpath("files").iterdir()):
        try:
            ckpt = open_checkpoint(path)
        except WorkbenchError as error:
            refused[path.name] = error.next_step
            continue
        assert repr(ckpt)
        assert ckpt._repr_html_()
        for tensor in ckpt.tensors:
            if not tensor.unreadable:
                tensor.read()
    assert len(refused) > 20
    assert all(refused.values())
