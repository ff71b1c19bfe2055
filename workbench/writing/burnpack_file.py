"""Tensors as Burn's .bpk, in the layout of the Burn version that is to read it. The reader: formats/burnpack.py."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Final

import cbor2

from workbench.core.text import bytes_text
from workbench.errors import ExportError, printable
from workbench.formats.burn_dtypes import BURN_NAMES
from workbench.writing.items import Item, check_each, copy

__all__ = ["check_bpk", "param_id", "write_bpk"]

_ALIGN: Final = 256
_MAX_METADATA: Final = 100 << 20
_MAX_TENSORS: Final = 100_000
_MAX_BYTES: Final = 10 << 30
_RELEASES: Final = {"0.19": "0.19.1", "0.20": "0.20.1", "0.21": "0.21.0", "0.22": "0.22.1", "0.23": "0.23.0-pre.1"}
"""The release of burn-store whose layout is written, by version of Burn: what a file says of itself."""


def check_bpk(items: Sequence[Item], version: str) -> None:
    """Raise `ExportError` where Burn `version` has no .bpk, or one cannot hold these tensors."""
    if version not in _RELEASES:
        raise ExportError(
            f"Burn {printable(version, 40)} has no .bpk files.",
            cause=f"Those that have are {', '.join(_RELEASES)}. Nothing was changed.",
            next_step="Choose another format, or a later version of Burn.",
            code="no-burnpack",
        )
    check_each(items, _refusal, "a .bpk file")
    if len(items) > _MAX_TENSORS:
        raise ExportError(
            f"A .bpk file cannot hold {len(items):,} tensors.",
            cause=f"Burn reads {_MAX_TENSORS:,} of them at most. Nothing was changed.",
            next_step="Leave some out, or choose another format.",
            code="format-cannot-hold",
        )


def param_id(name: str) -> int:
    """A parameter's id, made of its name: the same each time, and never 0."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") or 1


def write_bpk(
    items: Sequence[Item],
    file: IO[bytes],
    *,
    version: str,
    ids: Callable[[str], int | None] = param_id,
    metadata: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """The file, data in the order of `items`. The CRC-32 of each tensor's bytes by name.

    `ids` gives a parameter's id by name, None for none; `metadata` stands in place of what the file says of itself.
    Raises `ExportError` where Burn would not read it for its size.
    """
    is_padded = version != "0.19"
    if metadata is None:
        metadata = {"format": "burnpack", "producer": "checkpoint-workbench", "version": _RELEASES[version]}
    at = 0
    described: dict[str, dict[str, object]] = {}
    starts = []
    for item in items:
        start = _rounded(at) if is_padded else at
        at = start + item.nbytes
        entry: dict[str, object] = {
            "dtype": _dtype(item, version),
            "shape": list(item.shape),
            "data_offsets": [start, at],
        }
        if (given := ids(item.name)) is not None:
            entry["param_id"] = given
        described[item.name] = entry
        starts.append(start)
    root: dict[str, object] = {"tensors": {name: described[name] for name in sorted(described, key=str.encode)}}
    if metadata:
        root["metadata"] = dict(sorted(metadata.items()))
    packed = cbor2.dumps(root)
    if (n := len(packed)) > _MAX_METADATA:
        raise ExportError(
            "The names make the head of model.bpk too long.",
            cause=f"It takes {bytes_text(n)}, Burn stops at {bytes_text(_MAX_METADATA)}. Nothing was changed.",
            next_step="Shorten the names with a rule, or choose another format.",
            code="header-too-large",
        )
    head = b"NRUB" + struct.pack("<HI", 1, n) + packed
    begin = _rounded(len(head)) if is_padded else len(head)
    file.write(head + bytes(begin - len(head)))
    crcs: dict[str, int] = {}
    at = 0
    for item, start in zip(items, starts, strict=True):
        file.write(bytes(start - at))
        crcs[item.name] = copy(item, file)
        at = start + item.nbytes
    return crcs


def _rounded(at: int) -> int:
    return -(-at // _ALIGN) * _ALIGN


def _dtype(item: Item, version: str) -> object:
    if item.dtype.name == "bool":
        return "Bool" if version in ("0.19", "0.20") else {"Bool": "Native"}
    return BURN_NAMES[item.dtype.name]


def _refusal(item: Item) -> str:
    if item.dtype.name not in BURN_NAMES:
        return "Burn has no such dtype"
    if item.nbytes > _MAX_BYTES:
        return f"Burn reads tensors of {bytes_text(_MAX_BYTES)} at most"
    try:
        item.name.encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode text"
    return ""
