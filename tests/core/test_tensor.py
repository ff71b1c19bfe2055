"""Strides to arrays, against numpy's own arithmetic."""

from __future__ import annotations

import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from itertools import repeat
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core import tensor as tensors
from workbench.core.source import MemorySource
from workbench.core.tensor import (
    CHUNK,
    DTYPES,
    Storage,
    TensorRef,
    contiguous_strides,
    dtype_named,
    new_storage,
    new_tensors,
)
from workbench.errors import TensorError


def view(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, data: bytes, dtype: str = "int16") -> TensorRef:
    storage = Storage("data/0", len(data), MemorySource(data))
    return TensorRef("w", ("w",), dtype_named(dtype), shape, strides, offset, storage)


@st.composite
def views(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    strides = tuple(draw(st.integers(0, 7)) for _ in shape)
    return shape, strides, draw(st.integers(0, 5))


@pytest.mark.parametrize("chunk", [tensors.CHUNK, 64, 16, 2])
@given(case=views())
def test_any_strides_give_what_numpy_gives(chunk: int, case: tuple[tuple[int, ...], tuple[int, ...], int]) -> None:
    shape, strides, offset = case
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n)
    flat = np.arange(last + 1, dtype="<i2")
    expected = np.lib.stride_tricks.as_strided(flat[offset:], shape, tuple(2 * s for s in strides))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "CHUNK", chunk)
        read = view(shape, strides, offset, flat.tobytes()).read()
    assert read.shape == shape
    assert read.tobytes() == expected.tobytes()
    assert read.flags.c_contiguous
    assert read.flags.writeable
    assert read.flags.owndata or read.base is not None


@given(case=views())
def test_contiguous_means_that_the_bytes_lie_in_order(case: tuple[tuple[int, ...], tuple[int, ...], int]) -> None:
    shape, strides, offset = case
    ref = view(shape, strides, offset, b"")
    places = [
        sum(i * s for i, s in zip(index, strides, strict=True)) for index in np.ndindex(*shape)
    ]  # elements in row-major order
    assert ref.is_contiguous == (places == list(range(len(places))))


@given(st.lists(st.integers(1, 5), max_size=5))
def test_contiguous_strides_are_those_of_numpy(shape: list[int]) -> None:
    expected = np.empty(shape, np.int8).strides
    sizes = [(e, c) for n, e, c in zip(shape, expected, contiguous_strides(shape), strict=True) if n > 1]
    assert all(e == c for e, c in sizes)


def test_a_few_elements_of_a_large_storage_read_only_their_span() -> None:
    data = bytes(1_000_000)
    ref = view((3,), (2,), 1000, data)
    ref.read()
    source = ref.storage.source
    assert isinstance(source, MemorySource)
    assert source.ranges == [(2000, 2010)]


def test_elements_far_apart_are_not_read_with_what_lies_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "CHUNK", 1000)
    data = np.arange(50_000, dtype="<i2").tobytes()
    ref = view((5,), (10_000,), 3, data)
    assert ref.read().tolist() == [3, 10003, 20003, 30003, 40003 - 65536]
    source = ref.storage.source
    assert isinstance(source, MemorySource)
    assert source.bytes_read == 10


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if dtype.numpy is not None])
def test_every_dtype_keeps_its_bits_in_both_byte_orders(name: str) -> None:
    dtype = dtype_named(name)
    raw = bytes(range(1, 1 + 2 * dtype.itemsize))
    assert view((2,), (1,), 0, raw, name).read().tobytes() == raw
    part = dtype.itemsize // 2 if name.startswith("complex") else dtype.itemsize
    swapped = b"".join(raw[i : i + part][::-1] for i in range(0, len(raw), part))
    ref = TensorRef("w", (), dtype, (2,), (1,), 0, Storage("s", len(raw), MemorySource(swapped)), byteswap=True)
    assert ref.read().tobytes() == raw


def test_each_read_is_a_fresh_array() -> None:
    ref = view((2,), (1,), 0, b"\1\0\2\0")
    ref.read()[0] = 9
    assert ref.read().tolist() == [1, 2]


