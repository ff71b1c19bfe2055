"""torch.save files, built record by record."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.formats.suite import FormatSuite, Part, some_bytes
from tests.make import pickles as p
from tests.make.zips import Record, make_zip, torch_records, torch_zip
from tests.oracles import torch as load_torch
from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tensor import TensorRef, contiguous_strides, dtype_named
from workbench.core.tree import Dict, brief
from workbench.errors import NotACheckpointError, OpenError, TensorError, WorkbenchError
from workbench.finding import Severity

CLASSES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "bfloat16": "BFloat16Storage",
    "complex128": "ComplexDoubleStorage",
    "complex64": "ComplexFloatStorage",
}
BY_V3 = (
    "uint16 uint32 uint64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu".split()  # noqa: SIM905
)


def opened(data: bytes) -> formats.Contents:
    return formats.read(MemorySource(data, "net.pt"))


def state_dict(**tensors: bytes) -> bytes:
    return p.pickle(p.ordered_dict(*((p.text(key), value) for key, value in tensors.items())))


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


WEIGHT = p.tensor("0", 4, (2, 2), (2, 1))
BIAS = p.tensor("1", 2, (2,), (1,))
STORAGES = {"0": floats(1, 2, 3, 4), "1": floats(5, 6)}


def one(tensor: bytes, **storages: bytes) -> TensorRef:
    (found,) = opened(torch_zip(state_dict(w=tensor), {k.removeprefix("_"): v for k, v in storages.items()})).tensors
    return found


class TestTorchZip(FormatSuite):
    format_name: ClassVar[str] = "torch-zip"
    dtypes: ClassVar[Sequence[str]] = (*CLASSES, *BY_V3)
    deflate = False
    zip64 = False

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        entries, storages = [], {}
        for i, (key, dtype, shape, raw) in enumerate(parts):
            strides = contiguous_strides(shape)
            if dtype in CLASSES:
                numel = len(raw) // dtype_named(dtype).itemsize
                value = p.tensor(str(i), numel, shape, strides, kind=CLASSES[dtype])
            else:
                value = p.tensor_v3(str(i), len(raw), dtype, shape, strides)
            entries.append((p.text(key), value))
            storages[str(i)] = raw
        records = torch_records(p.pickle(p.ordered_dict(*entries)), storages, deflate=self.deflate)
        made = make_zip(records, zip64=self.zip64)
        return made.data, made.boundaries


class TestDeflatedZip(TestTorchZip):
    deflate = True

    def test_reading_touches_only_the_bytes_of_that_tensor(self) -> None:
        contents, source = self.opened([("a", "float32", (1000,), some_bytes(4000)), ("b", "int8", (1,), b"1")])
        before = source.bytes_read
        contents.tensors[0].read()
        assert source.bytes_read - before < 4100


class TestZip64(TestTorchZip):
    zip64 = True


# Views.


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "expected"),
    [
        ((2, 2), (1, 2), 0, [[1, 3], [2, 4]]),
        ((2,), (2,), 1, [2, 4]),
        ((3, 2), (0, 1), 1, [[2, 3]] * 3),
        ((1, 4), (77, 1), 0, [[1, 2, 3, 4]]),
        ((), (), 3, 4),
        ((2, 2), (1, 1), 0, [[1, 2], [2, 3]]),
        ((0, 5), (1, 1), 0, []),
    ],
)
def test_strides_and_offset_are_followed(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int, expected: Any
) -> None:
    tensor = one(p.tensor("0", 4, shape, strides, offset=offset), _0=floats(1, 2, 3, 4))
    assert tensor.read().tolist() == expected
    assert tensor.read().flags.c_contiguous


def test_two_tensors_may_share_a_storage() -> None:
    contents = opened(
        torch_zip(state_dict(a=p.tensor("0", 4, (2,), (1,)), b=p.tensor("0", 4, (2,), (1,), offset=2)), STORAGES)
    )
    a, b = contents.tensors
    assert a.storage == b.storage
    assert a.storage.id == "data/0"
    assert (a.read().tolist(), b.read().tolist()) == ([1, 2], [3, 4])


def test_conjugated_and_negated_views_give_their_values() -> None:
    raw = np.array([1 + 2j, -3j], "<c8").tobytes()
    flags = p.dict_of((p.text("conj"), p.boolean(True)), (p.text("neg"), p.boolean(True)))
    tensor = one(p.tensor("0", 2, (2,), (1,), kind="ComplexFloatStorage", metadata=flags), _0=raw)
    assert tensor.conj
    assert tensor.neg
    assert tensor.read().tolist() == [-1 + 2j, -3j]


def test_big_endian_storages_are_swapped_by_the_size_of_a_number() -> None:
    pickle = state_dict(
        f=p.tensor("0", 2, (2,), (1,)),
        c=p.tensor("1", 1, (1,), (1,), kind="ComplexFloatStorage"),
        b=p.tensor("2", 2, (2,), (1,), kind="BFloat16Storage"),
        u=p.tensor("3", 2, (2,), (1,), kind="ByteStorage"),
    )
    bf16 = (np.array([1.5, -2], "<f4").view("<u4") >> 16).astype(">u2").tobytes()
    storages = {
        "0": np.array([1, 2], ">f4").tobytes(),
        "1": np.array([1, -2], ">f4").tobytes(),
        "2": bf16,
        "3": b"\1\2",
    }
    contents = opened(torch_zip(pickle, storages, byteorder="big"))
    assert [t.read().tolist() for t in contents.tensors] == [[1, 2], [1 - 2j], [1.5, -2], [1, 2]]
    assert [t.byteswap for t in contents.tensors] == [True, True, True, False]


BAD_VIEWS = {
    "offset beyond the storage": p.tensor("0", 4, (2,), (1,), offset=3),
    "stride beyond the storage": p.tensor("0", 4, (2,), (4,)),
    "shape beyond the storage": p.tensor("0", 4, (5,), (1,)),
    "negative offset": p.tensor("0", 4, (2,), (1,), offset=-1),
    "negative stride": p.tensor("0", 4, (2,), (-1,)),
    "fewer strides than sizes": p.tensor("0", 4, (2, 2), (1,)),
    "offset that overflows": p.tensor("0", 4, (2,), (1,), offset=2**64),
    "stride that overflows": p.tensor("0", 4, (2,), (2**63,)),
    "65 dimensions": p.tensor("0", 4, (1,) * 65, (1,) * 65),
    "storage claims more than its record": p.tensor("0", 4000, (4000,), (1,)),
    "storage of another key": p.tensor("9", 4, (4,), (1,)),
    "conjugate of a float": p.tensor("0", 4, (4,), (1,), metadata=p.dict_of((p.text("conj"), p.boolean(True)))),
}


@pytest.mark.parametrize("why", BAD_VIEWS)
def test_a_view_out_of_bounds_is_unreadable_and_its_neighbour_fine(why: str) -> None:
    contents = opened(torch_zip(state_dict(w=BAD_VIEWS[why], b=BIAS), STORAGES))
    bad, good = contents.tensors
    assert bad.unreadable
    with pytest.raises(TensorError, match="'w' cannot be read"):
        bad.read()
    assert good.read().tolist() == [5, 6]


NO_SHAPE = {
    "negative size": p.tensor("0", 4, (-1,), (1,)),
    "size that overflows": p.tensor("0", 4, (2**64,), (0,)),
    "product that overflows": p.tensor("0", 4, (2**40, 2**40), (0, 0)),
    "enormous number": p.tensor("0", 4, (2**20000,), (2**20000,), offset=2**20000),
    "no storage": p.call(p.name("torch._utils", "_rebuild_tensor_v2"), *[p.number(1)] * 6),
    "too few arguments": p.call(p.name("torch._utils", "_rebuild_tensor_v2"), p.number(1)),
    "boolean as size": p.call(
        p.name("torch._utils", "_rebuild_tensor"),
        p.storage("0", 4),
        p.number(0),
        p.tuple_of(p.boolean(True)),
        p.tuple_of(p.number(1)),
    ),
}


@pytest.mark.parametrize("why", NO_SHAPE)
def test_a_call_without_a_possible_shape_is_listed_as_unreadable_and_its_neighbour_fine(why: str) -> None:
    contents = opened(torch_zip(state_dict(w=NO_SHAPE[why], b=BIAS), STORAGES))
    bad, good = contents.tensors
    assert (bad.key, good.key) == ("w", "b")
    with pytest.raises(TensorError, match="'w' cannot be read: it"):
        bad.read()
    assert good.read().tolist() == [5, 6]
    assert "odd-pickle" in [finding.code for finding in contents.findings]


def test_a_huge_expanded_tensor_is_listed_and_refused_by_size() -> None:
    tensor = one(p.tensor("0", 1, (2**40,), (0,)), _0=floats(1))
    assert not tensor.unreadable
    with pytest.raises(TensorError, match=r"4\.40 TB.*too-big"):
        tensor.read()


def test_parameters_and_typed_tensors_are_tensors() -> None:
    wrapped = {
        "parameter": p.call(p.name("torch._utils", "_rebuild_parameter"), WEIGHT, p.boolean(True), p.ordered_dict()),
        "with_state": p.call(
            p.name("torch._utils", "_rebuild_parameter_with_state"), WEIGHT, p.boolean(True), p.ordered_dict(), p.NONE
        ),
        "typed": p.call(
            p.name("torch._tensor", "_rebuild_from_type_v2"),
            p.name("torch._utils", "_rebuild_tensor"),
            p.name("torch", "Tensor"),
            p.tuple_of(p.storage("0", 4), p.number(0), p.numbers((4,)), p.numbers((1,))),
            p.dict_of((p.text("note"), p.text("x"))),
        ),
    }
    contents = opened(torch_zip(state_dict(**wrapped), STORAGES))
    assert {t.key: t.read().ravel().tolist() for t in contents.tensors} == {key: [1, 2, 3, 4] for key in wrapped}


def test_tensors_without_plain_values_are_listed_with_the_reason() -> None:
    dense = p.tensor("0", 4, (4,), (1,))
    kinds = {
        "meta": p.call(
            p.name("torch._utils", "_rebuild_meta_tensor_no_storage"),
            p.name("torch", "bfloat16"),
            p.numbers((7, 2)),
            p.numbers((2, 1)),
            p.boolean(False),
        ),
        "quantised": p.call(
            p.name("torch._utils", "_rebuild_qtensor"),
            p.storage("q", 4, "QInt8Storage"),
            p.number(0),
            p.numbers((4,)),
            p.numbers((1,)),
            p.tuple_of(p.name("torch", "per_tensor_affine"), p.number(1), p.number(0)),
            p.boolean(False),
            p.ordered_dict(),
        ),
        "sparse": p.call(
            p.name("torch._utils", "_rebuild_sparse_tensor"),
            p.call(p.name("torch.serialization", "_get_layout"), p.text("torch.sparse_coo")),
            p.tuple_of(dense, dense, p.numbers((9, 9)), p.boolean(True)),
        ),
    }
    contents = opened(torch_zip(state_dict(**kinds, b=BIAS), STORAGES | {"q": b"1234"}))
    listed = {t.key: (t.dtype.name, t.shape, t.unreadable) for t in contents.tensors}
    assert list(listed) == ["meta", "quantised", "sparse", "b"]
    assert listed["meta"][:2] == ("bfloat16", (7, 2))
    assert listed["quantised"][:2] == ("qint8", (4,))
    assert listed["sparse"][:2] == ("float32", (9, 9))
    assert "sparse_coo" in listed["sparse"][2]
    assert contents.tensors[3].read().tolist() == [5, 6]


# Trees.


def test_nested_containers_join_their_keys_with_dots_and_lists_count() -> None:
    root = p.dict_of(
        (p.text("model"), p.dict_of((p.text("conv.w"), WEIGHT), (p.number(3), BIAS))),
        (p.text("ema"), p.list_of(BIAS, p.tuple_of(p.NONE, WEIGHT))),
        (p.NONE, BIAS),
        (p.numbers((1, 2)), BIAS),
        (p.text("epoch"), p.number(7)),
    )
    contents = opened(torch_zip(p.pickle(root), STORAGES))
    assert [(t.key, t.path) for t in contents.tensors] == [
        ("model.conv.w", ("model", "conv.w")),
        ("model.3", ("model", 3)),
        ("ema.0", ("ema", 0)),
        ("ema.1.1", ("ema", 1, 1)),
        ("None", ("None",)),
        ("(1, 2)", ("(1, 2)",)),
    ]
    assert isinstance(contents.tree, Dict)
    assert contents.tree["epoch"] == 7


def test_a_whole_module_lists_the_names_of_its_state_dict() -> None:
    inner = p.module("Inner", parameters=[("weight", WEIGHT), ("bias", p.NONE)], buffers=[("mean", BIAS)])
    net = p.module(
        parameters=[("scale", BIAS)],
        buffers=[("kept", BIAS), ("dropped", BIAS), ("none", p.NONE)],
        temporary=["dropped"],
        children=[("conv", inner), ("nothing", p.NONE), ("again", inner)],
        attributes=[("note", p.text("x")), ("plain", WEIGHT)],
    )
    contents = opened(torch_zip(p.pickle(p.dict_of((p.text("model"), net))), STORAGES))
    names = ["scale", "kept", "conv.weight", "conv.mean", "again.weight", "again.mean"]
    assert [t.key for t in contents.tensors] == [f"model.{name}" for name in names]
    assert "tensors-in-object" in [finding.code for finding in contents.findings]


def test_a_dict_subclass_is_walked_and_another_object_is_not() -> None:
    subclass = p.name("nets", "StateDict") + b")\x81" + p.MARK + p.text("w") + WEIGHT + b"u"
    stranger = p.instance("nets", "Holder", p.dict_of((p.text("hidden"), BIAS)))
    contents = opened(torch_zip(p.pickle(p.dict_of((p.text("a"), subclass), (p.text("b"), stranger))), STORAGES))
    assert [t.key for t in contents.tensors] == ["a.w"]
    (note,) = [finding for finding in contents.findings if finding.code == "tensors-in-object"]
    assert "`b.hidden`" in note.text
    assert "`nets.Holder`, which is no module" in note.text


def test_a_cycle_ends_and_its_tensors_are_listed_once() -> None:
    root = p.EMPTY_DICT + b"q\0" + p.MARK + p.text("w") + WEIGHT + p.text("self") + b"h\0" + b"u"
    assert [t.key for t in opened(torch_zip(p.pickle(root), STORAGES)).tensors] == ["w"]


def test_sharing_that_would_list_tensors_without_end_is_an_error() -> None:
    doubled = p.list_of(WEIGHT) + b"q\0"
    for level in range(40):
        doubled += b"0]q" + bytes([level + 1]) + p.MARK + (b"h" + bytes([level])) * 2 + b"e"
    with pytest.raises(OpenError, match="too-many-tensors"):
        opened(torch_zip(p.pickle(doubled), STORAGES))


def test_sharing_without_tensors_costs_what_the_file_costs() -> None:
    doubled = p.list_of(p.number(1)) + b"q\0"
    for level in range(200):
        doubled += b"0]q" + bytes([level + 1]) + p.MARK + (b"h" + bytes([level])) * 2 + b"e"
    assert opened(torch_zip(p.pickle(p.dict_of((p.text("x"), doubled), (p.text("w"), WEIGHT))), STORAGES)).tensors


@pytest.mark.parametrize("kind", ["list", "dict", "tuple", "object", "module"])
def test_a_hundred_thousand_levels_open(kind: str) -> None:
    n = 100_000
    state = p.MARK + p.text("x")
    before, after = {
        "list": (b"](", b"e"),
        "dict": (b"}(" + p.text("k"), b"u"),
        "tuple": (b"(", b"t"),
        "object": (p.name("a", "B") + b")\x81}" + state, b"ub"),
        "module": (
            p.name("a", "B")
            + b")\x81}"
            + p.MARK
            + p.text("_parameters")
            + b"}"
            + p.text("_modules")
            + b"}("
            + p.text("m"),
            b"uub",
        ),
    }[kind]
    contents = opened(torch_zip(p.pickle(before * n + WEIGHT + after * n), STORAGES))
    if kind == "object":
        assert contents.tensors == ()
    else:
        (tensor,) = contents.tensors
        assert len(tensor.path) == n
    assert len(brief(contents.tree)) < 100


def test_an_honest_state_dict_of_a_hundred_thousand_tensors_opens() -> None:
    n = 100_000
    first = WEIGHT.replace(p.name("torch._utils", "_rebuild_tensor_v2"), b"h\1")
    entries = b"".join(p.text(f"layers.{i}.weight") + first for i in range(n))
    data = p.proto() + p.name("torch._utils", "_rebuild_tensor_v2") + b"q\x010}(" + entries + b"u."
    contents = opened(torch_zip(data, STORAGES))
    assert len(contents.tensors) == n
    assert contents.findings == ()


# The zip around it.


def codes(contents: formats.Contents) -> set[str]:
    return {finding.code for finding in contents.findings}


def records(**options: Any) -> list[Record]:
    return torch_records(state_dict(w=WEIGHT, b=BIAS), STORAGES, **options)


def test_a_plain_file_has_no_findings() -> None:
    contents = opened(make_zip(records()).data)
    assert contents.findings == ()
    assert contents.metadata == {"root": "net", "version": "3", "byteorder": "little"}


def test_a_missing_byteorder_means_little() -> None:
    assert opened(make_zip(records(byteorder=None)).data).tensors[0].read().tolist() == [[1, 2], [3, 4]]


def test_an_odd_byteorder_is_an_error() -> None:
    with pytest.raises(OpenError, match="byteorder"):
        opened(make_zip(records(byteorder="middle")).data)


def test_a_missing_version_is_a_finding_since_torch_refuses_it() -> None:
    assert "no-version" in codes(opened(make_zip(records(version=False)).data))


def test_a_storage_record_that_is_missing_short_or_long() -> None:
    made = opened(torch_zip(state_dict(w=WEIGHT, b=BIAS), {"1": floats(5, 6)}))
    assert "no entry net/data/0" in made.tensors[0].unreadable
    made = opened(torch_zip(state_dict(w=WEIGHT, b=BIAS), {"0": floats(1, 2), "1": floats(5, 6)}))
    assert made.tensors[0].unreadable == "it needs bytes 0 to 16 of net/data/0, but that entry ends at 8"
    assert made.tensors[1].read().tolist() == [5, 6]
    made = opened(torch_zip(state_dict(w=WEIGHT, b=BIAS), STORAGES | {"0": floats(1, 2, 3, 4, 5)}))
    assert codes(made) == {"longer-storage"}
    assert made.tensors[0].read().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("twice", ["net/data.pkl", "net/DATA.PKL", "net/byteorder"])
def test_a_needed_record_that_stands_there_twice_is_an_error(twice: str) -> None:
    with pytest.raises(OpenError, match="twice"):
        opened(make_zip([*records(), Record(twice, b"little")]).data)


def test_a_storage_that_stands_there_twice_is_unreadable() -> None:
    contents = opened(make_zip([*records(), Record("net/data/0", floats(9, 9, 9, 9))]).data)
    assert "several entries" in contents.tensors[0].unreadable
    assert contents.tensors[1].read().tolist() == [5, 6]


LIES = {
    "other name in front": {"name": "net/data/9"},
    "other method in front": {"method": 8},
    "other sizes in front": {"packed": 7, "size": 7},
}


@pytest.mark.parametrize("why", LIES)
def test_the_directory_wins_over_the_header_in_front_and_a_finding_says_so(why: str) -> None:
    made = records()
    made[2].local = LIES[why]
    contents = opened(make_zip(made).data)
    assert contents.tensors[0].read().tolist() == [[1, 2], [3, 4]]
    assert "headers-differ" in codes(contents)


@pytest.mark.parametrize("n_extra", [5000, 65535])
def test_a_local_header_that_pushes_the_data_into_the_next_record_makes_it_unreadable(n_extra: int) -> None:
    made = records()
    made[2].local = {"n_extra": n_extra}
    contents = opened(make_zip(made).data)
    assert "reach into what begins" in contents.tensors[0].unreadable
    assert contents.tensors[1].read().tolist() == [5, 6]


def test_an_encrypted_or_strangely_packed_storage_is_unreadable() -> None:
    for central, word in (({"flags": 1}, "encrypted"), ({"method": 12}, "method 12")):
        made = records()
        made[2].central = central
        contents = opened(make_zip(made).data)
        assert word in contents.tensors[0].unreadable
        assert contents.tensors[1].read().tolist() == [5, 6]


@pytest.mark.parametrize(
    "central", [{"offset": 10}, {"packed": 10_000_000}, {"offset": 10_000_000}, {"signature": b"PK\3\4"}]
)
def test_records_on_the_same_bytes_or_outside_the_file_are_an_error(central: dict[str, Any]) -> None:
    made = records()
    made[3].central = central
    with pytest.raises(OpenError):
        opened(make_zip(made).data)


@pytest.mark.parametrize(
    "end",
    [
        {"n_here": 4, "n_all": 4},
        {"n_here": 6, "n_all": 6},
        {"n_here": 4},
        {"begin": 0},
        {"begin": 0xFFFFFFFE},
        {"size": 46},
        {"size": 0xFFFFFFFE},
        {"n_here": 0, "n_all": 0, "size": 0},
    ],
)
@pytest.mark.parametrize("zip64", [False, True])
def test_an_end_record_that_lies_is_an_error(end: dict[str, int], zip64: bool) -> None:
    with pytest.raises(OpenError):
        opened(make_zip(records(), end=end, zip64=zip64).data)


def test_bytes_behind_the_zip_are_a_finding() -> None:
    contents = opened(make_zip(records()).data + b"extra")
    assert codes(contents) == {"bytes-after-zip"}


def test_a_comment_is_no_finding() -> None:
    assert codes(opened(make_zip(records(), comment=b"hello").data)) == set()


def test_other_roots_are_named() -> None:
    contents = opened(make_zip([*records(), Record("other/x", b"1")]).data)
    assert codes(contents) == {"entries-outside-root"}
    contents = opened(make_zip([Record("other/x", b"1"), *records()]).data)
    assert codes(contents) == {"entries-outside-root", "odd-root"}
    with pytest.raises(OpenError, match="several-roots"):
        opened(make_zip([Record("x/y", b"1"), *records(), *records(root="two")]).data)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["net/archive_format", "net/data/weights/weight_0"], "other-zip"),
        (["net/.data/extern_modules", "net/model/text"], "torch-package"),
        (["folder/net.pth"], "zip-of-a-checkpoint"),
        (["net/data/0", "net/version"], "no-pickle"),
        (["hello.txt"], "other-zip"),
    ],
)
def test_other_zip_files_are_named_with_a_next_step(names: list[str], code: str) -> None:
    with pytest.raises(NotACheckpointError) as caught:
        opened(make_zip([Record(name, b"1") for name in names]).data)
    assert caught.value.code == code
    assert caught.value.next_step


def test_a_deflated_pickle_may_not_grow_without_bound() -> None:
    bomb = p.proto() + b"0N" * 30_000_000 + b"."
    with pytest.raises(OpenError, match="too-big"):
        opened(torch_zip(bomb, {}, deflate=True))


def test_a_deflated_pickle_may_not_ask_for_more_work_than_its_bytes_need() -> None:
    work = p.proto() + b"N" + b"N0" * 4_000_000 + b"."
    with pytest.raises(OpenError, match="more work"):
        opened(torch_zip(work, {}, deflate=True))


def test_sizes_that_lie_about_a_deflated_storage_give_an_error_on_reading() -> None:
    made = torch_records(state_dict(w=p.tensor("0", 4, (4,), (1,))), {"0": floats(1, 2, 3, 4)}, deflate=True)
    made[2].data = floats(1, 2)
    made[2].central = {"size": 16}
    (tensor,) = opened(make_zip(made).data).tensors
    with pytest.raises(WorkbenchError, match="end after 8 bytes"):
        tensor.read()


# Calls.


def test_a_pickle_that_would_run_a_program_opens_and_says_so() -> None:
    evil = p.call(p.name("os", "system"), p.text("touch marker"))
    contents = opened(torch_zip(state_dict(w=WEIGHT, x=evil), STORAGES))
    (finding,) = contents.findings
    assert (finding.code, finding.severity) == ("runs-a-program", Severity.ERROR)
    assert "would call `os.system('touch marker')` when unpickled: it runs a program as you" in finding.text
    assert contents.tensors[0].read().tolist() == [[1, 2], [3, 4]]


def test_a_payload_in_front_of_a_break_is_named_in_the_error() -> None:
    evil = p.call(p.name("os", "system"), p.text("touch marker"))
    with pytest.raises(OpenError, match=r"`os\.system`"):
        opened(torch_zip(p.proto() + evil + b"\xff", STORAGES))


def test_a_payload_behind_the_end_of_the_pickle_is_found() -> None:
    evil = p.pickle(p.call(p.name("os", "system"), p.text("touch marker")))
    contents = opened(torch_zip(state_dict(w=WEIGHT) + evil, STORAGES))
    assert codes(contents) == {"runs-a-program", "odd-pickle"}


def test_local_header_numbers_are_little_endian_like_the_rest() -> None:
    data = make_zip(records()).data
    assert struct.unpack("<I", data[:4])[0] == 0x04034B50


def test_big_endian_bytes_without_a_number_type_are_left_as_they_lie_and_a_finding_says_so(tmp_path: Path) -> None:
    pickle = state_dict(
        f=p.tensor("0", 2, (2,), (1,)),
        c=p.tensor("1", 1, (1,), (1,), kind="ComplexFloatStorage"),
        b=p.tensor("2", 2, (2,), (1,), kind="BFloat16Storage"),
        u=p.tensor_v3("3", 4, "uint16", (2,), (1,)),
    )
    storages = {
        "0": np.array([1, 2], ">f4").tobytes(),
        "1": np.array([1, -2], ">f4").tobytes(),
        "2": b"\x3f\x80\xc0\0",
        "3": b"\0\1\0\2",
    }
    data = torch_zip(pickle, storages, byteorder="big")
    contents = opened(data)
    assert {f.code: f.severity for f in contents.findings} == {"big-endian-bytes": Severity.WARNING}
    assert contents.tensors[3].read().tolist() == [256, 512]
    torch = load_torch()
    (tmp_path / "net.pt").write_bytes(data)
    expected = torch.load(tmp_path / "net.pt", weights_only=True)
    for tensor in contents.tensors:
        assert tensor.read().tobytes() == expected[tensor.key].view(torch.uint8).numpy().tobytes(), tensor.key
