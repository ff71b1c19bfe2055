"""Files of the other containers with faults: a case of `tests.make.hostile`, its bytes or those of a record spoiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from tests.fuzz.programs import spoil, torch_pickle
from tests.make import archives, npy
from tests.make import pickles as p
from tests.make.hostile.case import FLOATS, healthy
from tests.make.hostile.containers import CONTAINERS
from tests.make.zips import Record, make_zip

_MOST = 20_000


@cache
def _seeds(kind: str) -> tuple[bytes, ...]:
    built = (case.build("") for case in CONTAINERS[kind].cases())
    return tuple(data for data in built if 8 < len(data) < _MOST)


def _spoiled(kind: str) -> Callable[[Random], bytes]:
    def make(random: Random) -> bytes:
        data = random.choice(_seeds(kind))
        if random.random() < 0.2:
            other = random.choice(_seeds(kind))
            at = random.randrange(len(data))
            data = data[:at] + other[at:]
        return spoil(random, data)

    return make


def _zipped(random: Random, records: list[Record]) -> bytes:
    for _ in range(random.choice((1, 1, 2))):
        record = random.choice(records)
        record.data = spoil(random, record.data)
        record.deflate = random.random() < 0.3
    data = make_zip(records).data
    return spoil(random, data) if random.random() < 0.2 else data


def npz_file(random: Random) -> bytes:
    """Arrays, some with a spoiled header."""
    records = []
    for n in range(random.randrange(1, 4)):
        descr = random.choice(
            ("'<f4'", "'>i2'", "'|b1'", "'|O'", "'<U3'", "[('a', '<f4')]", "'<c16'", "'<M8[ns]'", "7")
        )
        shape = random.choice(("()", "(4,)", "(2, 2)", "(0, 3)", "(-1,)", "(2**9,)", "(99999999999,)", "[1]"))
        text = npy.header_text(descr, random.choice(("True", "False", "None")), shape)
        array = npy.with_npy_header(text, FLOATS, random.choice((1, 2, 3)))
        records.append(Record(random.choice((f"x{n}.npy", "x.npy", "a/b.npy", "c.txt", "\u5c42.npy")), array))
    return _zipped(random, records)


def script_file(random: Random) -> bytes:
    """A program whose code, object or constants are spoiled."""
    code = {"__torch__/net.py": archives.script_class("Net", ["w", "x"], ["b"])}
    root = archives.script_object("__torch__.net.Net", [("w", healthy()), ("x", healthy()), ("b", b"N")])
    records = archives.script_records(root, code, {"0": FLOATS}, constants=[healthy()], constant_storages={"0": FLOATS})
    if random.random() < 0.3:
        for record in records:
            if record.name == "net/data.pkl":
                record.data = torch_pickle(random)
    return _zipped(random, records)


def pt2_file(random: Random) -> bytes:
    """An exported program whose lists of weights are spoiled."""
    odd = random.choice((0, 1, 2, 3, -1, 7, 2**40, 2**63))
    entry = archives.weight_entry("weight_0", random.choice((7, odd)), (2, odd), (2, 1), random.choice((0, odd)))
    good = archives.weight_entry("weight_0", 7, (2, 2), (2, 1))
    return _zipped(random, archives.pt2_records({"w": good, "x": entry}, {"weight_0": FLOATS}, constants={"c": entry}))


def nested_stream(random: Random) -> bytes:
    """The opcodes of a call of torch.storage._load_from_bytes on a spoiled stream."""
    raw = _spoiled("legacy")(random)
    return p.name("torch.storage", "_load_from_bytes") + b"B" + len(raw).to_bytes(4, "little") + raw + b"\x85R"


MAKERS: dict[str, Callable[[Random], bytes]] = {
    **{f"{kind}_file": _spoiled(kind) for kind in ("legacy", "tar", "npy", "bpk", "mpk")},
    "npz_file": npz_file,
    "script_file": script_file,
    "pt2_file": pt2_file,
}
