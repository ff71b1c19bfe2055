"""Zip files whose parts contradict each other, and zips that are more or less than a checkpoint."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.make import pickles as p
from tests.make.hostile.case import FLOATS, STORAGES, Case, Outcome, fixed, program, records, saved
from tests.make.zips import Record, make_zip, torch_records

_OTHER = struct.pack("<4f", 9, 9, 9, 9)


def _two_tensors(spoil: Any, **options: Any) -> bytes:
    """The healthy tensor and one more in data/1, whose record ``spoil`` changes."""
    made = torch_records(program(p.tensor("1", 4, (4,), (1,))), {"0": FLOATS, "1": _OTHER})
    spoiled = [each for record in made for each in (spoil(record) if record.name == "net/data/1" else [record])]
    return make_zip(spoiled, **options).data


def _with(record: Record, **fields: Any) -> list[Record]:
    return [replace(record, **fields)]


def _storages() -> Iterator[tuple[str, Outcome, Any]]:
    for kind in ("local", "central"):
        yield f"{kind}-encrypted", "unreadable" if kind == "central" else "finding", {kind: {"flags": 1}}
        yield f"{kind}-method-99", "unreadable" if kind == "central" else "finding", {kind: {"method": 99}}
    yield "central-strongly-encrypted", "unreadable", {"central": {"flags": 0x40}}
    yield "local-other-name", "finding", {"local": {"name": "net/data/7"}}
    yield "local-other-size", "finding", {"local": {"size": 4}}
    yield "local-size-2-32", "opens", {"local": {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}}
    yield "local-no-signature", "unreadable", {"local": {"signature": b"PK\x07\x08"}}
    yield "local-long-extra", "unreadable", {"local": {"n_extra": 60_000}}
    yield "local-long-name", "unreadable", {"local": {"n_name": 60_000}}
    yield "central-size-less", "unreadable", {"central": {"size": 8, "packed": 8}}
    yield "central-sizes-differ", "unreadable", {"central": {"size": 2**31}}
    yield "central-wrong-crc", "opens", {"central": {"crc": 0x12345678}}


def _end_lies() -> Iterator[tuple[str, dict[str, int]]]:
    yield "count-too-small", {"n_here": 2, "n_all": 2}
    yield "count-too-large", {"n_here": 900, "n_all": 900}
    yield "several-disks", {"n_here": 2}
    yield "size-zero", {"size": 0}
    yield "size-huge", {"size": 2**32 - 2}
    yield "begin-inside-a-record", {"begin": 40}
    yield "begin-outside", {"begin": 2**32 - 2}


def _zip64(field: str, value: int) -> bytes:
    data = bytearray(make_zip(records(), zip64=True).data)
    at = data.rfind(b"PK\x06\x06")
    place = {"n_here": at + 24, "n_all": at + 32, "size": at + 40, "begin": at + 48, "where": len(data) - 22 - 12}[
        field
    ]
    data[place : place + 8] = struct.pack("<Q", value)
    return bytes(data)


def zeros(n: int) -> bytes:
    """``n`` MiB of zeros, deflated: the same packed piece over and over."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = engine.compress(bytes(1 << 20)) + engine.flush(zlib.Z_FULL_FLUSH)
    return piece * n + engine.flush()


def packed_record(name: str, packed: bytes, size: int) -> Record:
    """A record whose bytes are deflated already."""
    lie = {"method": 8, "size": size}
    return Record(name, packed, local=lie, central=lie)


def _bombs() -> Iterator[Case]:
    n = 512
    numel = n << 18
    for where, offset in (("begin", 0), ("end", numel - 4)):
        made = torch_records(program(p.tensor("1", numel, (4,), (1,), offset=offset)), STORAGES)
        made.append(packed_record("net/data/1", zeros(n), n << 20))
        yield Case(f"bomb-storage-read-at-its-{where}", "opens", fixed(make_zip(made).data), metadata=2000, costly=True)
    made = torch_records(program(p.tensor("1", 4, (4,), (1,))), STORAGES)
    grows = packed_record("net/data/1", zeros(64), 16)
    yield Case("bomb-storage-larger-than-it-says", "opens", fixed(make_zip([*made, grows]).data))
    for name in ("data.pkl", "byteorder", "version"):
        spoiled = [r for r in records() if r.name != f"net/{name}"]
        spoiled.insert(0, packed_record(f"net/{name}", zeros(128), 128 << 20))
        outcome: Outcome = "error" if name != "version" else "opens"
        yield Case(f"bomb-{name}", outcome, fixed(make_zip(spoiled).data), metadata=2000, costly=name == "data.pkl")
    spoiled = [r for r in records() if r.name != "net/data.pkl"]
    spoiled.insert(0, packed_record("net/data.pkl", zeros(1)[:300], 1 << 20))
    yield Case("bomb-cut-off", "error", fixed(make_zip(spoiled).data))


