"""Every dtype, in every stride pattern, sharing its storage in every way, in every container: bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.formats.test_torch_oracle import DTYPES, raw
from tests.oracles import torch as load_torch
from workbench.checkpoint import open_checkpoint
from workbench.core.sharing import shared_storages, ties

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (2, 3, 4, 2)
PATTERNS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda t: t,
    "transposed": lambda t: t.transpose(0, 2),
    "permuted": lambda t: t.permute(3, 1, 0, 2),
    "every second": lambda t: t[:, ::2, 1::2],
    "last part": lambda t: t[1, 2:],
    "expanded": lambda t: t[:, :1].expand(2, 5, 4, 2),
    "windows": lambda t: t.as_strided((5, 4), (2, 1), 3),
    "diagonal": lambda t: t.diagonal(0, 1, 2),
    "one element": lambda t: t[1, 1, 1, 1],
    "nothing": lambda t: t[:, :0],
    "size-one strides": lambda t: t.as_strided((1, 3, 1), (77, 2, 55), 1),
}
SHARINGS = ("apart", "shared", "shared, not from the beginning")


def made(torch: Any, dtype: str, sharing: str) -> dict[str, Any]:
    """A tensor for each pattern: of storages of their own, of one, or of one that goes on before and behind."""
    kind = getattr(torch, dtype)
    n = 48 * kind.itemsize

    def base() -> Any:
        extra = 0 if sharing != SHARINGS[2] else 5 * kind.itemsize
        data = torch.randint(0, 2 if dtype == "bool" else 256, (n + 2 * extra,), dtype=torch.uint8).view(kind)
        return data[extra // kind.itemsize :][:48].reshape(SHAPE)

    torch.manual_seed(1)
    one = base()
    found = {name: pattern(one if sharing != "apart" else base()) for name, pattern in PATTERNS.items()}
    return found | {"again": found["permuted"]}


def in_zip(torch: Any, tensors: dict[str, Any], path: Path) -> dict[str, str]:
    torch.save(tensors, path)
    return {key: key for key in tensors}


def in_protocol_4(torch: Any, tensors: dict[str, Any], path: Path) -> dict[str, str]:
    torch.save(list(tensors.values()), path, pickle_protocol=4)
    return {key: str(i) for i, key in enumerate(tensors)}


def holder(torch: Any, tensors: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    class Holder(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x):  # type: ignore[no-untyped-def]
            return x

    net = Holder()
    names = {key: f"t{i}" for i, key in enumerate(tensors)}
    for key, tensor in tensors.items():
        net.register_buffer(names[key], tensor)
    return net, names


def in_module(torch: Any, tensors: dict[str, Any], path: Path) -> dict[str, str]:
    net = torch.nn.Module()
    names = {key: f"t{i}" for i, key in enumerate(tensors)}
    for key, tensor in tensors.items():
        net.register_buffer(names[key], tensor)
    torch.save(net, path)
    return names


def in_script(torch: Any, tensors: dict[str, Any], path: Path) -> dict[str, str]:
    net, names = holder(torch, tensors)
    torch.jit.script(net).save(str(path))
    return names


def in_package(torch: Any, tensors: dict[str, Any], path: Path) -> dict[str, str]:
    with torch.package.PackageExporter(str(path)) as exporter:
        exporter.extern("**")
        exporter.save_pickle("m", "m.pkl", tensors)
    return {key: key for key in tensors}


def in_export(torch: Any, tensors: dict[str, Any], path: Path) -> dict[str, str]:
    # torch.export.save fails on a tensor without elements.
    net, names = holder(torch, {key: tensor for key, tensor in tensors.items() if tensor.numel()})
    torch.export.save(torch.export.export(net, (torch.ones(1),)), path)
    return names


CONTAINERS = {
    "torch-zip": in_zip,
    "protocol 4": in_protocol_4,
    "whole module": in_module,
    "torchscript": in_script,
    "torch-package": in_package,
    "pt2": in_export,
}


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_each_tensor_comes_back_bit_for_bit(tmp_path: Path, container: str, sharing: str) -> None:
    torch = load_torch()
    n = 0
    for dtype in DTYPES:
        tensors = made(torch, dtype, sharing)
        path = tmp_path / f"{dtype}.pt2"
        names = CONTAINERS[container](torch, tensors, path)
        ckpt = open_checkpoint(path)
        for key in names:
            ref, tensor = ckpt.tensor(names[key]), tensors[key]
            assert (ref.dtype.name, ref.shape) == (dtype, tuple(tensor.shape)), (dtype, key)
            assert ref.read().tobytes() == raw(torch, tensor), (dtype, key)
            n += 1
    assert n >= len(DTYPES) * len(PATTERNS)


@pytest.mark.parametrize("container", ["torch-zip", "protocol 4", "whole module", "torch-package"])
def test_ties_and_shared_storages_are_those_that_were_saved(tmp_path: Path, container: str) -> None:
    torch = load_torch()
    for sharing in SHARINGS:
        tensors = made(torch, "float32", sharing)
        names = CONTAINERS[container](torch, tensors, tmp_path / "net.pt")
        found = open_checkpoint(tmp_path / "net.pt").tensors
        assert [{tensor.key for tensor in group} for group in ties(found)] == [{names["permuted"], names["again"]}]
        shared = shared_storages(found)
        if sharing == "apart":
            assert shared == ()
        else:
            assert [len(group.tensors) for group in shared] == [len(PATTERNS) - 1]
            assert shared[0].overlapping
