"""Burn's burnpack (.bpk): a CBOR map of descriptors, then the bytes of the tensors.

Magic ``NRUB``, u16 version, u32 length of the map, the map, data. Two layouts share version 1 (burn-store 0.19 and
burn-store or burn-pack from 0.20 on): the older one packs the data right behind the map, the newer one begins them,
and each tensor, at a multiple of 256.
"""

from __future__ import annotations

import math
from typing import Final

from workbench.core.source import MAX_READ, ByteSource
from workbench.core.tensor import MAX_RANK, UNKNOWN, DType, Storage, TensorRef, contiguous_strides
from workbench.core.tree import Dict
from workbench.core.written import Written
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.burn_dtypes import burn_dtype
from workbench.formats.cbor import CborProblem, decode
from workbench.formats.contents import Contents, fingerprint
from workbench.formats.limits import MAX_CBOR, MAX_ROWS

__all__ = ["name", "read", "sniff"]

name: Final = "burnpack"

_MAGIC: Final = b"NRUB"
_ALIGN: Final = 256
_LIMIT: Final = 1 << 64
_LISTED: Final = 20
_MAX_RANK: Final = 255
_MAX_ELEMENTS: Final = 1 << 63


def sniff(source: ByteSource) -> bool:
    """Whether the magic begins the file."""
    return source.size >= 4 and source.read_exact(0, 4) == _MAGIC


def read(source: ByteSource) -> Contents:
    """Tensors in the order of the map. OpenError where the map is broken or the file shorter than it says."""
    return _Reader(source).read()


