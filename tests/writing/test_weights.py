"""The two writers, beside the programs that own the formats."""

from __future__ import annotations

import io
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.writing.made import ALL_DTYPES, HOSTILE_NAMES, bits, safetensors_bytes, tensor_of, values
from workbench.core.source import FileSource
from workbench.core.tensor import Storage, TensorRef, dtype_named
from workbench.errors import ExportError
from workbench.writing import weights
from workbench.writing.weights import Item

names = st.text(st.characters(exclude_categories=("Cs",)), max_size=20).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
arrays = st.builds(values, st.sampled_from(ALL_DTYPES), shapes, st.integers(0, 1000))


def items_of(table):
    return [Item(name, tensor_of(name, array)) for name, array in table.items()]


def written(writer, table) -> bytes:
    file = io.BytesIO()
    writer(items_of(table), file)
    return file.getvalue()


def every_dtype():
    return {f"of.{dtype}": values(dtype, (2, 3), n) for n, dtype in enumerate(ALL_DTYPES)}


@settings(deadline=None)
@given(st.dictionaries(names, arrays, max_size=8))
def test_safetensors_writes_the_bytes_that_the_reference_writer_writes(table):
    assert written(weights.write_safetensors, table) == safetensors_bytes(table, {"format": "pt"})


def test_safetensors_sorts_every_dtype_as_the_reference_writer_does():
    table = every_dtype()
    assert written(weights.write_safetensors, table) == safetensors_bytes(table, {"format": "pt"})


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_safetensors_keeps_a_hostile_name_as_it_is(name):
    table = {name: values("float32", (2,)), "other": values("int64", ())}
    loaded = safetensors.numpy.load(written(weights.write_safetensors, table))
    assert {key: bits(array) for key, array in loaded.items()} == {key: bits(array) for key, array in table.items()}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_npz_keeps_a_hostile_name_as_it_is(name):
    table = {name: values("float32", (2,)), "other": values("int64", ())}
    with np.load(io.BytesIO(written(weights.write_npz, table)), allow_pickle=False) as loaded:
        assert loaded.files == [name, "other"]
        assert bits(loaded[name]) == bits(table[name])


@settings(deadline=None)
@given(st.dictionaries(names.filter(lambda name: "\0" not in name), arrays, max_size=6))
def test_numpy_loads_what_npz_holds(table):
    file = io.BytesIO(written(weights.write_npz, table))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = np.load(file, allow_pickle=False)
        assert loaded.files == list(table)
        for name, array in table.items():
            stored = weights.npz_dtype(dtype_named(array.dtype.name))
            expected = array if stored is None else array.view(stored)
            assert bits(loaded[f"{name}.npy"]) == bits(expected)


def test_npz_stores_what_numpy_lacks_as_integers_of_the_same_width():
    stored = {dtype: weights.npz_dtype(dtype_named(dtype)) for dtype in ALL_DTYPES}
    assert {dtype: to for dtype, to in stored.items() if to} == {
        "bfloat16": "uint16",
        "float8_e4m3fn": "uint8",
        "float8_e4m3fnuz": "uint8",
        "float8_e5m2": "uint8",
        "float8_e5m2fnuz": "uint8",
        "float8_e8m0fnu": "uint8",
    }


def test_npy_headers_are_those_that_numpy_writes_apart_from_padding():
    for dtype in ("bool", "int8", "uint16", "<f4", "<c8"):
        for shape in ((), (3,), (0, 4), (2, 3, 4)):
            ours = io.BytesIO(weights.npy_header(np.dtype(dtype), shape))
            assert np.lib.format.read_magic(ours) == (1, 0)
            assert np.lib.format.read_array_header_1_0(ours) == (shape, False, np.dtype(dtype))
            assert ours.read() == b""
            assert len(ours.getvalue()) % 64 == 0


@pytest.mark.parametrize("writer", [weights.write_npz, weights.write_safetensors])
def test_the_same_tensors_give_the_same_bytes(writer):
    assert written(writer, every_dtype()) == written(writer, every_dtype())


@pytest.mark.parametrize("writer", [weights.write_npz, weights.write_safetensors])
def test_writing_holds_one_tensor_in_memory_at_a_time(tmp_path: Path, writer):
    n, size = 16, 4 << 20
    source = tmp_path / "values"
    with source.open("wb") as file:
        file.truncate(n * size)
    storage = Storage("0", n * size, FileSource(source))
    dtype = dtype_named("uint8")
    items = [Item(f"t{i}", TensorRef(f"t{i}", (), dtype, (size,), (1,), i * size, storage)) for i in range(n)]
    tracemalloc.start()
    with (tmp_path / "out").open("xb") as file:
        writer(items, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * size
    assert (tmp_path / "out").stat().st_size > n * size


@pytest.mark.parametrize(
    ("name", "dtype", "said"),
    [
        ("w", "complex128", "'w' (complex128): safetensors has no such dtype"),
        ("__metadata__", "float32", "'__metadata__' (float32): safetensors keeps this name for itself"),
        ("a\0b", "float32", "'a\\x00b' (float32): npz ends a name at its first NUL character"),
        ("x" * 65532, "float32", "npz allows names of 65,535 bytes"),
        ("\ud800", "float32", "its name is not valid Unicode text"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_by_name(name, dtype, said):
    with pytest.raises(ExportError) as caught:
        weights.check([Item(name, tensor_of("original", values(dtype, (2,))))])
    assert said in caught.value.cause
    assert "Nothing was changed." in caught.value.cause
    assert caught.value.next_step
    assert caught.value.code == "format-cannot-hold"


def test_many_refused_tensors_are_counted_and_the_first_named():
    items = [Item(f"w{n}", tensor_of("", values("complex128", (1,)))) for n in range(12)]
    with pytest.raises(ExportError, match="12 tensors") as caught:
        weights.check(items)
    assert "'w4'" in caught.value.cause
    assert "'w5'" not in caught.value.cause
    assert "7 more" in caught.value.cause


def test_what_the_formats_hold_is_not_refused():
    weights.check(items_of(every_dtype() | {name: values("bool", ()) for name in HOSTILE_NAMES}))
