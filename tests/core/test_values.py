"""Values that are no tensors, as text."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles import torch as load_torch
from workbench.checkpoint import open_checkpoint
from workbench.core.tree import Dict, Name, Opaque, Set
from workbench.core.values import numpy_scalar, shown


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    layers: tuple[int, ...] = (2, 3)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a = 1
        self.b = "x"


def saved(tmp_path: Path, value: Any) -> str:
    load_torch().save({"value": value}, tmp_path / "v.pt")
    tree = open_checkpoint(tmp_path / "v.pt").tree
    assert isinstance(tree, Dict)
    return shown(tree["value"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (argparse.Namespace(lr=0.1, name="a\x1b[0m", inner=argparse.Namespace(n=None)),
         "Namespace(lr=0.1, name='a\\x1b[0m', inner=Namespace(n=None))"),
        (Settings(), "Settings(lr=0.1, layers=(2, 3))"),
        (Slotted(), "Slotted(a=1, b='x')"),
        (OrderedDict(a=1, b=[True, None]), "{'a': 1, 'b': [True, None]}"),
        ({None: 1, (1, 2): 2}, "{None: 1, (1, 2): 2}"),
        ((1,), "(1,)"),
        ([], "[]"),
        ({3}, "{3}"),
        (set(), "set()"),
        (b"ab", "b'ab'"),
        (1 + 2j, "(1+2j)"),
        (pathlib.PurePosixPath("a/b"), "PurePosixPath('a', 'b')"),
        (argparse.Namespace, "argparse.Namespace"),
    ],
)  # fmt: skip
def test_values_read_as_they_would_be_written(tmp_path: Path, value: Any, expected: str) -> None:
    assert saved(tmp_path, value) == expected


@pytest.mark.parametrize(
    "number",
    [np.float32(0.1), np.float64(-2.5), np.float16(1.5), np.int64(-7), np.uint8(200), np.int32(5), np.bool_(True)],
)
def test_numpy_numbers_are_numbers(tmp_path: Path, number: Any) -> None:
    assert saved(tmp_path, number) == repr(number.item())


def test_torch_values_are_named(tmp_path: Path) -> None:
    torch = load_torch()
    assert (
        saved(tmp_path, [torch.float16, torch.device("cuda:1"), torch.Size([2, 3])])
        == "[torch.float16, cuda:1, (2, 3)]"
    )
    assert saved(tmp_path, {"w": torch.zeros(2, 3)}) == "{'w': tensor float32 2×3}"
    assert saved(tmp_path, [torch.nn.Linear(1, 1)]) == "[Linear (a module)]"


def test_text_is_bounded_whatever_is_in_it() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    cycle: list[object] = []
    cycle.append(cycle)
    wide = Dict((str(i), i) for i in range(100_000))
    for node in (deep, cycle, wide, "x" * 10**6, ["y" * 300] * 1000, Opaque("a" * 10_000, (), wide), Set([wide] * 999)):
        text = shown(node)
        assert len(text) <= 400
    assert shown(cycle).endswith("…")
    assert shown([0] * 60, 1000).endswith(", … 10 more]")


def test_a_scalar_that_is_none_stays_a_call() -> None:
    dtype = Opaque("numpy.dtype", ("f4", False, True), (3, "<", None))
    scalar = "numpy._core.multiarray.scalar"
    assert numpy_scalar(Opaque(scalar, (dtype, b"\0\0\x80?"))) == 1.0
    big = Opaque("numpy.dtype", ("f4",), (3, ">", None))
    assert numpy_scalar(Opaque(scalar, (big, b"?\x80\0\0"))) == 1.0
    for args in ((dtype, b"1"), (dtype,), None, (dtype, "abcd"), (Opaque("x", ("f4",)), b"1234"), (5, b"1234")):
        assert numpy_scalar(Opaque(scalar, args)) is None
    assert numpy_scalar(Name("x")) is None