class _Reader:
    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.findings: list[Finding] = []
        self.unfit: list[tuple[str, str]] = []
        self.bool_spelling = ""
        self.padding = 0

    def error(self, cause: str, *, place: str = "metadata", code: str = "broken-metadata") -> OpenError:
        return OpenError(
            "This burnpack file is cut off." if code == "cut-off" else "This burnpack file is broken.",
            path=self.source.path or self.source.name,
            place=place,
            cause=cause,
            next_step="Fetch it again, or save it again with Burn.",
            code=code,
        )

    def read(self) -> Contents:
        source = self.source
        if source.size < 10:
            raise self.error(f"It has {source.size:,} bytes; its first part alone takes 10.", place="", code="cut-off")
        head = source.read_exact(0, 10)
        version, n = int.from_bytes(head[4:6], "little"), int.from_bytes(head[6:10], "little")
        if version > 1:
            cause = f"It is of version {version:,}; versions up to 1 are known."
            raise self.error(cause, place="byte 4", code="unknown-version")
        if n > MAX_CBOR:
            cause = f"Its metadata should take {n:,} bytes; the limit is {MAX_CBOR:,}, as in Burn."
            raise self.error(cause, place="byte 6", code="too-big")
        if 10 + n > source.size:
            cause = f"Its metadata should end at byte {10 + n:,}, but it ends at {source.size:,}."
            raise self.error(cause, place="byte 6", code="cut-off")
        raw = b"".join(source.read_exact(10 + at, min(MAX_READ, n - at)) for at in range(0, n, MAX_READ))
        try:
            root, end, n_lost = decode(raw)
        except CborProblem as problem:
            raise self.error(f"Its metadata is no CBOR of the expected kind: {problem}.") from None
        if n_lost:
            text = f"{n_lost:,} names stand in the metadata more than once; the last of each counts, as in Burn."
            self.note("repeated-name", Severity.WARNING, text)
        if end != n:
            self.note("bytes-in-metadata", Severity.NOTE, f"{n - end:,} bytes follow the metadata within its length.")
        entries = root.get("tensors") if isinstance(root, dict) else None
        if not isinstance(root, dict) or not isinstance(entries, dict):
            raise self.error("Its metadata holds no map `tensors`.")
        if len(entries) > MAX_ROWS:
            raise self.error(f"It lists {len(entries):,} tensors; the limit is {MAX_ROWS:,}.", code="too-many-tensors")
        metadata = self.metadata(root.get("metadata", {}))
        described = [(key, *self.described(key, entry)) for key, entry in entries.items()]
        begin = self.data_begin(10 + n, [(first, last) for *_, first, last in described], metadata.get("version", ""))
        tensors = tuple(self.tensor(*each, begin) for each in described)
        self.note_ranges([(first, last, key) for key, *_, first, last in described])
        self.note_unfit()
        tree: list[tuple[object, object]] = [(tensor.key, tensor) for tensor in tensors]
        tree += [(key, value) for key, value in self.scalars(root.get("scalars", {})) if key not in entries]
        written = Written(bool_spelling=self.bool_spelling, padding=self.padding)
        findings = tuple(self.findings)
        return Contents(name, Dict(tree), tensors, findings, metadata, fingerprint(head, raw), written=written)

    def note(self, code: str, severity: Severity, text: str, place: str = "metadata") -> None:
        self.findings.append(Finding(code, severity, place, text))

    def metadata(self, node: object) -> dict[str, str]:
        if not isinstance(node, dict):
            raise self.error("`metadata` is no map.")
        for key, value in node.items():
            if not isinstance(value, str):
                raise self.error(f"`metadata` {printable(key, 80)!r} is no text.")
        return node

    def scalars(self, node: object) -> list[tuple[str, object]]:
        """The numbers that Burn's records of optimizers hold, each ``{"Float": 0.5}`` or the like."""
        if not isinstance(node, dict):
            raise self.error("`scalars` is no map.")
        found: list[tuple[str, object]] = []
        for key, value in node.items():
            inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None
            if not isinstance(inner, (bool, int, float)):
                raise self.error(f"`scalars` {printable(key, 80)!r} is no number.")
            found.append((key, inner))
        return found

    def described(self, key: str, entry: object) -> tuple[DType, str, tuple[int, ...], int, int]:
        """Dtype, why it cannot be read, shape, and where its bytes begin and end in the data."""
        place = f"tensor {printable(key, 200)!r}"
        if not isinstance(entry, dict):
            raise self.error("Its entry is no map.", place=place)
        found = burn_dtype(entry.get("dtype"))
        if found is None:
            # The other tensors do not hang on it: a later Burn may well know more dtypes.
            shown = printable(repr(entry.get("dtype"))[:200], 60)
            found = UNKNOWN, f"its dtype {shown} is not known, and Burn refuses the whole file for it"
        shape, offsets = _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
        if shape is None:
            raise self.error("Its shape is no list of sizes.", place=place)
        if offsets is None or len(offsets) != 2:
            raise self.error("Its data_offsets are not two counts of bytes.", place=place)
        if len(shape) > _MAX_RANK:
            raise self.error(f"It has {len(shape):,} dimensions; Burn takes {_MAX_RANK}.", place=place)
        first, last = offsets
        if first > last:
            raise self.error(f"Its data should end at {last:,}, before they begin at {first:,}.", place=place)
        if entry.get("param_id") is not None and _counts([entry["param_id"]]) is None:
            raise self.error("Its param_id is no count.", place=place)
        dtype, unreadable = found
        written = entry.get("dtype")
        if written == "Bool":
            self.bool_spelling = "text"
        elif isinstance(written, dict) and "Bool" in written:
            self.bool_spelling = "map"
        return dtype, unreadable, shape, first, last

    def data_begin(self, packed: int, ranges: list[tuple[int, int]], written_by: str) -> int:
        """Where the data begin. OpenError when the file ends before they do."""
        last = max((end for _, end in ranges), default=0)
        padded = -(-packed // _ALIGN) * _ALIGN
        size = self.source.size
        if not ranges:
            return min(padded, size)
        if written_by:
            is_packed = written_by.startswith("0.19.")
        else:
            is_packed = size == packed + last and _tiles(ranges)
        begin = packed if is_packed else padded
        if begin + last > size:
            cause = f"It should have {begin + last:,} bytes, but {size:,} are here."
            raise self.error(cause, place="data", code="cut-off")
        if is_packed and packed != padded and last:
            text = (
                "The data follow the metadata without padding, as Burn 0.19 writes them: Burn 0.20 and 0.21 read "
                "wrong values from this file without an error, later ones refuse it."
            )
            self.note("packed-layout", Severity.WARNING, text, "data")
        self.padding = begin - packed
        if begin + last < size:
            text = f"{size - begin - last:,} bytes follow the last tensor; Burn ignores them."
            self.note("bytes-behind", Severity.NOTE, text, f"byte {begin + last:,}")
        return begin

    def tensor(
        self, key: str, dtype: DType, unreadable: str, shape: tuple[int, ...], first: int, last: int, begin: int
    ) -> TensorRef:
        """The row."""
        if not unreadable:
            needed = math.prod(shape) * dtype.itemsize
            if len(shape) > MAX_RANK:
                unreadable = f"it has {len(shape):,} dimensions, numpy takes {MAX_RANK}"
            elif max(shape, default=0) >= _MAX_ELEMENTS or needed >= _MAX_ELEMENTS:
                unreadable = "its shape has more elements than memory can address"
            elif needed != last - first:
                unreadable = f"it spans {last - first:,} bytes, but its shape needs {needed:,}"
        if unreadable:
            self.unfit.append((key, unreadable))
        storage = Storage(f"data/{first}-{last}", last - first, self.source, begin + first)
        return TensorRef(key, (key,), dtype, shape, contiguous_strides(shape), 0, storage, unreadable=unreadable)

    def note_unfit(self) -> None:
        for key, why in self.unfit[:_LISTED]:
            text = f"The tensor cannot be read: {why}."
            self.note("unreadable-tensor", Severity.ERROR, text, f"tensor {printable(key, 120)!r}")
        if len(self.unfit) > _LISTED:
            text = f"{len(self.unfit) - _LISTED:,} more tensors cannot be read."
            self.note("unreadable-tensor", Severity.ERROR, text)

    def note_ranges(self, ranges: list[tuple[int, int, str]]) -> None:
        """Tensors that share bytes, which Burn's own writers never make."""
        shared: list[str] = []
        at, before = 0, ""
        for first, last, key in sorted(ranges):
            if first < at and first < last:
                shared.append(f"{printable(key, 120)} with {printable(before, 120)}")
            if last >= at:
                at, before = last, key
        if shared:
            listed = ", ".join(shared[:_LISTED]) + (", …" if len(shared) > _LISTED else "")
            self.note("shared-bytes", Severity.WARNING, f"Tensors lie on the same bytes: {listed}.", "data")


def _tiles(ranges: list[tuple[int, int]]) -> bool:
    at = 0
    for first, last in sorted(ranges):
        if first != at:
            return False
        at = last
    return True


def _counts(values: object) -> tuple[int, ...] | None:
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value < _LIMIT for value in values):
        return None
    return tuple(values)
