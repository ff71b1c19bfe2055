"""Zip files in which any field of any header can lie."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Record:
    """One entry; `local` and `central` override fields of its two headers by name."""

    name: str
    data: bytes
    deflate: bool = False
    align: int = 0
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)


@dataclass
class Zip:
    """The bytes of a zip and where its parts begin."""

    data: bytes
    boundaries: list[int]
    offsets: dict[str, int]


def _raw(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


def make_zip(
    records: Sequence[Record], *, end: dict[str, int] | None = None, comment: bytes = b"", zip64: bool = False
) -> Zip:
    """Headers like torch's: no sizes in front of the data, alignment by an extra field."""
    out = bytearray()
    directory = bytearray()
    boundaries: list[int] = []
    offsets: dict[str, int] = {}
    for record in records:
        packed = record.data
        if record.deflate:
            engine = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = engine.compress(record.data) + engine.flush()
        fields: dict[str, Any] = {
            "signature": b"PK\x03\x04",
            "flags": 0,
            "method": 8 if record.deflate else 0,
            "crc": 0,
            "packed": len(packed),
            "size": len(record.data),
            "name": record.name,
            "extra": b"",
        }
        local = fields | record.local
        begin = len(out)
        offsets[record.name] = begin
        if record.align:
            pad = -(begin + 30 + len(_raw(local["name"])) + 4) % record.align
            local["extra"] = b"FB" + struct.pack("<H", pad) + b"Z" * pad
        boundaries.append(begin)
        out += struct.pack(
            "<4s5H3L2H",
            local["signature"],
            0,
            local["flags"],
            local["method"],
            0,
            0,
            local["crc"],
            local["packed"],
            local["size"],
            local.get("n_name", len(_raw(local["name"]))),
            local.get("n_extra", len(local["extra"])),
        )
        out += _raw(local["name"]) + local["extra"]
        boundaries.append(len(out))
        out += packed
        central = fields | {"signature": b"PK\x01\x02", "offset": begin} | record.central
        sizes = (central["packed"], central["size"], central["offset"])
        if zip64:
            central["extra"] = struct.pack("<2H3Q", 1, 24, sizes[1], sizes[0], sizes[2])
            sizes = (0xFFFFFFFF,) * 3
        directory += struct.pack(
            "<4s6H3L5H2L",
            central["signature"],
            0,
            0,
            central["flags"],
            central["method"],
            0,
            0,
            central["crc"],
            sizes[0],
            sizes[1],
            len(_raw(central["name"])),
            len(central["extra"]),
            0,
            0,
            0,
            0,
            sizes[2],
        )
        directory += _raw(central["name"]) + central["extra"]
    start = len(out)
    boundaries.append(start)
    out += directory
    boundaries.append(len(out))
    last = {"n_here": len(records), "n_all": len(records), "size": len(directory), "begin": start} | (end or {})
    if zip64:
        at = len(out)
        fields64 = (last["n_here"], last["n_all"], last["size"], last["begin"])
        out += struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *fields64)
        out += struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
        last = {"n_here": 0xFFFF, "n_all": 0xFFFF, "size": 0xFFFFFFFF, "begin": 0xFFFFFFFF}
    out += struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, last["n_here"], last["n_all"], last["size"], last["begin"], len(comment)
    )
    return Zip(bytes(out) + comment, [*boundaries, len(out)], offsets)


def torch_records(
    data_pkl: bytes,
    storages: dict[str, bytes],
    *,
    root: str = "net",
    deflate: bool = False,
    byteorder: str | None = "little",
    version: bool = True,
) -> list[Record]:
    """The records of a torch.save file in the order torch writes them."""
    records = [Record(f"{root}/data.pkl", data_pkl, deflate)]
    if byteorder is not None:
        records.append(Record(f"{root}/byteorder", byteorder.encode(), deflate))
    records += [Record(f"{root}/data/{key}", data, deflate, align=64) for key, data in storages.items()]
    if version:
        records.append(Record(f"{root}/version", b"3\n", deflate))
    return records


def torch_zip(data_pkl: bytes, storages: dict[str, bytes], **options: Any) -> bytes:
    """A torch.save file."""
    return make_zip(torch_records(data_pkl, storages, **options)).data
