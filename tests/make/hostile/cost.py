"""Files that cost more than they weigh: depth, sharing, objects per byte, repeated work; and one honest large one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.make import pickles as p
from tests.make.hostile.case import HEALTHY, STORAGES, Case, Outcome, fixed, healthy, program, saved
from tests.make.zips import make_zip, torch_records

_DEEP = 1_000_000
_LEVEL = {
    "lists": (b"]", b"a"),
    "tuples": (b"", b"\x85"),
    "dicts": (b"}U\x01a", b"s"),
    "states": (b"cacme\nB\n)\x81", b"b"),
    "calls": (b"cacme\nf\n", b"\x85R"),
    "mixed": (b"]}U\x01acacme\nB\n)\x81", b"\x85bsa"),
    "marks": (b"(", b"t"),
}


def _deep(kind: str) -> bytes:
    before, after = _LEVEL[kind]
    n = _DEEP // {"mixed": 4, "tuples": 2}.get(kind, 1)
    return before * n + healthy() + after * n


def _doubling(kind: str, leaf: bytes, levels: int = 40) -> bytes:
    """Forty levels of ``[x, x]``: a handful of bytes, and a million million leaves for whoever follows them."""
    out = [leaf, b"r\x00\x01\x00\x00"]
    for level in range(levels):
        slot = b"j" + struct.pack("<I", 256 + level)
        pair = {"lists": b"0](" + slot * 2 + b"e", "tuples": slot + b"\x86",
                "dicts": b"0}(U\x01a" + slot + b"U\x01b" + slot + b"u"}[kind]  # fmt: skip
        out.append(pair + b"r" + struct.pack("<I", 257 + level))
    return b"".join(out)


# What one opcode makes, over and over; the first part stands once in front.
_MANY = {
    "lists": (b"", b"]"), "dicts": (b"", b"}"), "sets": (b"", b"\x8f"), "marks": (b"", b"("), "nones": (b"", b"N"),
    "memos": (b"N", b"\x94"), "tuples": (b"N", b"\x85"), "floats": (b"", b"G@\t!\xfbTD-\x18"),
    "numbers": (b"", b"M\xff\xfe"), "texts": (b"", b"\x8c\x02\xc3\xbf"), "bytes": (b"", b"C\x02ab"),
    "names": (b"", b"ca\nb\n"), "calls": (b"cacme\nf\n", b")R"), "objects": (b"cacme\nB\n", b")\x81"),
    "persistent-ids": (b"N", b"Q"), "extensions": (b"", b"\x82\x01"), "duplicates": (b"}", b"2"),
    "builds": (b"N", b"Nb"),
}  # fmt: skip

_POPPED = {
    "nones": b"N0", "dicts": b"}0", "calls": b"h\x00)R0", "builds": b"Nb", "tuples": b"(N(NNt\x860",
    "memos": b"q\x07q\x08",
}  # fmt: skip


def _repeated() -> Iterator[tuple[str, Outcome, bytes]]:
    """One large value, and a call of 3 to 20 bytes that walks it, again and again."""
    n, times = 50_000, 20_000
    items = p.list_of(*[b"N"] * n) + b"r\x00\x02\x00\x000"
    get = b"j\x00\x02\x00\x00"
    for name, function in (("set", p.name("builtins", "set")), ("frozenset", p.name("builtins", "frozenset")),
                           ("size", p.name("torch", "Size"))):  # fmt: skip
        one = b"j\x01\x02\x00\x00" + get + b"\x85R0"
        yield name, "error", items + function + b"r\x01\x02\x00\x000" + one * times + b"N"
    pairs = p.list_of(*[b"NN\x86"] * n) + b"r\x00\x02\x00\x000"
    function = p.name("collections", "OrderedDict") + b"r\x01\x02\x00\x000"
    yield "ordered-dict", "error", pairs + function + (b"j\x01\x02\x00\x00" + get + b"\x85R0") * times + b"N"
    long_text = p.text("é" * n) + b"r\x00\x02\x00\x000" + p.name("_codecs", "encode") + b"r\x01\x02\x00\x000"
    encode = b"j\x01\x02\x00\x00" + get + b"U\x06latin1\x86R"
    yield "encode-kept", "error", long_text + b"(" + encode * times + b"t0N"
    for name, size in (("shape", b"K\x01"), ("shape-of-huge", b"\x8a\x08" + b"\xff" * 7 + b"\x7f")):
        shape = b"(" + size * n + b"tr\x00\x02\x00\x000"
        view = (
            p.name("torch._utils", "_rebuild_tensor_v2")
            + b"r\x01\x02\x00\x000"
            + p.storage("0", 4)
            + b"r\x02\x02\x00\x000"
        )
        one = b"j\x01\x02\x00\x00(j\x02\x02\x00\x00K\x00" + get * 2 + b"\x89}tR0"
        yield name, "error", shape + view + one * times + b"N"
    text_key = p.text("k" * 500_000) + b"r\x00\x02\x00\x000"
    inner = b"(" + b"".join(b"}" + get + b"K\x01s" for _ in range(20_000)) + b"t"
    yield "one-key-in-many-dicts", "opens", text_key + inner
    odd = b"".join(b"J" + struct.pack("<i", 70_000 + i) + b"Nb0" for i in range(100_000))
    yield "odd-things-without-end", "finding", odd + b"N"
    names = b"".join(b"cacme\nf%d\n0" % i for i in range(90_000))
    yield "unknown-names-without-end", "finding", names + b"N"


def _deflated(name: str, one: bytes) -> Case:
    head = p.proto(2) + p.name("acme", "f") + b"q\x000" + b"N"
    body = head + one * (15_000_000 // len(one)) + p.STOP
    records = torch_records(body, STORAGES)
    records[0].deflate = True
    return Case(f"deflated-opcodes-{name}", "error", fixed(make_zip(records).data), costly=True, metadata=16_000)


def _shared_key(wide: bool) -> bytes:
    """A dict of one long key in another of one long key, .., with a thousand tensors at the end."""
    tensors = p.dict_of(*((p.text(f"{n}"), b"j\x00\x02\x00\x00") for n in range(1000)))
    once = healthy() + b"r\x00\x02\x00\x000"
    key = p.text(("\U0001f984" if wide else "k") * 200_000)
    return once + b"}" + key + tensors + b"s"


def cases() -> Iterator[Case]:
    for kind in _LEVEL:
        yield Case(f"deep-{kind}", "opens", lambda m, kind=kind: saved(program(_deep(kind), version=4)), costly=True)
    for kind in ("lists", "tuples", "dicts"):
        plain, full = _doubling(kind, b"]"), _doubling(kind, healthy())
        yield Case(f"doubling-{kind}", "opens", fixed(saved(program(plain))))
        if kind == "lists":
            continue
        yield Case(f"doubling-{kind}-of-tensors", "error", fixed(saved(program(full))), "too-many-tensors", costly=True)
    rows = _doubling("tuples", healthy(), 19)
    yield Case("doubling-half-a-million-rows", "error", fixed(saved(program(rows))), "too-many-tensors", costly=True)
    for name, (first, one) in _MANY.items():
        n = 1_500_000 // len(one)
        build = lambda m, first=first, one=one, n=n: saved(program(b"(" + first + one * n + b"1N", version=4))  # noqa: E731
        outcome: Outcome = "error" if name in _TOO_MANY else "opens"
        yield Case(f"many-{name}", outcome, build, costly=True)
    for name, one in _POPPED.items():
        yield _deflated(name, one)
    for name, outcome, data in _repeated():
        yield Case(f"again-{name}", outcome, lambda m, data=data: saved(program(data, version=4)), costly=True)
    for wide in (False, True):
        yield Case(f"text-of-keys-{'wide' if wide else 'plain'}", "error", fixed(saved(program(_shared_key(wide)))),
                   "too-many-tensors", costly=True)  # fmt: skip
    many = p.list_of(*[p.tensor("0", 4, (2,), (1,), offset=n % 3) for n in range(20_000)])
    yield Case("many-tensors-on-one-storage", "opens", lambda m: saved(program(many)), costly=True)
    crowd = {str(n): b"" for n in range(60_000)}
    yield Case("many-records", "opens", lambda m: saved(program(), STORAGES | {f"e{k}": v for k, v in crowd.items()}),
               costly=True)  # fmt: skip
    yield Case("control-honest-100000", "opens", lambda m: saved(_honest(100_000), STORAGES), costly=True)


_TOO_MANY = frozenset({"dicts", "sets", "tuples", "calls", "objects", "persistent-ids", "marks", "lists", "builds"})


def _honest(n: int) -> bytes:
    """A state_dict of ``n`` tensors as torch writes it, with memo numbers, all on the healthy storage."""
    function = p.name("torch._utils", "_rebuild_tensor_v2") + b"q\x01"
    out = [p.proto(), b"}q\x00(", p.text(HEALTHY), healthy()]
    for i in range(n):
        again = function if i == 0 else b"h\x01"
        slots = [b"r" + struct.pack("<I", 10 + 2 * i + more) for more in (0, 1)]
        view = p.storage("0", 4) + b"K\x00K\x02K\x02\x86K\x02K\x01\x86\x89}t"
        out.append(p.text(f"layers.{i}.weight") + slots[0] + again + b"(" + view + slots[1] + b"R")
    return b"".join([*out, b"u."])
