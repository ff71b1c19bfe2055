"""What torch.save writes, read bit for bit."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.oracles import torch as load_torch
from workbench.checkpoint import open_checkpoint

FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
DTYPES = ("bool", *INTEGERS, "float16", "float32", "float64", "bfloat16", "complex64", "complex128", *FLOAT8)


@pytest.fixture
def torch() -> Any:
    return load_torch()


def raw(torch: Any, tensor: Any) -> bytes:
    solid = tensor.detach().resolve_conj().resolve_neg().contiguous().clone().flatten()
    return bytes(solid.view(torch.uint8).numpy().tobytes()) if solid.numel() else b""


def check(torch: Any, path: Path, tensors: dict[str, Any]) -> None:
    torch.save(tensors, path)
    ckpt = open_checkpoint(path)
    assert list(ckpt) == list(tensors)
    for key, tensor in tensors.items():
        ref = ckpt.tensor(key)
        assert (ref.dtype.name, ref.shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)), key
        assert ref.read().tobytes() == raw(torch, tensor), key


def test_every_dtype_comes_back_bit_for_bit(torch: Any, tmp_path: Path) -> None:
    tensors = {}
    for name in DTYPES:
        dtype = getattr(torch, name)
        n = dtype.itemsize * 12
        data = torch.randint(0, 2 if name == "bool" else 256, (n,), dtype=torch.uint8)
        tensors[name] = data.view(dtype).reshape(3, 4)
    check(torch, tmp_path / "dtypes.pt", tensors)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int8", "complex64", "float8_e5m2", "uint16"])
def test_every_view_comes_back_bit_for_bit(torch: Any, tmp_path: Path, name: str) -> None:
    dtype = getattr(torch, name)
    base = torch.randint(0, 256, (dtype.itemsize * 120,), dtype=torch.uint8).view(dtype).reshape(2, 3, 4, 5)
    views = {
        "base": base,
        "transposed": base.transpose(0, 3),
        "permuted": base.permute(2, 0, 3, 1),
        "sliced": base[:, 1:, ::2, 1:4],
        "offset": base[1, 2],
        "expanded": base[:, :1].expand(2, 7, 4, 5),
        "scalar": base[1, 1, 1, 1],
        "empty": base[:0],
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "overlapping": torch.as_strided(base, (5, 5), (2, 1), 3),
        "narrow": torch.zeros(1000, dtype=torch.uint8).view(dtype)[7:9],
    }
    check(torch, tmp_path / "views.pt", views)


def test_conjugated_and_negated_bits_are_applied(torch: Any, tmp_path: Path) -> None:
    base = torch.randn(3, 4, dtype=torch.complex64)
    views = {"conj": base.conj(), "both": torch._neg_view(base.conj()), "t": base.mH, "neg": base.clone().conj().imag}
    check(torch, tmp_path / "lazy.pt", views)


def test_shared_storages_stay_shared(torch: Any, tmp_path: Path) -> None:
    base = torch.randn(10)
    check(torch, tmp_path / "shared.pt", {"a": base, "b": base[2:5], "c": base})
    ckpt = open_checkpoint(tmp_path / "shared.pt")
    assert len({t.storage.id for t in ckpt.tensors}) == 1


def test_parameters_buffers_and_subclasses_are_tensors(torch: Any, tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.randn(3))
    tagged = torch.nn.Parameter(torch.randn(3))
    tagged.note = "x"
    check(torch, tmp_path / "p.pt", {"p": parameter, "tagged": tagged, "buffer": torch.nn.Buffer(torch.randn(2))})


def test_a_whole_model_lists_what_its_state_dict_lists(torch: Any, tmp_path: Path) -> None:
    nn = torch.nn
    shared = nn.Linear(4, 4)
    model = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 2, 3),
            norm=nn.BatchNorm2d(2),
            inner=nn.Sequential(shared, nn.ReLU(), shared),
            lstm=nn.LSTM(2, 3, bidirectional=True),
            attention=nn.MultiheadAttention(4, 2),
            extra=nn.ParameterList([torch.ones(2), torch.ones(3)]),
        )
    )
    model.inner.register_buffer("temporary", torch.ones(1), persistent=False)
    model.inner.register_buffer("kept", torch.ones(1))
    model.plain = torch.ones(5)
    expected = model.state_dict()
    for root, prefix in ((model, ""), ({"model": model, "epoch": 3}, "model."), ([model], "0.")):
        torch.save(root, tmp_path / "whole.pt")
        ckpt = open_checkpoint(tmp_path / "whole.pt")
        assert list(ckpt) == [prefix + key for key in expected]
        for key, tensor in expected.items():
            assert ckpt[prefix + key].tobytes() == raw(torch, tensor)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_is_read(torch: Any, tmp_path: Path, protocol: int) -> None:
    torch.save({"w": torch.arange(5)}, tmp_path / "p.pt", pickle_protocol=protocol)
    assert open_checkpoint(tmp_path / "p.pt")["w"].tolist() == [0, 1, 2, 3, 4]


def test_what_has_no_plain_values_is_listed_beside_what_has(torch: Any, tmp_path: Path) -> None:
    tensors = {
        "plain": torch.arange(3),
        "meta": torch.empty(4, 2, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "complex32": torch.zeros(2, dtype=torch.complex32),
        "packed": torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
    }
    torch.save(tensors, tmp_path / "kinds.pt")
    ckpt = open_checkpoint(tmp_path / "kinds.pt")
    assert {t.key: (t.shape, bool(t.unreadable)) for t in ckpt.tensors} == {
        key: (tuple(tensor.shape), key != "plain") for key, tensor in tensors.items()
    }
    assert ckpt["plain"].tolist() == [0, 1, 2]


def test_numpy_agrees_on_values(torch: Any, tmp_path: Path) -> None:
    tensor = torch.linspace(-1, 1, 7)
    torch.save(tensor, tmp_path / "t.pt")
    np.testing.assert_array_equal(open_checkpoint(tmp_path / "t.pt")[""], tensor.numpy())
