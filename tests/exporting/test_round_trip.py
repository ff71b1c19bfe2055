"""Every dtype, shape and name through every format: back bit for bit, or refused by name before a byte is written."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
from hypothesis import example, given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.oracles import torch as load_torch
from tests.writing.made import ALL_DTYPES, HOSTILE_NAMES, checkpoint_of, tree_of, values
from workbench.core.source import MemorySource
from workbench.core.tensor import Storage, TensorRef, contiguous_strides, dtype_named
from workbench.errors import ExportError, printable
from workbench.exporting import export
from workbench.writing import files, items, npy_folder
from workbench.writing.items import Item, pieces
from workbench.writing.progress import Meter

FORMATS = ["npz", "safetensors", "pt", "bpk", "npy"]
WITHOUT_NUMPY = [
    *("complex32", "float4_e2m1fn_x2", "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"),
    *("float6_e2m3fn", "qint8", "quint8", "qint32", "quint4x2"),
]
DTYPES = [*ALL_DTYPES, "complex128", *WITHOUT_NUMPY]

FLOAT8 = {name for name in ALL_DTYPES if name.startswith("float8")}
BITS = {"bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"}
BURN = {"bool", "bfloat16", "float16", "float32", "float64"} | {
    f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)
}
HELD = {
    "npz": {*ALL_DTYPES, "complex128"},
    "npy": {*ALL_DTYPES, "complex128"},
    "safetensors": set(ALL_DTYPES),
    "pt": {*ALL_DTYPES, "complex128", "complex32", "float4_e2m1fn_x2", *BITS},
    "bpk": BURN,
}

names = st.one_of(st.text(max_size=20), st.sampled_from(HOSTILE_NAMES)).filter(lambda name: "\0" not in name)
small = st.lists(st.integers(0, 4), max_size=4)
deep = st.lists(st.sampled_from([1, 1, 1, 1, 2]), min_size=20, max_size=60).filter(
    lambda shape: math.prod(shape) < 4096
)
shapes = st.one_of(small, deep).map(tuple)


def tensor(name: str, dtype: str, shape: tuple[int, ...], seed: int = 0) -> TensorRef:
    kind = dtype_named(dtype)
    data = np.random.default_rng(seed).integers(0, 256, math.prod(shape) * kind.itemsize, dtype=np.uint8)
    if dtype == "bool":
        data %= 2
    storage = Storage("0", len(data), MemorySource(data.tobytes()))
    return TensorRef(name, (name,), kind, shape, contiguous_strides(shape), 0, storage, unreadable=kind.lacks_numpy)


tensors = st.builds(lambda *made: made, st.sampled_from(DTYPES), shapes, st.integers(0, 1000))


def part_of(format: str, table: dict[str, TensorRef]) -> files.Part:
    listed = [Item(name, each) for name, each in table.items()]
    return npy_folder.npy_folder(listed) if format == "npy" else files.weight_file(format, listed)


def held(each: TensorRef) -> tuple[str, tuple[int, ...], bytes]:
    return each.dtype.name, each.shape, b"".join(bytes(piece) for piece in pieces(Item("", each)))


def is_text(name: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in name)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(names, tensors, min_size=1, max_size=5), st.sampled_from(FORMATS))
@example({"\ud800": ("float32", (1,), 0)}, "safetensors")
def test_a_table_comes_back_bit_for_bit_or_is_refused_by_name(table, format):
    made = {name: tensor(name, *facts) for name, facts in table.items()}
    misfit = [name for name, each in made.items() if each.dtype.name not in HELD[format]]
    misfit += [name for name in made if not is_text(name) and format != "npy"]
    if misfit:
        with pytest.raises(ExportError) as caught:
            part_of(format, made)
        assert caught.value.code == "format-cannot-hold"
        assert f"'{printable(misfit[0], 200)}'" in caught.value.cause or len(misfit) > 1
        return
    part = part_of(format, made)
    with tempfile.TemporaryDirectory() as folder:
        crcs = part.write(Path(folder), Meter())
        part.verify(Path(folder), crcs, Meter())
        back = {each.key: held(each) for each in wb.open(Path(folder) / part.names[0]).tensors}
    expected = {name: held(each) for name, each in made.items()}
    if format == "npz":
        expected = {
            name: (files.weights.npz_dtype(dtype_named(dtype)) or dtype, shape, data)
            for name, (dtype, shape, data) in expected.items()
        }
    assert back == expected


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(names.filter(is_text), tensors, min_size=1, max_size=5))
def test_torch_reads_what_a_pt_holds(table):
    th = load_torch()
    table = {name: facts for name, facts in table.items() if facts[0] in HELD["pt"]}
    made = {name: tensor(name, *facts) for name, facts in table.items()}
    with tempfile.TemporaryDirectory() as folder:
        part_of("pt", made).write(Path(folder), Meter())
        loaded = th.load(Path(folder) / "model.pt", weights_only=True)
    assert list(loaded) == list(made)
    for name, each in made.items():
        got = loaded[name]
        assert (str(got.dtype), tuple(got.shape)) == (f"torch.{each.dtype.name}", each.shape)
        data = bytes(got.untyped_storage())[: each.nbytes] if each.nbytes else b""
        assert data == held(each)[2]


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(names.filter(is_text), tensors, min_size=1, max_size=5))
def test_the_safetensors_package_reads_what_a_safetensors_holds(table):
    table = {name: facts for name, facts in table.items() if facts[0] in HELD["safetensors"]}
    made = {name: tensor(name, *facts) for name, facts in table.items() if name != "__metadata__"}
    with tempfile.TemporaryDirectory() as folder:
        part_of("safetensors", made).write(Path(folder), Meter())
        loaded = safetensors.deserialize((Path(folder) / "model.safetensors").read_bytes())
    got = {name: (tuple(facts["shape"]), bytes(facts["data"])) for name, facts in loaded}
    assert got == {name: held(each)[1:] for name, each in made.items()}


def test_a_tensor_of_more_dimensions_than_numpy_has_is_left_out_by_name_with_the_reason(tmp_path):
    th = load_torch()
    th.save({"deep": th.zeros((1,) * 70), "w": th.ones(2)}, tmp_path / "x.pt")
    export(wb.Mapping(reindex=False).plan(wb.open(tmp_path / "x.pt")), tmp_path / "out", formats=["safetensors"])
    assert list(wb.open(tmp_path / "out" / "model.safetensors").keys()) == ["w"]
    rows = {row["original"]: row for row in json.loads((tmp_path / "out" / "mapping.json").read_text())["rows"]}
    assert (rows["deep"]["status"], rows["deep"]["reason"]) == ("skipped", "it has 70 dimensions, numpy takes 64")


@pytest.mark.parametrize("format", [*FORMATS, "rust", "python", "report"])
def test_the_same_plan_gives_the_same_bytes(tmp_path, format):
    table = {f"b.{n}.{dtype}": values(dtype, (n, 2), n) for n, dtype in enumerate(sorted(BURN))}
    checkpoint = checkpoint_of(tmp_path / "x.safetensors", table)
    for out in ("one", "two"):
        plan = wb.Mapping([wb.Rule("^b", "block")], reindex=False).plan(checkpoint)
        export(plan, tmp_path / out, formats=["safetensors", format])
    assert tree_of(tmp_path / "one") == tree_of(tmp_path / "two")


# ---- the bytes of one tensor ----------------------------------------------------------------------------------------


@pytest.fixture(params=[1 << 20, 24])
def step(request, monkeypatch):
    """Bytes handled at a time: all at once, and so few that there are many pieces."""
    monkeypatch.setattr(items, "_STEP", request.param)
    return request.param


def view_of(array: np.ndarray, base: np.ndarray) -> TensorRef:
    """A reference to a view of `base`."""
    data = base.tobytes()
    size = array.itemsize
    offset = (array.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // size
    strides = tuple(stride // size for stride in array.strides)
    storage = Storage("0", len(data), MemorySource(data))
    return TensorRef("w", ("w",), dtype_named(array.dtype.name), array.shape, strides, offset, storage)


BASE = np.random.default_rng(1).standard_normal((5, 6, 7)).astype(np.float32)
VIEWS = {
    "all": BASE,
    "turned": BASE.T,
    "a row": BASE[2],
    "a column": BASE[:, 3],
    "every other": BASE[::2, :, ::3],
    "repeated": np.broadcast_to(BASE[1:2], (4, 6, 7)),
    "swapped": BASE.swapaxes(0, 1),
    "nothing": BASE[:0],
    "one": BASE[1:2, 2:3, 3:4].reshape(()),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("cast", ["", "float64", "bfloat16"])
def test_views_are_written_in_order_whatever_their_strides(step, name, is_turned, cast):
    array = VIEWS[name]
    item = Item("w", view_of(array, BASE), is_turned, cast)
    expected = np.ascontiguousarray(array.T if is_turned else array)
    if cast:
        expected = expected.astype(dtype_named(cast).numpy)
    found = [bytes(piece) for piece in pieces(item)]
    assert b"".join(found) == expected.tobytes()
    assert len(b"".join(found)) == item.nbytes
    assert max(map(len, found), default=0) <= max(step, step // 4 * dtype_named(cast or "float32").itemsize)


def test_what_is_swapped_conjugated_or_negated_is_resolved(step):
    base = (BASE + 1j * BASE[::-1]).astype(np.complex64)
    for flags, expected in (
        ({"conj": True}, base.conj()),
        ({"neg": True}, -base),
        ({"byteswap": True}, base.view(np.float32).byteswap().view(np.complex64)),
    ):
        ref = view_of(base, base)
        changed = TensorRef(ref.key, ref.path, ref.dtype, ref.shape, ref.strides, 0, ref.storage, **flags)
        assert b"".join(bytes(piece) for piece in pieces(Item("w", changed))) == expected.tobytes()


def test_a_value_that_a_cast_has_no_place_for_is_refused_wherever_it_lies(step):
    for place in (0, 17, 41):
        array = np.zeros(42, np.float32)
        array[place] = 1e38
        with pytest.raises(ExportError, match="float16 cannot hold") as caught:
            list(pieces(Item("w", view_of(array, array), cast="float16")))
        assert caught.value.code == "cast-does-not-fit"


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"])
def test_an_infinity_never_becomes_nan(step, dtype):
    array = np.array([1, np.inf], np.float32)
    with pytest.raises(ExportError, match=f"{dtype} cannot hold"):
        list(pieces(Item("w", view_of(array, array), cast=dtype)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float8_e5m2"])
def test_infinity_and_nan_stay_what_they_are_in_a_cast(step, dtype):
    array = np.array([np.inf, -np.inf, np.nan, 1], np.float32)
    raw = b"".join(bytes(piece) for piece in pieces(Item("w", view_of(array, array), cast=dtype)))
    found = np.frombuffer(raw, dtype_named(dtype).numpy).astype(np.float32)
    assert np.array_equal(found, array, equal_nan=True)


@pytest.mark.parametrize("dtype", ["complex32", "bits16", "float4_e2m1fn_x2"])
@pytest.mark.parametrize("unreadable", ["", "its own"])
def test_what_numpy_alone_lacks_can_be_written_and_what_cannot_be_read_for_another_reason_not(step, dtype, unreadable):
    ref = tensor("w", dtype, (4, 3))
    assert items.carries(ref)
    turned = b"".join(bytes(piece) for piece in pieces(Item("w", ref, transposed=True)))
    size = ref.dtype.itemsize
    expected = np.frombuffer(held(ref)[2], np.dtype((np.void, size))).reshape(4, 3).T.tobytes()
    assert turned == expected
    broken = TensorRef("w", ("w",), ref.dtype, ref.shape, ref.strides, 0, ref.storage, unreadable="it is cut off")
    assert not items.carries(broken)
