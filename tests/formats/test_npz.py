"""numpy archives and arrays: as numpy reads them, without its evaluating and unpickling."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.suite import FormatSuite, Part, some_bytes
from tests.make import pickles as p
from tests.make.npy import header_text, npy, with_npy_header
from tests.make.zips import Record, make_zip
from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tensor import dtype_named
from workbench.errors import OpenError, TensorError
from workbench.formats.limits import MAX_NPY_HEADER

DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


def descr_of(dtype: str) -> str:
    found = dtype_named(dtype).numpy
    assert found is not None
    return found.str


class TestStored(FormatSuite):
    format_name: ClassVar[str] = "npz"
    dtypes: ClassVar[Sequence[str]] = DTYPES

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        made = make_zip([Record(f"{key}.npy", npy(descr_of(dtype), shape, raw)) for key, dtype, shape, raw in parts])
        return made.data, made.boundaries


class TestSingle(FormatSuite):
    """A lone .npy holds one array without a key, so of the suite only what needs no key is asked."""

    format_name: ClassVar[str] = "npy"
    dtypes: ClassVar[Sequence[str]] = DTYPES

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        _, dtype, shape, raw = parts[0]
        data = npy(descr_of(dtype), shape, raw)
        return data, [0, 6, 8, 10, len(data) - len(raw), len(data)]

    test_opens_without_reading_tensor_bytes = None
    test_reading_touches_only_the_bytes_of_that_tensor = None
    test_gives_the_exact_bits_of_every_dtype = None
    test_a_tensor_without_elements_is_empty = None
    test_any_text_may_be_a_key = None
    test_cutting_the_file_anywhere_never_changes_a_value = None
    test_the_fingerprint_is_of_the_metadata = None


def opened(data: bytes, name: str = "made.npz") -> formats.Contents:
    return formats.read(MemorySource(data, name))


def saved(*, packed: bool = False, **arrays: Any) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(out, **arrays)
    return out.getvalue()


def one(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


ARRAYS = {dtype: np.arange(12).astype(dtype).reshape(3, 4) for dtype in DTYPES} | {
    "big": np.arange(6, dtype=">i4").reshape(2, 3),
    "big_complex": np.array([1 + 2j, 3 - 4j], ">c16"),
    "fortran": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "one": np.array([[[7]]]),
    "sub/folder": np.arange(3),
}


@pytest.mark.parametrize("packed", [False, True])
def test_archives_of_numpy_read_as_numpy_reads_them(packed: bool) -> None:
    data = saved(packed=packed, **ARRAYS)
    contents = opened(data)
    theirs = np.load(io.BytesIO(data))
    assert [tensor.key for tensor in contents.tensors] == list(theirs)
    assert contents.findings == ()
    for tensor in contents.tensors:
        want, got = theirs[tensor.key], tensor.read()
        assert (got.shape, got.dtype) == (want.shape, want.dtype.newbyteorder("="))
        assert got.tolist() == want.tolist()
        assert got.flags.c_contiguous


def test_a_single_array_of_numpy_is_one_tensor_without_a_key() -> None:
    for array in ARRAYS.values():
        contents = opened(one(array), "x.npy")
        (tensor,) = contents.tensors
        assert (contents.format, tensor.key, tensor.path) == ("npy", "", ())
        assert tensor.read().tolist() == array.tolist()


def test_opening_reads_headers_only_also_where_arrays_are_packed() -> None:
    noise = np.frombuffer(some_bytes(1_000_000), np.uint8)
    for packed in (False, True):
        source = MemorySource(saved(packed=packed, a=noise, b=noise), "big.npz")
        assert len(formats.read(source).tensors) == 2
        assert source.bytes_read < 70_000


@pytest.mark.parametrize(
    ("array", "name", "why"),
    [
        (np.array([{"a": 1}], object), "object", "pickle"),
        (np.array(["text"]), "str", "texts"),
        (np.array([b"text"]), "bytes", "byte strings"),
        (np.array([1], "datetime64[ns]"), "datetime64[ns]", "dates"),
        (np.ones(2, ml_dtypes.bfloat16), "void16", "bfloat16"),
        (np.zeros(2, [("a", "<f4"), ("b[", "<i4", (2,))]), "record", "records"),
        (np.ones(2, np.longdouble), "longdouble", "differ between machines"),
    ],
)
def test_arrays_of_no_number_type_are_listed_and_cannot_be_read(array: Any, name: str, why: str) -> None:
    for packed in (False, True):
        tensor, neighbour = opened(saved(packed=packed, array=array, n=np.ones(2))).tensors
        assert (tensor.dtype.name, tensor.shape) == (name, array.shape)
        assert why in tensor.unreadable
        with pytest.raises(TensorError):
            tensor.read()
        assert neighbour.read().tolist() == [1, 1]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_header_is_read(version: int) -> None:
    (tensor,) = opened(npy("<f4", (2,), some_bytes(8), version)).tensors
    assert tensor.read().tobytes() == some_bytes(8)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr':'<f4','fortran_order':False,'shape':(2,)}",
        "{'shape': (2,), 'descr': \"<f4\", 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }",
        "  {'descr': '<f4', 'fortran_order': False, 'shape': ( 2 , ) , }  ",
    ],
)
def test_headers_of_other_writers_are_read(text: str) -> None:
    (tensor,) = opened(with_npy_header(text, some_bytes(8))).tensors
    assert (tensor.shape, tensor.read().tobytes()) == ((2,), some_bytes(8))


BROKEN = {
    "a call": header_text(shape="(__import__('os').getpid(),)"),
    "a call as type": header_text(descr="exit()"),
    "a sum": header_text(shape="(1+1,)"),
    "a negative size": header_text(shape="(-1,)"),
    "a size with a point": header_text(shape="(2.0,)"),
    "no tuple": header_text(shape="(2)"),
    "a list": header_text(shape="[2]"),
    "a text": header_text(fortran="'False'"),
    "a number": header_text(fortran="0"),
    "an escape": header_text(descr="'<f\\x34'"),
    "an unknown type": header_text(descr="'<f3'"),
    "a type that never ends": header_text(descr="[" * 20_000),
    "overflow": header_text(shape=f"({2**62}, 4)"),
    "many sizes": header_text(shape=f"({'9' * 20}, " + "9, " * 990 + ")"),
    "more keys": "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}",
    "fewer keys": "{'descr': '<f4', 'fortran_order': False}",
    "a key twice": "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (2,)}",
    "no comma": "{'descr': '<f4' 'fortran_order': False, 'shape': (2,)}",
    "no dict": "('<f4', False, (2,))",
    "more behind": header_text() + " + {}",
    "nothing": "",
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_header_that_numpy_does_not_write_is_refused_and_its_neighbours_stay(why: str) -> None:
    array = with_npy_header(BROKEN[why], some_bytes(8))
    with pytest.raises(OpenError) as caught:
        opened(array, "x.npy")
    assert caught.value.code in {"broken-header", "unknown-dtype"}
    contents = opened(make_zip([Record("bad.npy", array), Record("good.npy", npy("<f4", (2,), some_bytes(8)))]).data)
    bad, good = contents.tensors
    assert (bad.key, good.key) == ("bad", "good")
    with pytest.raises(TensorError, match="'bad' cannot be read: i"):
        bad.read()
    assert good.read().tobytes() == some_bytes(8)
    assert [finding.code for finding in contents.findings] == ["unreadable-array"]


@pytest.mark.parametrize("n", [MAX_NPY_HEADER + 1, 1 << 31, (1 << 32) - 1])
def test_the_length_of_a_header_is_checked_before_it_is_read(n: int) -> None:
    source = MemorySource(with_npy_header(header_text(), bytes(200_000), version=2, length=n))
    with pytest.raises(OpenError) as caught:
        formats.read(source)
    assert caught.value.code == "too-big"
    assert source.bytes_read < 1000


def test_an_array_that_is_cut_off_says_how_much_is_missing() -> None:
    with pytest.raises(OpenError, match="needs 8 bytes, but 7 are there") as caught:
        opened(npy("<f4", (2,), bytes(7)))
    assert caught.value.code == "cut-off"
    contents = opened(make_zip([Record("a.npy", npy("<f4", (2,), bytes(7)))]).data)
    assert "needs 8 bytes" in contents.tensors[0].unreadable
    assert [finding.code for finding in contents.findings] == ["short-array"]


def test_bytes_behind_an_array_are_a_finding() -> None:
    contents = opened(npy("<f4", (2,), some_bytes(9)))
    assert [finding.code for finding in contents.findings] == ["longer-array"]
    assert contents.tensors[0].read().tobytes() == some_bytes(9)[:8]


def test_other_entries_are_left_out_and_named() -> None:
    contents = opened(make_zip([Record("a.npy", npy("<f4", (1,), bytes(4))), Record("note.txt", b"hello")]).data)
    assert [tensor.key for tensor in contents.tensors] == ["a"]
    assert [(finding.code, finding.place) for finding in contents.findings] == [("not-an-array", "entry note.txt")]


def test_two_entries_of_one_name_cannot_be_read() -> None:
    array = npy("<f4", (1,), bytes(4))
    contents = opened(make_zip([Record("a.npy", array), Record("a.npy", array), Record("A.npy", array)]).data)
    assert [bool(tensor.unreadable) for tensor in contents.tensors] == [True, True, False]
    assert [finding.code for finding in contents.findings] == ["repeated-entry"]


def test_a_packed_array_that_claims_more_than_it_holds_is_an_error_on_reading() -> None:
    record = Record("a.npy", npy("<f4", (1 << 28,), bytes(64)), deflate=True, central={"size": 128 + (1 << 30)})
    (tensor,) = opened(make_zip([record]).data).tensors
    with pytest.raises(OpenError, match="end after"):
        tensor.read()


def test_a_zip_that_begins_with_an_array_and_holds_a_pickle_is_read_as_torch_reads_it() -> None:
    root = p.pickle(p.dict_of())
    made = make_zip([Record("net/x.npy", npy("<f4", (1,), bytes(4))), Record("net/data.pkl", root),
                     Record("net/version", b"3\n")])  # fmt: skip
    assert opened(made.data).format == "torch-zip"


@given(
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from(DTYPES),
    st.sampled_from("<>"),
    st.booleans(),
    st.booleans(),
)
def test_any_array_comes_back(shape: list[int], dtype: str, order: str, fortran: bool, packed: bool) -> None:
    values = np.random.default_rng(1).integers(0, 2, shape).astype(np.dtype(dtype).newbyteorder(order))
    array = np.asfortranarray(values) if fortran else values
    (tensor,) = opened(saved(packed=packed, x=array)).tensors
    assert (tensor.shape, tensor.read().tolist()) == (array.shape, array.tolist())


@given(st.binary(max_size=200), st.integers(1, 3))
def test_any_header_gives_an_array_or_one_of_our_errors(text: bytes, version: int) -> None:
    with contextlib.suppress(OpenError):
        assert len(opened(with_npy_header(text, bytes(16), version)).tensors) == 1
