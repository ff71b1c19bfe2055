"""TorchScript programs: built record by record, and as torch.jit writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.formats.suite import FormatSuite, Part
from tests.formats.test_torch_oracle import raw
from tests.formats.test_torch_zip import CLASSES
from tests.make import pickles as p
from tests.make.archives import script_class, script_object, script_records
from tests.make.zips import Record, make_zip
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.checkpoint import open_checkpoint
from workbench.core.source import MemorySource
from workbench.core.tensor import contiguous_strides, dtype_named
from workbench.core.tree import Opaque, module_parts
from workbench.errors import OpenError
from workbench.finding import Severity
from workbench.formats.torchscript import plain_class

WEIGHT = p.tensor("0", 2, (2,), (1,))
BIAS = p.tensor("1", 2, (2,), (1,))
STORAGES = {"0": np.array([1, 2], "<f4").tobytes(), "1": np.array([3, 4], "<f4").tobytes()}


def opened(*arguments: Any, **options: Any) -> formats.Contents:
    return formats.read(MemorySource(make_zip(script_records(*arguments, **options)).data, "net.pt"))


def codes(contents: formats.Contents) -> dict[str, Severity]:
    return {finding.code: finding.severity for finding in contents.findings}


class TestTorchScript(FormatSuite):
    format_name: ClassVar[str] = "torchscript"
    dtypes: ClassVar[Sequence[str]] = tuple(CLASSES)

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        attributes, storages = [], {}
        for i, (key, dtype, shape, data) in enumerate(parts):
            numel = len(data) // dtype_named(dtype).itemsize
            value = p.tensor(str(i), numel, shape, contiguous_strides(shape), kind=CLASSES[dtype])
            attributes.append((key, value))
            storages[str(i)] = data
        code = script_class("Net", [part[0] for part in parts])
        made = make_zip(script_records(script_object("__torch__.Net", attributes), {"__torch__.py": code}, storages))
        return made.data, made.boundaries


def test_parameters_come_before_buffers_and_plain_attributes_stay_beside() -> None:
    inner = script_object("__torch__.a.___torch_mangle_2.Inner", [("n", WEIGHT), ("w", BIAS)])
    net = script_object("__torch__.Net", [("child", inner), ("plain", WEIGHT), ("n", WEIGHT), ("w", BIAS)])
    code = {
        "__torch__.py": script_class("Other", ["plain"]) + script_class("Net", ["w"], ["n"]),
        "__torch__/a/___torch_mangle_2.py": script_class("Inner", ["w"], ["n"]),
    }
    contents = opened(net, code, STORAGES)
    assert [t.key for t in contents.tensors] == ["w", "n", "child.w", "child.n"]
    assert [each.tensor.key for each in contents.beside] == ["plain"]
    assert codes(contents) == {"tensors-in-object": Severity.NOTE}


def test_classes_are_shown_as_those_the_program_was_made_from() -> None:
    contents = opened(script_object("__torch__.nets.___torch_mangle_1.Net", [("w", WEIGHT)]), {}, STORAGES)
    assert isinstance(contents.tree, Opaque)
    assert contents.tree.class_path == "nets.Net"
    assert module_parts(contents.tree) is not None
    assert plain_class("__torch__.Net") == "Net"
    assert plain_class("__torch__") == "__torch__"


def test_without_code_all_tensors_are_listed_and_a_finding_says_so() -> None:
    contents = opened(script_object("__torch__.Net", [("b", BIAS), ("w", WEIGHT)]), {}, STORAGES)
    assert [t.key for t in contents.tensors] == ["b", "w"]
    assert codes(contents) == {"no-parameter-lists": Severity.WARNING}


def test_an_object_of_a_class_that_is_no_module_is_not_in_the_table() -> None:
    state = script_object("__torch__.State", [("h", WEIGHT)])
    net = script_object("__torch__.Net", [("state", state), ("w", BIAS)])
    contents = opened(net, {"__torch__.py": script_class("State", base=None) + script_class("Net", ["w"])}, STORAGES)
    assert [t.key for t in contents.tensors] == ["w"]
    assert [each.tensor.key for each in contents.beside] == ["state.h"]


def test_typed_lists_are_lists_and_no_danger() -> None:
    numbers = p.call(p.name("torch.jit._pickle", "build_intlist"), p.list_of(p.number(1), p.number(2)))
    tagged = p.call(p.name("torch.jit._pickle", "restore_type_tag"), p.list_of(WEIGHT), p.text("List[Tensor]"))
    net = script_object("__torch__.Net", [("sizes", numbers), ("many", tagged)])
    contents = opened(net, {"__torch__.py": script_class("Net")}, STORAGES)
    assert isinstance(contents.tree, Opaque)
    assert contents.tree.state["sizes"] == [1, 2]  # type: ignore[index]
    assert [each.tensor.key for each in contents.beside] == ["many.0"]
    assert codes(contents) == {"tensors-in-object": Severity.NOTE}


def test_a_dangerous_name_in_a_program_is_found() -> None:
    call = p.call(p.name("os", "system"), p.text("true"))
    contents = opened(script_object("__torch__.Net", [("w", WEIGHT), ("x", call)]), {}, STORAGES)
    assert codes(contents)["runs-a-program"] is Severity.ERROR
    assert [t.key for t in contents.tensors] == ["w"]


def test_constants_are_listed_beside_and_a_frozen_program_is_named() -> None:
    constant = {"constants": [WEIGHT, p.number(3), BIAS], "constant_storages": STORAGES}
    frozen = opened(script_object("__torch__.Net", []), {"__torch__.py": script_class("Net")}, {}, **constant)
    assert frozen.tensors == ()
    assert [each.tensor.key for each in frozen.beside] == ["CONSTANTS.c0", "CONSTANTS.c2"]
    assert frozen.beside[1].tensor.read().tolist() == [3, 4]
    assert codes(frozen) == {"script-constants": Severity.WARNING}
    assert frozen.metadata["constants"] == "2 tensors, 16 B"
    kept = opened(
        script_object("__torch__.Net", [("w", WEIGHT)]),
        {"__torch__.py": script_class("Net", ["w"])},
        STORAGES,
        **constant,
    )
    assert codes(kept) == {"script-constants": Severity.NOTE}


def test_a_program_deeper_than_any_stack_opens() -> None:
    begin = p.name("__torch__", "Net") + b")\x81}" + p.MARK + p.text("c")
    root = begin * 20_000 + WEIGHT + b"ub" * 20_000
    contents = opened(root, {"__torch__.py": script_class("Net", ["c"])}, STORAGES)
    assert len(contents.tensors) == 1


def test_an_unreadable_line_of_code_is_passed_over() -> None:
    code = 'class \n  __parameters__ = [\nclass Net(Module):\n  __parameters__ = ["w", \n  __buffers__ = ["\\w", ]\n'
    contents = opened(script_object("__torch__.Net", [("w", WEIGHT)]), {"__torch__.py": code}, STORAGES)
    assert [t.key for t in contents.tensors] == ["w"]


def test_a_program_without_data_pkl_is_an_empty_one_with_a_finding() -> None:
    contents = formats.read(MemorySource(make_zip([Record("net/constants.pkl", p.pickle(b")"))]).data, "net.pt"))
    assert contents.tensors == ()
    assert codes(contents) == {"no-data-pkl": Severity.WARNING}


def test_two_records_of_one_name_are_refused() -> None:
    records = script_records(script_object("__torch__.Net", [("w", WEIGHT)]), {}, STORAGES)
    with pytest.raises(OpenError, match="repeated-entry"):
        formats.read(MemorySource(make_zip([*records, records[2]]).data, "net.pt"))


# What torch writes.


def make_net(torch: Any) -> Any:
    class Sub(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.randn(3))
            self.register_buffer("kept", torch.randn(2))
            self.register_buffer("temporary", torch.randn(4), persistent=False)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return x + self.scale.sum() + self.kept.sum() + self.temporary.sum()

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.plain = torch.randn(5)
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.norm = torch.nn.BatchNorm2d(4)
            self.first = Sub()
            self.second = Sub()
            self.lstm = torch.nn.LSTM(4, 3, bidirectional=True)
            self.steps = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2, bias=False))
            self.tied = self.steps[0]

        def forward(self, x):  # type: ignore[no-untyped-def]
            y = self.norm(self.conv(x)) + self.first(x.sum()) + self.second(x.sum()) + self.plain.sum()
            return y + self.lstm(torch.ones(2, 1, 4))[0].sum() + self.tied(self.steps(torch.ones(1, 2))).sum()

    return Net().eval()


@pytest.mark.parametrize("how", ["script", "trace", "optimized"])
@pytest.mark.filterwarnings("ignore")
def test_torch_finds_the_same_names_order_and_bytes(tmp_path: Path, how: str) -> None:
    torch = load_torch()
    net = make_net(torch)
    path = tmp_path / "net.pt"
    program = torch.jit.trace(net, torch.ones(1, 3, 6, 6)) if how == "trace" else torch.jit.script(net)
    if how == "optimized":
        program._save_for_lite_interpreter(str(path))
    else:
        program.save(str(path))
    expected = torch.jit.load(str(path)).state_dict()
    ckpt = open_checkpoint(path)
    assert ckpt.format == "torchscript"
    assert list(ckpt) == list(expected)
    assert len(expected) > 20
    for key, tensor in expected.items():
        assert (ckpt[key].shape, ckpt[key].tobytes()) == (tuple(tensor.shape), raw(torch, tensor)), key
    assert not [finding for finding in ckpt.findings if finding.severity is not Severity.NOTE]


@pytest.mark.filterwarnings("ignore")
def test_the_constants_of_a_frozen_program_are_found(tmp_path: Path) -> None:
    torch = load_torch()
    torch.jit.freeze(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 3)).eval())).save(str(tmp_path / "f.pt"))
    contents = formats.read(MemorySource((tmp_path / "f.pt").read_bytes(), "f.pt"))
    assert contents.tensors == ()
    assert sorted(each.tensor.shape for each in contents.beside) == [(3,), (3, 2)]


def test_code_of_any_kind_is_looked_through_in_time_of_its_size() -> None:
    quotes = '  __parameters__ = ["' + '\\"' * 500_000 + "]\n"
    code = (
        "class Net(Module):\n"
        + quotes
        + "\n" * 1_000_000
        + '  __parameters__ = ["w", ]\nclass (\n  __buffers__ = ["w"]\n'
    )
    contents = opened(script_object("__torch__.Net", [("b", BIAS), ("w", WEIGHT)]), {"__torch__.py": code}, STORAGES)
    assert [t.key for t in contents.tensors] == ["w"]


def test_a_constants_record_in_another_folder_makes_no_program_of_a_checkpoint() -> None:
    pickled = p.pickle(p.dict_of((p.text("w"), WEIGHT)))
    records = [Record("x/constants.pkl", b"N."), Record("net/data.pkl", pickled), Record("net/data/0", STORAGES["0"])]
    contents = formats.read(MemorySource(make_zip(records).data, "net.pt"))
    assert contents.format == "torch-zip"
    assert [t.key for t in contents.tensors] == ["w"]
