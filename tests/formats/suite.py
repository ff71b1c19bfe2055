"""FormatSuite: what every format must do, whatever it looks like on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from workbench import formats
from workbench.core.source import MemorySource
from workbench.core.tensor import dtype_named
from workbench.errors import WorkbenchError

Part = tuple[str, str, Sequence[int], bytes]
"""Key, dtype by our name, shape, bytes in row-major order."""


def some_bytes(n: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8).tobytes()


class FormatSuite:
    """Subclasses say how to build a file; the tests are the same for all."""

    format_name: ClassVar[str]
    dtypes: ClassVar[Sequence[str]]

    def build(self, parts: Sequence[Part]) -> tuple[bytes, Sequence[int]]:
        """The file, and the positions at which one of its structures ends."""
        raise NotImplementedError

    def opened(self, parts: Sequence[Part]) -> tuple[formats.Contents, MemorySource]:
        source = MemorySource(self.build(parts)[0], "made")
        return formats.read(source), source

    def test_opens_without_reading_tensor_bytes(self) -> None:
        small, small_source = self.opened([("w", "float32", (4,), some_bytes(16))])
        large, large_source = self.opened([("w", "float32", (250_000,), some_bytes(1_000_000))])
        assert [t.key for t in large.tensors] == [t.key for t in small.tensors] == ["w"]
        assert large_source.bytes_read < small_source.bytes_read + 70_000

    def test_reading_touches_only_the_bytes_of_that_tensor(self) -> None:
        contents, source = self.opened([(k, "float32", (1000,), some_bytes(4000, i)) for i, k in enumerate("abc")])
        before = source.bytes_read
        contents.tensors[1].read()
        assert source.bytes_read - before == 4000

    def test_gives_the_exact_bits_of_every_dtype(self) -> None:
        parts = []
        for i, name in enumerate(self.dtypes):
            raw = some_bytes(6 * dtype_named(name).itemsize, i)
            parts.append((name, name, (2, 3), bytes(b & 1 for b in raw) if name == "bool" else raw))
        contents, _ = self.opened(parts)
        assert [t.key for t in contents.tensors] == list(self.dtypes)
        for tensor, (_, name, shape, raw) in zip(contents.tensors, parts, strict=True):
            array = tensor.read()
            assert (tensor.dtype.name, array.shape, array.dtype) == (name, shape, dtype_named(name).numpy)
            assert array.tobytes() == raw
            assert array.flags.writeable
            assert array.flags.c_contiguous

    def test_bytes_come_in_native_order(self) -> None:
        contents, _ = self.opened([("n", "int64", (2,), np.array([1, -2], "<i8").tobytes())])
        assert contents.tensors[0].read().tolist() == [1, -2]

    def test_a_tensor_without_dimensions_is_a_scalar(self) -> None:
        contents, _ = self.opened([("s", "float32", (), np.array(2.5, "<f4").tobytes())])
        (tensor,) = contents.tensors
        assert (tensor.shape, tensor.n_elements, tensor.nbytes) == ((), 1, 4)
        assert tensor.read().shape == ()
        assert float(tensor.read()) == 2.5

    @pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (0, 2**40)])
    def test_a_tensor_without_elements_is_empty(self, shape: tuple[int, ...]) -> None:
        contents, _ = self.opened([("e", "float32", shape, b""), ("w", "float32", (1,), some_bytes(4))])
        assert contents.tensors[0].read().shape == shape
        assert contents.tensors[0].nbytes == 0

    @pytest.mark.parametrize("key", ["", "a b", "x/../y", "層.w", "<b>&\x1b[0m", "a.b", "."])
    def test_any_text_may_be_a_key(self, key: str) -> None:
        contents, _ = self.opened([(key, "uint8", (1,), b"\1")])
        assert [t.key for t in contents.tensors] == [key]

    def test_cutting_the_file_at_a_structural_boundary_gives_one_of_our_errors(self) -> None:
        data, boundaries = self.build([("a", "float32", (3,), some_bytes(12)), ("b", "int8", (5,), some_bytes(5))])
        assert len(boundaries) >= 3
        for boundary in boundaries:
            for at in {max(boundary - 1, 0), boundary, boundary + 1}:
                if at < len(data):
                    with pytest.raises(WorkbenchError) as caught:
                        formats.read(MemorySource(data[:at], "cut"))
                    assert caught.value.next_step

    def test_cutting_the_file_anywhere_never_changes_a_value(self) -> None:
        parts = [("a", "float32", (3,), some_bytes(12)), ("b", "int8", (5,), some_bytes(5))]
        whole = {key: raw for key, _, _, raw in parts}
        data, _ = self.build(parts)
        for at in range(len(data)):
            with contextlib.suppress(WorkbenchError):
                for tensor in formats.read(MemorySource(data[:at], "cut")).tensors:
                    if not tensor.unreadable:
                        assert tensor.read().tobytes() == whole[tensor.key]

    def test_changing_any_byte_gives_a_file_or_one_of_our_errors(self) -> None:
        data, _ = self.build([("a", "float32", (3,), some_bytes(12)), ("b", "int8", (5,), some_bytes(5))])
        changed = bytearray(data)
        for at in range(len(data)):
            for value in (0, 0x28, 0x80, 0xFF, data[at] ^ 1):
                changed[at] = value
                self._read_all(bytes(changed))
            changed[at] = data[at]

    def _read_all(self, data: bytes) -> None:
        with contextlib.suppress(WorkbenchError):
            for tensor in formats.read(MemorySource(data, "changed")).tensors:
                repr(tensor)
                if not tensor.unreadable:
                    tensor.read()

    def test_the_fingerprint_is_of_the_metadata(self) -> None:
        one, two = (self.opened([("a", "float32", (2,), some_bytes(8, seed))])[0] for seed in (1, 2))
        other, _ = self.opened([("b", "float32", (2,), some_bytes(8))])
        assert one.fingerprint == two.fingerprint != other.fingerprint
        assert one.fingerprint.startswith("sha256:")
        assert len(one.fingerprint) == 71

    def test_says_which_format_it_is(self) -> None:
        contents, _ = self.opened([("a", "float32", (2,), some_bytes(8))])
        assert contents.format == self.format_name