def cases() -> Iterator[Case]:
    for name, outcome, fields in _storages():
        data = _two_tensors(lambda record, fields=fields: _with(record, **fields))
        yield Case(f"zip-{name}", outcome, fixed(data))
    yield Case("zip-storage-missing", "unreadable", fixed(_two_tensors(lambda r: [])))
    yield Case("zip-storage-short", "unreadable", fixed(_two_tensors(lambda r: [Record(r.name, r.data[:9])])))
    yield Case(
        "zip-storage-long", "finding", fixed(_two_tensors(lambda r: [Record(r.name, r.data * 3)])), "longer-storage"
    )
    yield Case("zip-storage-twice", "unreadable", fixed(_two_tensors(lambda r: [r, Record(r.name, FLOATS)])))
    case_equal = _two_tensors(lambda r: [r, Record("NET/DATA/1", FLOATS)])
    yield Case("zip-storage-names-equal-but-for-case", "unreadable", fixed(case_equal))
    for name, end in _end_lies():
        yield Case(f"zip-end-{name}", "error", fixed(make_zip(records(), end=end).data))
    for field in ("n_here", "n_all", "size", "begin", "where"):
        for value in (2**63, 2**64 - 1):
            yield Case(f"zip64-{field}-{value}", "error", fixed(_zip64(field, value)))
    healthy = records()
    for name in ("data.pkl", "version", "byteorder"):
        twice = [*healthy, Record(f"net/{name}", b"little")]
        yield Case(f"zip-{name}-twice", "error", fixed(make_zip(twice).data), "repeated-entry")
    other = Record("net/DATA.PKL", program(p.number(1)))
    yield Case("zip-data.pkl-in-two-cases", "error", fixed(make_zip([*healthy, other]).data), "repeated-entry")
    yield Case("zip-no-version", "finding", fixed(make_zip(records(version=False)).data), "no-version")
    yield Case("zip-odd-byteorder", "error", fixed(make_zip(records(byteorder="middle")).data), "byteorder")
    inside = [r if r.name != "net/data/0" else Record(r.name, r.data, central={"offset": 0}) for r in healthy]
    yield Case("zip-two-names-on-one-record", "error", fixed(make_zip(inside).data), "overlapping-entries")
    reaching = [r if r.name != "net/byteorder" else Record(r.name, r.data, central={"packed": 90, "size": 90})
                for r in healthy]  # fmt: skip
    yield Case("zip-record-over-the-next", "error", fixed(make_zip(reaching).data), "overlapping-entries")
    for value in (2**31, 2**32 - 2):
        far = [r if r.name != "net/data/0" else Record(r.name, r.data, central={"offset": value}) for r in healthy]
        yield Case(f"zip-record-at-{value}", "error", fixed(make_zip(far).data), "overlapping-entries")
    whole = make_zip(healthy).data
    yield Case("zip-bytes-behind-it", "finding", fixed(whole + b"more"), "bytes-after-zip")
    yield Case("zip-comment-cut", "finding", fixed(make_zip(healthy, comment=b"a" * 90).data[:-20]), "bytes-after-zip")
    yield Case("zip-bytes-in-front", "error", fixed(b"#!/bin/sh\n" + whole))
    yield Case("zip-second-zip-behind-it", "error", fixed(whole + make_zip(records(root="other")).data))
    roots = [*torch_records(program(), STORAGES, root="a"), *torch_records(program(), STORAGES, root="b")]
    yield Case("zip-two-roots", "finding", fixed(make_zip(roots).data))
    yield Case("zip-roots-but-not-the-first", "error", fixed(make_zip([Record("c/x", b""), *roots]).data))
    yield Case("zip-of-nothing", "error", fixed(make_zip([]).data))
    yield Case("zip-pickle-missing", "error", fixed(make_zip(healthy[1:]).data))
    yield Case("zip-pickle-encrypted", "error", fixed(
        make_zip([Record("net/data.pkl", program(), central={"flags": 1}), *healthy[1:]]).data
    ))  # fmt: skip
    yield Case("zip-pickle-by-method-12", "error", fixed(
        make_zip([Record("net/data.pkl", program(), central={"method": 12}), *healthy[1:]]).data
    ))  # fmt: skip
    for number, name in enumerate((
        "net/../../../etc/cron.d/x", "/etc/passwd", "C:\\Windows\\x", "net/\x1b[2J\x07", "net/<img src=x onerror=1>",
        "net/\u202egpj.exe", "net/" + "a" * 60_000, b"net/\xff\xfe", "", "net/data/", "net/data/0\0.txt",
    )):  # fmt: skip
        odd = Record("odd", b"x", local={"name": name}, central={"name": name})
        yield Case(f"zip-entry-name-{number}", "opens", fixed(make_zip([*healthy, odd]).data))
    for number, root in enumerate(("..", "/", "a/b", "\x1b[31m", "<script>alert(1)</script>", "")):
        yield Case(f"zip-root-{number}", "opens", fixed(saved(program(), root=root)), readable=())
    yield Case("control-deflated-whole", "opens", fixed(saved(program(), deflate=True)))
    yield Case("control-no-byteorder", "opens", fixed(saved(program(), byteorder=None)))
    yield Case("control-zip64", "opens", fixed(make_zip(healthy, zip64=True).data))
    yield Case("control-comment", "opens", fixed(make_zip(healthy, comment=b"written by hand").data))
    yield from _bombs()