def test_sizes_are_counted_without_reading() -> None:
    ref = view((3, 0, 5), (1, 1, 1), 0, b"")
    assert (ref.n_elements, ref.nbytes) == (0, 0)
    ref = view((3, 5), (5, 1), 0, b"", "float64")
    assert (ref.n_elements, ref.nbytes) == (15, 120)


def test_an_unreadable_tensor_says_why() -> None:
    ref = TensorRef("a.w", (), dtype_named("complex32"), (2,), (1,), 0, Storage("s", 8, None))
    with pytest.raises(TensorError, match=r"'a\.w' cannot be read: numpy has no complex32"):
        ref.read()


def test_bounds_are_checked_again_at_the_storage() -> None:
    with pytest.raises(TensorError, match="out-of-bounds"):
        view((4,), (1,), 0, b"\1\0").read()


def test_the_repr_is_one_printable_line() -> None:
    ref = TensorRef("a\n\x1b[0m", (), dtype_named("float32"), (2, 3), (3, 1), 0, Storage("s", 24, None))
    assert repr(ref) == r"TensorRef('a\\x0a\\x1b[0m', float32, 2×3)"


def test_dtypes_have_names_sizes_and_arrays() -> None:
    sizes: dict[str, Any] = {"bool": 1, "bfloat16": 2, "float8_e4m3fn": 1, "complex64": 8, "int64": 8}
    assert {name: dtype_named(name).itemsize for name in sizes} == sizes
    assert all(d.numpy is None or d.numpy.itemsize == d.itemsize for d in DTYPES.values())
    with pytest.raises(KeyError):
        dtype_named("F32")
    assert math.prod(()) == 1


def test_a_deflated_storage_is_inflated_once_however_long_it_is():
    values = np.arange(9_000_000, dtype=np.float32)
    engine = zlib.compressobj(1, wbits=-15)
    packed = engine.compress(values.tobytes()) + engine.flush()
    source = MemorySource(packed)
    storage = Storage("data/0", values.nbytes, source, 0, len(packed))
    tensor = TensorRef("w", ("w",), dtype_named("float32"), values.shape, (1,), 0, storage)
    assert values.nbytes > 2 * CHUNK
    assert np.array_equal(tensor.read(), values)
    assert source.bytes_read == len(packed)


def test_tensors_and_storages_made_in_numbers_are_the_same_as_made_singly():
    source = MemorySource(bytes(24))

    class Places:
        def storage(self, number: int) -> Storage:
            return new_storage(f"s{number}", 24, source, 8)

    f32 = dtype_named("float32")
    layouts = [(f32, (2,), (1,), 1, "it is a test"), (f32, (3, 2), (2, 1), 0, "")]
    singly = [
        TensorRef("w", ("w",), *layouts[0][:4], Storage("s5", 24, source, 8), unreadable="it is a test"),
        TensorRef("v", ("v",), *layouts[1][:4], Storage("s7", 24, source, 8)),
    ]
    made = new_tensors("wv", zip("wv", strict=True), layouts, Places(), (5, 7))
    assert [type(tensor) for tensor in made] == [TensorRef, TensorRef]
    assert made == singly
    assert replace(made[0], key="v") == replace(singly[0], key="v")
    for refused, name in ((made[0].storage, "id"), (made[0], "key"), (made[0], "storage")):
        with pytest.raises(FrozenInstanceError):
            setattr(refused, name, "other")


def test_all_who_ask_a_tensor_for_its_storage_get_the_same_one():
    class Slow:
        def storage(self, number: int) -> Storage:
            asked.append(number)
            return Storage("s", 4, None)

    asked: list[int] = []
    layout = dtype_named("int8"), (4,), (1,), 0, ""
    made = new_tensors(map(str, range(200)), repeat(()), repeat(layout), Slow(), range(200))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: [id(tensor.storage) for tensor in made], range(8)))
    assert all(each == found[0] for each in found)
    assert asked == list(range(200))
    with pytest.raises(AttributeError, match="strorage"):
        _ = made[0].strorage  # type: ignore[attr-defined]
