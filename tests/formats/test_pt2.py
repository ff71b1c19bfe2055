"""Exported programs: built record by record, and as torch.export writes them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.formats.suite import FormatSuite, Part
from tests.formats.test_torch_oracle import raw
from tests.make import pickles as p
from tests.make.archives import pt2_records, weight_entry
from tests.make.zips import Record, make_zip, torch_zip
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.checkpoint import open_checkpoint
from workbench.core.source import MemorySource
from workbench.core.tensor import contiguous_strides
from workbench.errors import NotACheckpointError, OpenError
from workbench.finding import Severity

CODES = {
    "uint8": 1,
    "int8": 2,
    "int16": 3,
    "int32": 4,
    "int64": 5,
    "float16": 6,
    "float32": 7,
    "float64": 8,
    "complex64": 10,
    "complex128": 11,
    "bool": 12,
    "bfloat16": 13,
    "uint16": 28,
    "float8_e4m3fn": 29,
    "float8_e5m2": 30,
    "float8_e4m3fnuz": 31,
    "float8_e5m2fnuz": 32,
    "float8_e8m0fnu": 33,
    "uint32": 34,
    "uint64": 35,
}
FLOATS = np.array([1, 2, 3, 4], "<f4").tobytes()


def opened(*arguments: Any, **options: Any) -> formats.Contents:
    return formats.read(MemorySource(make_zip(pt2_records(*arguments, **options)).data, "net.pt2"))


class TestPt2(FormatSuite):
    format_name: ClassVar[str] = "pt2"
    dtypes: ClassVar[Sequence[str]] = tuple(CODES)

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        config, weights = {}, {}
        for i, (key, dtype, shape, data) in enumerate(parts):
            config[key] = weight_entry(f"weight_{i}", CODES[dtype], shape, contiguous_strides(shape))
            weights[f"weight_{i}"] = data
        made = make_zip(pt2_records(config, weights))
        return made.data, made.boundaries


def test_strides_and_offset_are_followed_and_entries_may_be_shared() -> None:
    config = {
        "t": weight_entry("weight_0", 7, (2, 2), (1, 2)),
        "last": weight_entry("weight_0", 7, (2,), (1,), 2),
    }
    t, last = opened(config, {"weight_0": FLOATS}).tensors
    assert (t.read().tolist(), last.read().tolist()) == ([[1, 3], [2, 4]], [3, 4])
    assert t.storage == last.storage


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (weight_entry("weight_0", 7, (5,), (1,)), "element 4"),
        (weight_entry("weight_1", 7, (1,), (1,)), "no entry"),
        (weight_entry("../data/0", 7, (1,), (1,)), "no entry"),
        (weight_entry("weight_0", 7, (1,), (1, 1)), "strides"),
        (weight_entry("weight_0", 9, (1,), (1,)), "complex32"),
        (weight_entry("weight_0", 99, (1,), (1,)), "dtype 99"),
        (weight_entry("weight_0", 7, (-1,), (1,)), "no list of sizes"),
        (weight_entry("weight_0", 7, (1,), (1,), -1), "offset"),
        ({"path_name": "x", "tensor_meta": {"dtype": 7, "sizes": [{"as_name": "s0"}]}}, "no list of sizes"),
        (weight_entry("weight_0", 7, (2**40, 2**40), (2**40, 1)), "more elements"),
        (weight_entry("weight_0", 7, (1,) * 70, (1,) * 70), "70 dimensions"),
        (weight_entry("weight_0", 7, (1,), (1,), use_pickle=True), "object of its own"),
    ],
)
def test_a_weight_that_cannot_be_read_is_listed_beside_those_that_can(entry: dict[str, Any], why: str) -> None:
    contents = opened({"bad": entry, "good": weight_entry("weight_0", 7, (4,), (1,))}, {"weight_0": FLOATS})
    bad, good = contents.tensors
    assert why in bad.unreadable
    assert good.read().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"[]",
        b'{"config": []}',
        b'{"config": {"w": 1}}',
        b'{"config": {"w": {"path_name": 1}}}',
        b'{"config": {"w": {"path_name": "x", "tensor_meta": 1}}}',
        b'{"config": {}, "config": {}}',
        b'{"config": NaN}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_broken_list_of_weights_is_an_error_that_names_it(config: bytes) -> None:
    with pytest.raises(OpenError) as caught:
        opened(config, {})
    assert caught.value.code == "broken-config"
    assert caught.value.place == "entry net/data/weights/model_weights_config.json"
    assert caught.value.cause
    assert caught.value.next_step


def test_constants_are_beside_and_custom_objects_are_named_in_a_finding() -> None:
    constants = {
        "plain": weight_entry("tensor_0", 7, (0,), (1,)),
        "thing": {"path_name": "custom_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None},
    }
    contents = opened({"w": weight_entry("w", 7, (4,), (1,))}, {"w": FLOATS}, constants=constants)
    assert [each.tensor.key for each in contents.beside] == ["plain"]
    assert "program-constants" in {finding.code for finding in contents.findings}
    (said,) = [finding for finding in contents.findings if finding.code == "custom-object"]
    assert "`thing`" in said.text
    plain = opened({"w": weight_entry("w", 7, (4,), (1,))}, {"w": FLOATS})
    assert "custom-object" not in {finding.code for finding in plain.findings}


def test_several_programs_in_one_file_keep_their_names() -> None:
    records = pt2_records({"w": weight_entry("a", 7, (4,), (1,))}, {"a": FLOATS}, model="one")
    records += pt2_records({"w": weight_entry("b", 7, (1,), (1,))}, {"b": FLOATS}, model="two")[:2]
    contents = formats.read(MemorySource(make_zip(records).data, "net.pt2"))
    assert [t.key for t in contents.tensors] == ["one.w", "two.w"]


def test_big_endian_weights_are_turned_round() -> None:
    data = np.array([1, 2], ">f4").tobytes()
    contents = opened({"w": weight_entry("w", 7, (2,), (1,))}, {"w": data}, byteorder="big")
    assert contents.tensors[0].read().tolist() == [1, 2]
    assert [(f.code, f.severity) for f in contents.findings] == [("big-endian", Severity.WARNING)]


def test_a_program_compiled_to_machine_code_says_so() -> None:
    records = [Record("m/data/aotinductor/model/x.so", b"1"), Record("m/archive_format", b"pt2")]
    with pytest.raises(NotACheckpointError, match="AOTInductor"):
        formats.read(MemorySource(make_zip(records).data, "m.pt2"))


def test_the_checkpoint_inside_an_older_program_is_read_and_no_zip_further_in() -> None:
    pickled = p.pickle(p.dict_of((p.text("w"), p.tensor("0", 4, (4,), (1,)))))
    inner = torch_zip(pickled, {"0": FLOATS}, root="archive")

    def older(weights: bytes) -> formats.Contents:
        records = [
            Record("serialized_exported_program.json", b"{}"),
            Record("serialized_state_dict.pt", weights),
            Record("version", b"8"),
        ]
        return formats.read(MemorySource(make_zip(records).data, "net.pt2"))

    contents = older(inner)
    assert contents.format == "pt2"
    assert contents.tensors[0].read().tolist() == [1, 2, 3, 4]
    again = make_zip([Record("serialized_exported_program.json", b"{}"), Record("serialized_state_dict.pt", inner)])
    with pytest.raises(OpenError):
        older(again.data)
    with pytest.raises(NotACheckpointError, match="missing or compressed"):
        formats.read(MemorySource(make_zip([Record("serialized_exported_program.json", b"{}")]).data, "net.pt2"))


# What torch writes.


@pytest.mark.filterwarnings("ignore")
def test_torch_finds_the_same_names_order_and_bytes(tmp_path: Path) -> None:
    torch = load_torch()

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            base = torch.randn(6, 4)
            self.conv = torch.nn.Conv2d(1, 2, 3)
            self.norm = torch.nn.BatchNorm2d(2)
            self.turned = torch.nn.Parameter(base.t())
            self.part = torch.nn.Parameter(base[2:4, 1:3])
            self.narrow = torch.nn.Parameter(torch.randn(3).to(torch.bfloat16))
            self.register_buffer("steps", torch.arange(3))
            self.register_buffer("mask", torch.tensor([True, False]))
            self.register_buffer("empty", torch.zeros(0, 3))
            self.register_buffer("temporary", torch.randn(2), persistent=False)
            self.plain = torch.randn(3)
            self.tied = self.conv.weight

        def forward(self, x: Any) -> Any:
            extra = self.turned.sum() + self.part.sum() + self.narrow.float().sum() + self.steps.sum() + self.mask.sum()
            return self.norm(self.conv(x)) + extra + self.empty.sum() + self.temporary.sum() + self.plain.sum()

    exported = torch.export.export(Net().eval(), (torch.ones(1, 1, 4, 4),))
    torch.export.save(exported, tmp_path / "net.pt2")
    ckpt = open_checkpoint(tmp_path / "net.pt2")
    assert ckpt.format == "pt2"
    # torch writes and finds the names in this order as well.
    expected = torch.export.load(tmp_path / "net.pt2").state_dict
    assert list(ckpt) == list(expected)
    for key, tensor in expected.items():
        assert (ckpt[key].shape, ckpt[key].tobytes()) == (tuple(tensor.shape), raw(torch, tensor)), key
        assert ckpt[key].tobytes() == raw(torch, exported.state_dict[key]), key
    beside = formats.read(MemorySource((tmp_path / "net.pt2").read_bytes(), "net.pt2")).beside
    assert {each.tensor.key for each in beside} == {"plain", "temporary"}


def test_an_older_program_reads_as_torch_reads_its_weights() -> None:
    torch = load_torch()
    state = {"w": torch.randn(3, 4).t(), "n": torch.arange(5)}
    weights = io.BytesIO()
    torch.save(state, weights)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("serialized_exported_program.json", b"{}")
        archive.writestr("serialized_state_dict.json", weights.getvalue())
    contents = formats.read(MemorySource(data.getvalue(), "net.pt2"))
    assert [t.key for t in contents.tensors] == ["w", "n"]
    assert [t.read().tobytes() for t in contents.tensors] == [raw(torch, each) for each in state.values()]
