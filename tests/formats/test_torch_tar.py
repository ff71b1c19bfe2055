"""Tars of PyTorch 0.1, built member by member; torch still loads them."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.formats.suite import FormatSuite
from tests.formats.test_torch_zip import CLASSES
from tests.make import legacy
from tests.make import pickles as p
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tensor import contiguous_strides, dtype_named
from workbench.errors import OpenError

DATA = np.arange(6, dtype="<f4").tobytes()
STORAGES = legacy.tar_storages([(21, "FloatStorage", 6, DATA)], [(22, 21, 2, 3)])
TENSORS = legacy.tar_tensors([(31, 21, (2, 3), (3, 1), 0), (32, 22, (2,), (1,), 1), (33, 21, (3, 2), (1, 3), 0)])
ROOT = p.dict_of(*((p.text(key), legacy.tensor_id(n)) for key, n in (("w", 31), ("v", 32), ("t", 33))))


def made(root: bytes = ROOT, storages: bytes = STORAGES, tensors: bytes = TENSORS) -> bytes:
    return b"".join(legacy.tar(root, storages, tensors))


def opened(data: bytes) -> formats.Contents:
    return formats.read(MemorySource(data, "net.pt"))


def refused(data: bytes) -> OpenError:
    with pytest.raises(OpenError) as caught:
        opened(data)
    assert caught.value.next_step
    return caught.value


class TestTorchTar(FormatSuite):
    format_name: ClassVar[str] = "torch-tar"
    dtypes: ClassVar[tuple[str, ...]] = tuple(CLASSES)

    def build(self, parts: Any) -> tuple[bytes, list[int]]:
        entries, storages, tensors = [], [], []
        for i, (key, dtype, shape, raw) in enumerate(parts):
            entries.append((p.text(key), legacy.tensor_id(100 + i)))
            storages.append((i, CLASSES[dtype], len(raw) // dtype_named(dtype).itemsize, raw))
            tensors.append((100 + i, i, shape, contiguous_strides(shape), 0))
        members = legacy.tar(p.dict_of(*entries), legacy.tar_storages(storages), legacy.tar_tensors(tensors))
        # The zeros at the end are padding: a tar may stop without them.
        return b"".join(members), [*itertools.accumulate(map(len, members[:3])), 512, 1024]


def test_tensors_views_and_strides_are_read() -> None:
    contents = opened(made())
    assert [t.key for t in contents.tensors] == ["w", "v", "t"]
    assert [t.read().tolist() for t in contents.tensors] == [[[0, 1, 2], [3, 4, 5]], [3, 4], [[0, 3], [1, 4], [2, 5]]]
    assert contents.findings == ()


def test_a_class_behind_its_source_is_that_class() -> None:
    wrapped = p.tuple_of(p.name("torch.nn", "Net"), p.text("net.py"), p.text("class Net: ..")) + b"Q"
    state = p.dict_of(
        (p.text("_parameters"), p.dict_of((p.text("w"), legacy.tensor_id(31)))),
        (p.text("_modules"), p.EMPTY_DICT),
    )
    contents = opened(made(wrapped + p.EMPTY_TUPLE + b"\x81" + state + b"b"))
    assert [t.key for t in contents.tensors] == ["w"]


def test_ids_may_be_text_of_protocol_0() -> None:
    root = b"(dp0\nS'w'\np1\nP31\ns"
    assert opened(made(root)).tensors[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("storages", "tensors", "code"),
    [
        (p.pickle(p.number(10**6)), TENSORS, "broken-tar"),
        (p.pickle(p.number(-1)), TENSORS, "broken-tar"),
        (p.pickle(p.text("x")), TENSORS, "broken-tar"),
        (legacy.tar_storages([(1, "FloatStorage", 2**61, DATA)]), TENSORS, "cut-off"),
        (legacy.tar_storages([(1, "FloatStorage", -1, DATA)]), TENSORS, "cut-off"),
        (legacy.tar_storages([(1, "FloatTensor", 6, DATA)]), TENSORS, "broken-tar"),
        (legacy.tar_storages([(1, "FloatStorage", 6, DATA)] * 2), TENSORS, "broken-tar"),
        (legacy.tar_storages([(1, "FloatStorage", 6, DATA)], [(2, 1, 4, 3)]), TENSORS, "broken-tar"),
        (legacy.tar_storages([(1, "FloatStorage", 6, DATA)], [(2, 9, 0, 3)]), TENSORS, "broken-tar"),
        (STORAGES, p.pickle(p.number(10**6)), "broken-tar"),
        (
            STORAGES,
            p.pickle(p.number(1))
            + p.pickle(p.tuple_of(p.number(1), p.number(21), p.NONE))
            + struct.pack("<ii", 2**30, 0),
            "cut-off",
        ),
        (STORAGES, legacy.tar_tensors([(31, 21, (-1,), (1,), 0)]), "broken-tar"),
    ],
)
def test_counts_that_do_not_fit_are_errors(storages: bytes, tensors: bytes, code: str) -> None:
    assert refused(made(storages=storages, tensors=tensors)).code == code


def test_a_tensor_outside_its_storage_is_unreadable() -> None:
    tensors = legacy.tar_tensors([(31, 21, (7,), (1,), 0), (32, 99, (1,), (1,), 0), (33, 21, (6,), (1,), 0)])
    contents = opened(made(tensors=tensors))
    assert [bool(t.unreadable) for t in contents.tensors] == [True, True, False]


def test_headers_that_lie_are_errors() -> None:
    whole = [legacy.member("sys_info", legacy.SYS_INFO), legacy.member("tensors", TENSORS)]
    pickled = legacy.member("pickle", p.pickle(ROOT))
    for bad in (
        legacy.member("storages", STORAGES, size=b"-0000000001\0"),
        legacy.member("storages", STORAGES, size=b"77777777777\0"),
        legacy.member("storages", STORAGES, kind=b"2"),
        legacy.member("tensors", TENSORS),
    ):
        assert refused(b"".join([*whole, bad, pickled])).code in {"broken-tar", "cut-off"}


def test_other_members_are_named_and_left_alone() -> None:
    extra = legacy.member("../../etc/passwd", b"x")
    contents = opened(b"".join([*legacy.tar(ROOT, STORAGES, TENSORS)[:-1], extra]))
    assert [f.code for f in contents.findings] == ["other-members"]


def test_torch_finds_the_same(tmp_path: Path) -> None:
    torch = load_torch()
    path = tmp_path / "net.pt"
    path.write_bytes(made())
    expected = torch.load(path, weights_only=False)
    contents = opened(made())
    assert [t.key for t in contents.tensors] == list(expected)
    for tensor in contents.tensors:
        assert tensor.read().tolist() == expected[tensor.key].tolist()
