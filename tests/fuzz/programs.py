"""Structures with faults, drawn from random numbers: pickle programs, zips, safetensors headers, mapping.json."""

from __future__ import annotations

import json
import pickle
import struct
from random import Random
from typing import Any

from tests.make import pickles as p
from tests.make.hostile.case import STORAGES, healthy, program
from tests.make.safetensors import with_header
from tests.make.zips import Record, make_zip, torch_records
from workbench.formats.pickle.opcodes import NAMES

_TEXTS = ("", "a", "w.b", "层", "\x1b[1m", "_parameters", "_modules", "conj", "storage", "0", "cpu", "../x", "a\ud800")
_NUMBERS = (0, 1, 2, 3, 4, 5, -1, 255, 256, 2**31 - 1, -(2**31), 2**31, 2**40, 2**63 - 1, 2**63, 2**64, -(2**70))
_NAMES = (
    ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_parameter"), ("torch", "FloatStorage"), ("torch", "LongStorage"), ("torch", "Size"),
    ("torch", "float16"), ("torch", "device"), ("torch._utils", "_rebuild_qtensor"), ("builtins", "set"),
    ("torch._utils", "_rebuild_sparse_tensor"), ("torch._tensor", "_rebuild_from_type_v2"), ("os", "system"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"), ("torch._utils", "_rebuild_wrapper_subclass"),
    ("_codecs", "encode"), ("builtins", "bytearray"), ("builtins", "complex"), ("nets", "Net"), ("acme", "f"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"), ("numpy", "dtype"),
    ("numpy", "ndarray"), ("torch.storage", "_load_from_bytes"), ("collections", "defaultdict"),
)  # fmt: skip


def value(random: Random, depth: int = 0, *, names: bool = True) -> bytes:
    """Opcodes that leave one value; without `names` all of it is plain."""
    kinds = 13 if names else 8
    kind = random.randrange(kinds if depth < 4 else 4)
    if kind == 0:
        return random.choice((b"N", b"\x88", b"\x89", b")", b"G" + random.randbytes(8), b"F1.5\n", b"I01\n", b"I7\n"))
    if kind in (1, 2):
        return p.number(random.choice(_NUMBERS)) if kind == 1 else p.text(random.choice(_TEXTS))
    if kind == 3:
        raw = random.randbytes(random.randrange(5))
        return random.choice((b"C" + bytes([len(raw)]) + raw, b"\x8c\x02ab", b"Vab\n", b"\x8a\x02\x00\x01", b"L12L\n"))
    inner = [value(random, depth + 1, names=names) for _ in range(random.randrange(4))]
    if kind == 4:
        return p.list_of(*inner)
    if kind == 5:
        return p.tuple_of(*inner)
    if kind in (6, 7):
        return p.dict_of(*((p.text(random.choice(_TEXTS)), each) for each in inner))
    if kind == 8:
        return p.name(*random.choice(_NAMES))
    if kind == 9:
        return p.name(*random.choice(_NAMES)) + p.tuple_of(*inner) + random.choice((b"R", b"\x81"))
    if kind == 10:
        return p.instance(*random.choice(_NAMES), inner[0] if inner else b"N")
    if kind == 11:
        shape = [random.choice((0, 1, 2, 3, 2**20, 2**40, -1)) for _ in range(random.randrange(4))]
        strides = [random.choice((0, 1, 2, 3, -1, 2**62)) for _ in shape]
        kind_name = random.choice(("FloatStorage", "ByteStorage", "BoolStorage", "ComplexFloatStorage", "Nothing"))
        return p.tensor(random.choice("0019"), random.choice((4, 16, 1)), shape, strides,
                        offset=random.choice((0, 1, 3, 2**50, -1)), kind=kind_name)  # fmt: skip
    return p.module(parameters=[("w", healthy())], buffers=[(random.choice(_TEXTS[:5]), each) for each in inner])


def plain_program(random: Random) -> bytes:
    """A pickle of plain values with memo traffic; what Python's own machine makes of it is right."""
    parts = []
    memo = 0
    for _ in range(random.randrange(1, 6)):
        parts.append(value(random, 1, names=False))
        choice = random.randrange(5)
        if choice == 0:
            parts.append(b"q" + bytes([memo]))
            memo += 1
        elif choice == 1 and memo:
            parts.append(b"0h" + bytes([random.randrange(memo)]))
        elif choice == 2:
            parts.append(random.choice((b"2\x86", b"\x85", b"20")))
    return p.proto(random.choice((2, 3, 4))) + p.tuple_of(*parts) + b"."


def spoil(random: Random, data: bytes) -> bytes:
    """Some bytes changed, cut, doubled or put in; opcodes more often than noise."""
    changed = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        choice = random.randrange(6)
        if choice == 0 and changed:
            changed[at % len(changed)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        elif choice == 1:
            changed[at:at] = bytes([random.choice(tuple(NAMES))])
        elif choice == 2:
            del changed[at : at + random.randrange(1, 9)]
        elif choice == 3:
            changed[at:at] = changed[at : at + random.randrange(1, 40)]
        elif choice == 4 and random.randrange(4) == 0:
            del changed[at:]
        else:
            changed[at:at] = random.choice(
                (
                    struct.pack("<I", 2**31),
                    struct.pack("<Q", 2**63),
                    b"\xff" * 4,
                    b"j\x00\x00\x00\x00",
                    b"0",
                    b"R",
                    b"b",
                )
            )
    return bytes(changed)


def torch_pickle(random: Random) -> bytes:
    """A state_dict of values, some of them nonsense."""
    return spoil(
        random, program(*(value(random) for _ in range(random.randrange(1, 5))), version=random.choice((2, 4)))
    )


def zip_file(random: Random) -> bytes:
    """A torch.save file in whose headers some fields lie."""
    records = torch_records(
        torch_pickle(random),
        STORAGES,
        deflate=random.random() < 0.2,
        byteorder=random.choice((None, "little", "big")),
        version=random.random() < 0.9,
    )
    for _ in range(random.choice((0, 1, 1, 2))):
        record = random.choice(records)
        fields = random.choice((record.local, record.central))
        name = random.choice(
            ("flags", "method", "crc", "packed", "size", "offset", "name", "extra", "n_name", "n_extra")
        )
        fields[name] = _field(random, name)
    if random.random() < 0.2:
        twin = random.choice(records)
        records.insert(random.randrange(len(records) + 1), Record(twin.name.swapcase(), random.randbytes(16)))
    end = {}
    if random.random() < 0.2:
        end = {random.choice(("n_here", "n_all", "size", "begin")): random.choice((0, 1, 5, 400, 2**15, 2**16 - 1))}
    data = make_zip(records, end=end, zip64=random.random() < 0.2).data
    return spoil(random, data) if random.random() < 0.4 else data


def _field(random: Random, name: str) -> Any:
    if name == "name":
        return random.choice(("", "net/", "net/data.pkl", "net/data/0", b"\xff\0", "x" * 3000, "other/data.pkl"))
    if name == "extra":
        return random.choice((b"", b"\x01\x00\x18\x00" + b"\xff" * 24, b"\x01\x00\xff\xff", b"abc"))
    if name in ("packed", "size", "offset", "crc"):
        return random.choice((0, 1, 15, 17, 64, 300, 2**31, 2**32 - 1))
    return random.choice((0, 1, 8, 9, 0x40, 99, 2**16 - 1))


def safetensors_file(random: Random) -> bytes:
    """A header of tensors that tile, more or less."""
    header: dict[str, Any] = {}
    data = b""
    for _ in range(random.randrange(4)):
        shape = [random.choice((0, 1, 2, 3)) for _ in range(random.randrange(3))]
        n = 4
        for size in shape:
            n *= size
        entry: dict[str, Any] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + n]}
        if random.random() < 0.25:
            entry[random.choice(("dtype", "shape", "data_offsets", "more"))] = random.choice(
                ("F64", "BF16", "F4", None, 7, [], [-1], [2**63, 2], [2**64, 0], [1.5], [True], {}, "x" * 999, [[]])
            )
        header[random.choice(_TEXTS[:-1])] = entry
        data += random.randbytes(n)
    if random.random() < 0.2:
        header["__metadata__"] = random.choice(({"a": "b"}, {"a": 1}, "x", None, {"a": None}))
    raw = json.dumps(header, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    if random.random() < 0.5:
        raw = spoil(random, raw)
    length = None if random.random() < 0.9 else random.choice((0, 1, len(raw) + 1, 2**31, 2**63, 2**64 - 1))
    return with_header(raw, data, length)


def mapping_json(random: Random) -> bytes:
    """A mapping.json with fields of other types, or broken JSON."""
    odd = (None, True, 7, 1.5, "x", "0.22", [], {}, [[]], [{}], {"version": "9.9"}, {"version": 7}, "(", 10**400)
    rule: dict[str, Any] = {"pattern": random.choice((r"a\.(.*)", "(", "", "x{99999}", "\x00")), "replacement": "$1"}
    rule["enabled"] = True
    made: dict[str, Any] = {
        "schema": "checkpoint-workbench/mapping", "version": 1, "burn": None, "top_level_key": None,
        "rules": [rule], "reindex": True,
    }  # fmt: skip
    for _ in range(random.choice((0, 1, 2))):
        made[random.choice(tuple(made))] = random.choice(odd)
    if random.random() < 0.2:
        rule[random.choice(tuple(rule))] = random.choice(odd)
    raw = json.dumps(made).encode()
    return spoil(random, raw) if random.random() < 0.5 else raw


def plain(tree: bytes) -> object:
    """What Python's machine makes of a program without names."""
    return pickle.loads(tree)
