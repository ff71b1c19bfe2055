"""torch.package: built record by record, and as torch writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.formats.suite import FormatSuite, Part
from tests.formats.test_torch_oracle import raw
from tests.formats.test_torch_zip import CLASSES
from tests.make import pickles as p
from tests.make.archives import package_records, packaged_tensor
from tests.make.zips import make_zip
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.checkpoint import open_checkpoint
from workbench.core.source import MemorySource
from workbench.core.tensor import contiguous_strides, dtype_named
from workbench.errors import NotACheckpointError
from workbench.finding import Severity

WEIGHT = packaged_tensor(0, 2, (2,), (1,), "FloatStorage")
FLOATS = {0: np.array([1, 2], "<f4").tobytes()}


class TestTorchPackage(FormatSuite):
    format_name: ClassVar[str] = "torch-package"
    dtypes: ClassVar[Sequence[str]] = tuple(CLASSES)

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        entries, storages = [], {}
        for i, (key, dtype, shape, data) in enumerate(parts):
            numel = len(data) // dtype_named(dtype).itemsize
            value = packaged_tensor(i, numel, shape, contiguous_strides(shape), CLASSES[dtype])
            entries.append((p.text(key), value))
            storages[i] = data
        made = make_zip(package_records({"model/model.pkl": p.ordered_dict(*entries)}, storages))
        return made.data, made.boundaries


def test_each_pickle_has_its_tensors_under_its_name_and_code_is_only_counted() -> None:
    pickles = {"a/x.pkl": p.dict_of((p.text("w"), WEIGHT)), "a/y": p.dict_of((p.text("v"), WEIGHT))}
    code = {"nets/__init__.py": "raise SystemExit", "nets/net.py": "import os"}
    contents = formats.read(MemorySource(make_zip(package_records(pickles, FLOATS, code=code)).data, "net.pt"))
    assert [t.key for t in contents.tensors] == ["a/x.pkl.w", "a/y.v"]
    (note,) = contents.findings
    assert (note.code, note.severity) == ("packaged-code", Severity.NOTE)
    assert "2 files of Python code" in note.text
    assert contents.metadata["pickles"] == "a/x.pkl, a/y"


def test_a_package_of_code_alone_is_no_checkpoint() -> None:
    data = make_zip(package_records({}, {}, code={"nets/net.py": "", "nets/text.pk": "abc"})).data
    with pytest.raises(NotACheckpointError, match="without a pickle"):
        formats.read(MemorySource(data, "net.pt"))


def test_a_missing_storage_is_listed_as_unreadable() -> None:
    (tensor,) = formats.read(MemorySource(make_zip(package_records({"m/m.pkl": WEIGHT}, {})).data, "net.pt")).tensors
    assert ".data/0.storage" in tensor.unreadable


def test_torch_packages_read_as_what_was_saved(tmp_path: Path) -> None:
    torch = load_torch()
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    base = torch.randn(4, 6)
    extra = {"turned": base.t(), "same": base}
    with torch.package.PackageExporter(str(tmp_path / "net.pt")) as exporter:
        exporter.extern("torch.**")
        exporter.save_pickle("model", "net.pkl", net)
        exporter.save_pickle("model", "extra.pkl", extra)
        exporter.save_text("model", "note.txt", "hello")
    ckpt = open_checkpoint(tmp_path / "net.pt")
    assert ckpt.format == "torch-package"
    expected = {f"model/net.pkl.{key}": tensor for key, tensor in net.state_dict().items()}
    expected |= {f"model/extra.pkl.{key}": tensor for key, tensor in extra.items()}
    assert list(ckpt) == list(expected)
    for key, tensor in expected.items():
        assert ckpt[key].tobytes() == raw(torch, tensor), key
