"""Burn's named MessagePack records (.mpk), written by NamedMpkFileRecorder up to Burn 0.21.

``{"metadata": {..}, "item": record, "_b": []}``; in the record, structs are maps and lists of modules are arrays, and
a parameter is ``{"id": text, "param": {"bytes": bin, "shape": [..], "dtype": ..}}`` (burn-core, 0.14 to 0.21).
"""

from __future__ import annotations

import math
import re
from typing import Final

from workbench.core.source import ByteSource, MemorySource
from workbench.core.tensor import MAX_RANK, DType, Storage, TensorRef, contiguous_strides
from workbench.core.tree import Dict, Name, brief
from workbench.errors import NotACheckpointError, OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.burn_dtypes import burn_dtype
from workbench.formats.contents import Contents, fingerprint, table
from workbench.formats.msgpack import Bin, MsgpackProblem, walk

__all__ = ["name", "read", "sniff"]

name: Final = "mpk"

_START: Final = re.compile(
    rb"(?:[\x81-\x8f]|\xde..|\xdf....)(?:(?:[\xa2-\xa8]|\xd9.|\xc4.)(?:metadata|item|_b)"
    rb"|[\xa0-\xbf].{0,32}\xa8metadata[\x80-\x8f])",
    re.DOTALL,
)
_LISTED: Final = 20
_LIMIT: Final = 1 << 64
_TENSOR: Final = ("bytes", "shape", "dtype", "value")
_UNKNOWN: Final = DType("unknown", 0, None)


def sniff(source: ByteSource) -> bool:
    """Whether a map begins the file and ``metadata`` or ``item`` is among its first keys."""
    return _START.match(source.read_exact(0, min(source.size, 256))) is not None


def read(source: ByteSource) -> Contents:
    """The parameters in the order of the record. OpenError where it is broken or ends too early."""
    record = _Record(source)
    try:
        root, end, seen = walk(source, record.close)
    except MsgpackProblem as problem:
        raise OpenError(
            "This Burn record is cut off." if problem.is_cut else "This Burn record is broken.",
            path=source.path or source.name,
            place=f"byte {problem.at:,}",
            cause=str(problem),
            next_step="Fetch it again, or save it again with Burn.",
            code="cut-off" if problem.is_cut else "broken-record",
        ) from None
    if not isinstance(root, Dict) or "item" not in root:
        raise NotACheckpointError(
            "This MessagePack file has no `item`, so it is no record of Burn.",
            path=source.path or source.name,
            next_step="Choose a file that NamedMpkFileRecorder wrote.",
            code="no-record",
        )
    tree = root["item"]
    for key in ("metadata", "_b"):
        if key not in root:
            record.note("no-" + key.strip("_"), Severity.WARNING, f"It has no `{key}`: Burn refuses this file.")
    if end < source.size:
        text = f"{source.size - end:,} bytes follow the record; Burn ignores them."
        record.note("bytes-behind", Severity.NOTE, text, f"byte {end:,}")
    if record.n_repeated:
        text = f"{record.n_repeated:,} fields stand twice in their struct; the last of each is shown."
        record.note("repeated-name", Severity.WARNING, text)
    told = root.get("metadata")
    metadata = {}
    if isinstance(told, Dict):
        metadata = {str(key): value if isinstance(value, str) else brief(value) for key, value in told.pairs}
    tensors = table(tree)
    record.note_unfit(tensors)
    return Contents(name, tree, tensors, tuple(record.findings), metadata, fingerprint(seen))


class _Record:
    """Turns the maps of the file that are parameters into tensors."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.findings: list[Finding] = []
        self.n_repeated = 0
        self.n_longer = 0

    def note(self, code: str, severity: Severity, text: str, place: str = "record") -> None:
        self.findings.append(Finding(code, severity, place, text))

    def close(self, node: Dict) -> object:
        """What stands for a map that has just ended: a tensor, a parameter's tensor, or the map itself."""
        self.n_repeated += node.n_repeated
        if sum(node.get(key) is not None for key in _TENSOR) > 1:
            return self.tensor(node)
        inner = node.get("param")
        if "id" in node and isinstance(inner, TensorRef):
            return inner
        return Dict((key, _inert(value)) for key, value in node.pairs)

    def tensor(self, node: Dict) -> TensorRef:
        """A tensor without its key, which depends on where it hangs."""
        written = node.get("dtype")
        found = burn_dtype(dict(written.pairs) if isinstance(written, Dict) else written)
        dtype, unreadable = found or (_UNKNOWN, f"its dtype {brief(written, 40)} is not known")
        if "value" in node and "bytes" not in node:
            dtype, unreadable = _UNKNOWN, "it was written before Burn 0.14, as numbers without a type"
        shape, odd = _shape(node.get("shape"))
        unreadable = odd or unreadable
        storage = self.storage(node.get("bytes"))
        needed = math.prod(shape) * dtype.itemsize
        if not unreadable and storage is None:
            unreadable = "its bytes are none"
        elif not unreadable and storage is not None:
            if needed > storage.nbytes:
                unreadable = f"it holds {storage.nbytes:,} bytes, but its shape needs {needed:,}"
            elif needed < storage.nbytes:
                self.n_longer += 1
        return TensorRef(
            "", (), dtype, shape, contiguous_strides(shape), 0, storage or Storage("none", 0, None),
            unreadable=unreadable,
        )  # fmt: skip

    def storage(self, node: object) -> Storage | None:
        """Where the bytes lie. Burn also reads them from a list of numbers; those are in memory by now."""
        if isinstance(node, Bin):
            return Storage(f"byte {node.begin}", node.nbytes, self.source, node.begin)
        if isinstance(node, list) and all(type(each) is int and 0 <= each < 256 for each in node):
            data = bytes(node)
            return Storage(f"list {id(node)}", len(data), MemorySource(data, self.source.name))
        return None

    def note_unfit(self, tensors: tuple[TensorRef, ...]) -> None:
        unfit = [tensor for tensor in tensors if tensor.unreadable]
        for tensor in unfit[:_LISTED]:
            text = f"The tensor cannot be read: {tensor.unreadable}."
            self.note("unreadable-tensor", Severity.ERROR, text, f"tensor {printable(tensor.key, 120)!r}")
        if len(unfit) > _LISTED:
            text = f"{len(unfit) - _LISTED:,} more tensors cannot be read."
            self.note("unreadable-tensor", Severity.ERROR, text)
        if self.n_longer:
            text = f"{self.n_longer:,} tensors hold more bytes than their shape needs; the rest is ignored, as in Burn."
            self.note("longer-tensor", Severity.WARNING, text)


def _inert(node: object) -> object:
    """Bytes that belong to no tensor, by their size alone."""
    if isinstance(node, Bin):
        return Name(f"{node.nbytes:,} bytes")
    if isinstance(node, list) and any(isinstance(each, Bin) for each in node):
        return [_inert(each) if isinstance(each, Bin) else each for each in node]
    return node


def _shape(node: object) -> tuple[tuple[int, ...], str]:
    if not isinstance(node, list) or not all(type(size) is int and 0 <= size < _LIMIT for size in node):
        return (), "its shape is no list of sizes"
    if len(node) > MAX_RANK:
        return (), f"it has {len(node):,} dimensions, numpy takes {MAX_RANK}"
    if math.prod(node) >= 1 << 63 or max(node, default=0) >= 1 << 63:
        return (), "its shape has more elements than memory can address"
    return tuple(node), ""
