"""The other containers: legacy stream, tar, npz and npy, burnpack, Burn's records, shards, TorchScript, pt2."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import cbor2

from tests.make import archives, burnpack, legacy, mpk, npy
from tests.make import pickles as p
from tests.make.hostile.case import FLOATS, HEALTHY, Case, Outcome, fixed
from tests.make.zips import Record, make_zip

_HUGE = (-1, 0, 3, 5, 2**31, 2**40, 2**62, -(2**63))
_Row = tuple[str, Outcome, bytes]


def _legacy(**options: Any) -> list[bytes]:
    view = legacy.tensor(legacy.storage("a", 4), (2, 2), (2, 1))
    return legacy.stream_parts(p.ordered_dict((p.text(HEALTHY), view)), [("a", 4, FLOATS)], **options)


def _legacies() -> Iterator[_Row]:
    parts = _legacy()
    for n in _HUGE:
        yield f"count-{n}", "error", b"".join([*parts[:5], struct.pack("<q", n), FLOATS])
        view = legacy.tensor(legacy.storage("a", n), (2, 2), (2, 1))
        pair = (p.text(HEALTHY), legacy.tensor(legacy.storage("b", 4), (2, 2), (2, 1)))
        lying = legacy.stream(p.ordered_dict((p.text("x"), view), pair), ("a", 4, FLOATS), ("b", 4, FLOATS))
        # A storage grows with the views that leave it, so torch reads 0 and 3; with a larger claim its count is wrong,
        # and nothing tells where the next one lies. What is no number claims nothing, and the count says where it ends.
        claimed: Outcome = "finding" if n in (0, 3) else "error" if 0 <= n < 1 << 60 else "unreadable"
        yield f"claimed-{n}", claimed, lying
        odd = legacy.tensor(legacy.storage("a", 4), (2, 2), (2, 1), n)
        good = (p.text(HEALTHY), legacy.tensor(legacy.storage("a", 4), (2, 2), (2, 1)))
        if n:
            spoiled = legacy.stream(p.ordered_dict(good, (p.text("x"), odd)), ("a", 4, FLOATS))
            yield f"offset-{n}", "unreadable", spoiled
    whole = b"".join(parts)
    for at in range(len(parts[0]), len(whole), 7):
        yield f"cut-{at}", "error", whole[:at]
    for at in range(1, 5):
        yield f"without-part-{at}", "error", b"".join(parts[:at] + parts[at + 1 :])
    yield "more-behind", "finding", whole + b"\x80\x02cos\nsystem\n."
    yield "twice", "error", b"".join(_legacy(keys=["a", "a"]))
    yield (
        "none-listed",
        "unreadable",
        legacy.stream(p.ordered_dict((p.text("x"), legacy.tensor(legacy.storage("a", 4), (4,), (1,)))), keys=[]),
    )
    yield "keys-no-list", "error", b"".join([*parts[:4], p.pickle(p.dict_of()), *parts[5:]])
    yield "keys-without-end", "error", b"".join([*parts[:4], p.pickle(p.list_of(*[p.text("k")] * 50_000)), *parts[5:]])
    yield "keys-numbers", "error", b"".join([*parts[:4], p.pickle(p.list_of(p.number(1))), *parts[5:]])
    yield "deep-keys", "error", b"".join([*parts[:4], b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".", *parts[5:]])
    yield "version-huge", "error", b"".join(_legacy(version=b"\x8a\xff" + b"\x7f" * 255))
    yield "system-calls", "finding", b"".join(_legacy(system=p.pickle(p.name("os", "system") + b"U\x04trueq\x01\x85R")))
    nested = p.name("torch.storage", "_load_from_bytes") + b"B" + struct.pack("<I", len(whole)) + whole + b"\x85R"
    good_pair = (p.text(HEALTHY), legacy.tensor(legacy.storage("a", 4), (2, 2), (2, 1)))
    for name, views in {"outside": ("v", 3, 9), "negative": ("v", -1, 2), "huge": ("v", 2**40, 2**40)}.items():
        odd = legacy.tensor(legacy.storage("a", 4, view=views), (2,), (1,))
        yield (
            f"view-{name}",
            "unreadable",
            legacy.stream(p.ordered_dict(good_pair, (p.text("x"), odd)), ("a", 4, FLOATS)),
        )
    yield "inside-itself", "opens", legacy.stream(p.ordered_dict(good_pair, (p.text("x"), nested)), ("a", 4, FLOATS))


def _tars() -> Iterator[_Row]:
    def made(
        count: int = 4, offset: int = 0, shape: tuple[int, ...] = (2, 2), root: bytes = b"", **other: bytes
    ) -> bytes:
        members = {
            "sys_info": legacy.SYS_INFO,
            "pickle": p.pickle(root or p.ordered_dict((p.text(HEALTHY), legacy.tensor_id(7)))),
            "tensors": legacy.tar_tensors([(7, 3, shape, (2, 1)[-len(shape) :], offset)]),
            "storages": legacy.tar_storages([(3, "FloatStorage", count, FLOATS)]),
        } | other
        return b"".join(legacy.member(name, data) for name, data in members.items()) + bytes(1024)

    whole = made()
    for n in _HUGE:
        yield f"count-{n}", "error", made(count=n)
        if n:
            yield f"offset-{n}", "unreadable", made(offset=n)
    for at in range(0, len(whole) - 1024, 512):
        if at:
            yield f"cut-{at}", "error", whole[:at]
    sizes = {
        "negative": b"\xff" * 12,
        "huge": b"77777777777\0",
        "base256": b"\x80" + b"\0" * 7 + b"\xff" * 4,
        "signs": b"-0000000777\0",
        "words": b"abcdefghijkl",
        "nothing": bytes(12),
    }
    for name, size in sizes.items():
        yield f"size-{name}", "error", legacy.member("sys_info", b"x" * 600, size=size) + whole[1024:]
    for kind in b"123456Lgx":
        link = legacy.member("pickle", b"", kind=bytes([kind]))
        yield f"kind-{kind}", "error", whole[:1024] + link + whole[2048:]
    yield "twice", "error", legacy.member("pickle", p.pickle(p.dict_of())) + whole
    yield "outside", "opens", whole[:-1024] + legacy.member("../../up", b"x") + bytes(1024)
    yield "many-tensors", "error", made(tensors=p.pickle(p.number(2**40)))
    yield "negative-tensors", "error", made(tensors=p.pickle(p.number(-5)))
    many = p.pickle(p.number(1)) + p.pickle(p.tuple_of(p.number(7), p.number(3), p.name("torch", "FloatTensor")))
    yield "many-dimensions", "error", made(tensors=many + struct.pack("<ii", 2**31 - 1, 0))
    yield "many-storages", "error", made(storages=p.pickle(p.number(2**40)))
    yield "calls", "finding", made(sys_info=p.pickle(p.name("os", "system") + b"U\x04true\x85R"))


def _npys() -> Iterator[_Row]:
    text = npy.header_text(shape="(2, 2)")
    headers = {
        "code": "__import__('os').system('true')",
        "call": npy.header_text("f()"),
        "more": text[:-2] + "'x': 1, }",
        "missing": "{'descr': '<f4', }",
        "twice": "{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': ()}",
        "objects": npy.header_text("'|O'"),
        "nested": npy.header_text("[('a', '<f4')]"),
        "deep": npy.header_text("[" * 30_000),
        "deep-shape": npy.header_text(shape="(" * 30_000 + ")" * 30_000),
        "negative": npy.header_text(shape="(-1,)"),
        "huge": npy.header_text(shape="(1099511627776, 1099511627776)"),
        "digits": npy.header_text(shape="(" + "9" * 5000 + ",)"),
        "rank": npy.header_text(shape="(" + "1," * 900 + ")"),
        "float": npy.header_text(shape="(2.0,)"),
        "bool": npy.header_text(shape="(True,)"),
        "descr-huge": npy.header_text("'<f99999999999'"),
        "control": text + "\0\x1b[31m",
        "empty": "",
        "text": "hello",
    }
    opens = {"objects": "unreadable", "nested": "unreadable", "rank": "unreadable"}
    for name, header in headers.items():
        outcome: Outcome = "error"
        yield f"{name}", outcome if name not in opens else "unreadable", npy.with_npy_header(header, FLOATS)
    for length in (0, 1, 2**15, 2**16 - 1):
        yield f"length-{length}", "error", npy.with_npy_header(text, FLOATS, length=length)
    for length in (2**31, 2**32 - 1):
        yield f"length-{length}", "error", npy.with_npy_header(text, FLOATS, 2, length)
    for version in (0, 4, 255):
        yield f"version-{version}", "error", npy.with_npy_header(text, FLOATS, version)
    whole = npy.npy("<f4", (2, 2), FLOATS)
    for at in (6, 8, 9, 10, 40, 100, len(whole) - 1):
        yield f"cut-{at}", "error", whole[:at]


def _npzs() -> Iterator[_Row]:
    good = Record(f"{HEALTHY}.npy", npy.npy("<f4", (2, 2), FLOATS))
    for name, _, data in _npys():
        if not name.startswith("length-0"):
            # numpy.load opens the archive and fails at this array alone.
            yield f"npy-{name}", "unreadable", make_zip([good, Record("x.npy", data)]).data
    yield "twice", "unreadable", make_zip([good, Record("x.npy", good.data), Record("x.npy", bytes(9))]).data
    yield "outside", "opens", make_zip([good, Record("../../x.npy", good.data), Record("/etc/x.npy", good.data)]).data
    yield "names", "opens", make_zip([good, Record("a\x1b[31m\u202e.npy", good.data), Record(".npy", good.data)]).data
    zeros = npy.with_npy_header(npy.header_text(shape="(10000000,)"), bytes(40_000_000))
    packed = Record("x.npy", zeros)
    packed.deflate = True
    yield "deflated-zeros", "opens", make_zip([good, packed]).data
    short = Record("x.npy", npy.with_npy_header(npy.header_text(shape="(1000000,)"), FLOATS))
    short.deflate = True
    yield "deflated-short", "unreadable", make_zip([good, short]).data


def _burnpacks() -> Iterator[_Row]:
    tensors, data = burnpack.described([(HEALTHY, "F32", (2, 2), FLOATS)])

    def made(**entry: Any) -> bytes:
        odd = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | entry
        return burnpack.with_metadata({"tensors": tensors | {"x": odd}}, data)

    for n in (-1, 2**31, 2**40, 2**63, 2**64 - 1):
        yield f"end-{n}", "error", made(data_offsets=[0, n])
        yield f"begin-{n}", "error", made(data_offsets=[n, 16])
        yield f"size-{n}", "error" if n < 0 else "unreadable", made(shape=[n])
    for name, entry in {
        "text": "x",
        "deep": [[[]]],
        "many": [0, 16, 32],
        "float": [0.0, 16.0],
        "bool": [False, True],
        "none": None,
    }.items():
        yield f"offsets-{name}", "error", made(data_offsets=entry)
    yield "rank", "unreadable", made(shape=[1] * 200)
    # What one tensor alone says wrongly is no reason to lose the others, though Burn refuses the file for it.
    yield "overflow", "unreadable", made(shape=[2**40, 2**40])
    yield "overlap", "finding", made(data_offsets=[0, 16])
    yield "dtype", "unreadable", made(dtype="__import__('os')")
    yield "dtype-huge", "unreadable", made(dtype="x" * 100_000)
    yield "dtype-deep", "unreadable", made(dtype={"QFloat": {"a": {"b": [1] * 100}}})
    whole = burnpack.burnpack_file([(HEALTHY, "F32", (2, 2), FLOATS)])
    for at in (3, 4, 8, 9, 10, 11, 40, 100, len(whole) - 1):
        yield f"cut-{at}", "error", whole[:at]
    key = b"\x67tensors"
    raws = {
        "arrays": b"\x81" * 500_000,
        "maps": b"\xa1\x61a" * 200_000,
        "tags": b"\xc1" * 300_000,
        "count": b"\xbb" + b"\xff" * 8,
        "array-count": b"\xa1" + key + b"\x9b" + struct.pack(">Q", 2**40),
        "text-count": b"\x7b" + b"\xff" * 8,
        "break": b"\xff",
        "endless": b"\xbf" + key + b"\xbf",
        "chunks": b"\x7f" + b"\x60" * 100_000 + b"\xff",
        "bytes-key": b"\xa1\x41a\x01",
        "number-key": b"\xa1\x01\x01",
        "bad-text": b"\xa1\x62\xff\xfe\x01",
        "bignum": b"\xa1" + key + b"\xc2\x58\xff" + b"\xff" * 255,
        "shared": b"\xd8\x1c\x81\xd8\x1d\x00",
        "nothing": b"",
        "number": b"\x01",
        "reserved": b"\x1c",
        "undefined": b"\xf7",
        "many-empty": b"\x9a\x00\x07\xa1\x20" + b"\x80" * 500_000,
    }
    for name, raw in raws.items():
        yield f"cbor-{name}", "error", burnpack.with_metadata(raw)
    twice = cbor2.dumps({HEALTHY: tensors[HEALTHY]})[1:]
    yield "name-twice", "finding", burnpack.with_metadata(b"\xa1" + key + b"\xa2" + twice * 2, data)
    for n in (0, 1, 2**27, 2**32 - 1):
        yield f"length-{n}", "error", whole[:6] + struct.pack("<L", n) + whole[10:]
    yield "version", "error", whole[:4] + b"\xff\xff" + whole[6:]
    texts = {"a\x1b[31m": "\u202e<script>", "__proto__": "x"}
    yield (
        "texts",
        "opens",
        burnpack.burnpack_file(
            [(HEALTHY, "F32", (2, 2), FLOATS), ("../../x\x07", "F32", (2, 2), FLOATS)], metadata=texts
        ),
    )


def _mpks() -> Iterator[_Row]:
    good = mpk.parameter("F32", [2, 2], FLOATS)

    def made(item: Any) -> bytes:
        return mpk.record({HEALTHY: good, "x": item})

    for n in (-1, 2**31, 2**40, 2**63, 2**64 - 1):
        yield f"size-{n}", "unreadable", made(mpk.parameter("F32", [n], FLOATS))
    yield "rank", "unreadable", made(mpk.parameter("F32", [1] * 300, FLOATS))
    yield "overflow", "unreadable", made(mpk.parameter("F32", [2**40, 2**40], FLOATS))
    yield "dtype", "unreadable", made(mpk.parameter("\x1b[31m", [2], FLOATS))
    yield "dtype-map", "unreadable", made(mpk.parameter({"a": {"b": 1}}, [2], FLOATS))
    yield "bytes-none", "unreadable", made(mpk.parameter("F32", [2], "text"))
    yield "bytes-odd", "unreadable", made(mpk.parameter("F32", [1], [1, 2, 3, 4000]))
    raws = {
        "lists": b"\x91" * 500_000,
        "maps": b"\x81\xa1a" * 200_000,
        "count": b"\xdd\xff\xff\xff\xff",
        "map-count": b"\xdf\xff\xff\xff\xff",
        "text-count": b"\xdb\xff\xff\xff\xff",
        "bin-count": b"\xc6\xff\xff\xff\xff",
        "ext": b"\xc7\x04\x01abcd",
        "fixext": b"\xd8\x01" + bytes(16),
        "never": b"\xc1",
        "bad-text": b"\xa2\xff\xfe",
        "key-list": b"\x81\x91\x01\x01",
        "key-map": b"\x81\x80\x01",
        "key-float": b"\x81\xcb" + bytes(8) + b"\x01",
        "text-long": b"\xdb\x00\x20\x00\x00" + b"a" * (1 << 21),
    }
    for name, raw in raws.items():
        yield f"raw-{name}", "error", made(mpk.Raw(raw))
    whole = mpk.record({HEALTHY: good})
    for at in (12, 20, 40, 60, 100, len(whole) - 1):
        yield f"cut-{at}", "error", whole[:at]
    pair = mpk.pack(HEALTHY) + mpk.pack(good)
    yield "name-twice", "finding", mpk.record(mpk.Raw(b"\x82" + pair * 2))
    yield "many-empty", "error", made(mpk.Raw(b"\xdd\x00\x0f\x42\x40" + b"\x90" * 1_000_000))
    yield "texts", "opens", mpk.record({HEALTHY: good, "a\x1b[31m\u202e": "<script>alert(1)</script>"})
    yield "list-deep", "opens", made(mpk.Raw(b"\x91" * 900 + b"\x01"))


def _indices() -> Iterator[_Row]:
    def made(target: Any) -> bytes:
        return json.dumps({"metadata": {}, "weight_map": {"a": target}}).encode()

    for name, target in {
        "up": "../x.safetensors",
        "absolute": "/etc/hosts",
        "drive": "C:\\x.safetensors",
        "unc": "\\\\host\\x",
        "url": "https://a/b",
        "nul": "a\0b",
        "dots": "..",
        "dot": ".",
        "nothing": "",
        "number": 7,
        "none": None,
        "list": ["a"],
        "inner": "a/../../b",
        "surrogate": "\ud800",
        "long": "x" * 5000,
        "itself": "index-itself.safetensors.index.json",
    }.items():
        yield name, "error", made(target)
    yield "deep", "error", b'{"weight_map": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "twice", "error", b'{"weight_map": {"a": "b.safetensors", "a": "c.safetensors"}}'
    yield "number-long", "error", b'{"weight_map": {"a": ' + b"9" * 5000 + b"}}"
    yield "bad-text", "error", b'{"weight_map": {"\xff": "b.safetensors"}}'
    many = {f"k{n}": f"x{n}.safetensors" for n in range(10_001)}
    yield "shards-many", "error", json.dumps({"weight_map": many}).encode()
    yield "no-map", "error", b'{"weight_map": []}'
    yield "cut", "error", made("x.safetensors")[:-3]


def _scripts() -> Iterator[_Row]:
    code = {"__torch__/net.py": archives.script_class("Net", ["healthy", "x"])}

    def made(attributes: list[tuple[str, bytes]], code: dict[str, str] = code, **options: Any) -> bytes:
        root = archives.script_object("__torch__.net.Net", attributes)
        return make_zip(archives.script_records(root, code, {"0": FLOATS}, **options)).data

    good = ("healthy", p.tensor("0", 4, (2, 2), (2, 1)))
    yield "healthy", "opens", made([good])
    for n in (-1, 5, 2**40, 2**62):
        yield f"offset-{n}", "unreadable", made([good, ("x", p.tensor("0", 4, (2,), (1,), offset=n))])
        yield f"storage-{n}", "unreadable", made([good, ("x", p.tensor("9", n, (2,), (1,)))])
    for name, text in {
        "deep": "__parameters__ = " + "[" * 100_000,
        "quotes": '__parameters__ = ["' + "\\" * 100_001,
        "classes": "class A:\n" * 50_000,
        "octal": '__parameters__ = ["\\999\\377\\000"]',
        "nothing": "",
        "control": "\0\x1b[31m",
        "bases": "class A(" * 20_000,
    }.items():
        yield f"code-{name}", "opens", made([good], {"__torch__/net.py": f"class Net(Module):\n  {text}\n"})
    yield "code-outside", "opens", made([good], code | {"../../../x.py": "x", "/abs.py": "y"})
    yield "deep", "opens", made([good, ("x", b"]" * 100_000 + b"a" * 99_999)])
    yield "calls", "finding", made([good, ("x", p.name("os", "system") + b"U\x04true\x85R")])
    yield "constants-call", "finding", made([good], constants=[p.name("os", "system") + b"U\x04true\x85R"])


def _pt2s() -> Iterator[_Row]:
    good = archives.weight_entry("weight_0", 7, (2, 2), (2, 1))

    def made(config: Any, **options: Any) -> bytes:
        return make_zip(archives.pt2_records(config, {"weight_0": FLOATS}, **options)).data

    yield "healthy", "opens", made({HEALTHY: good})
    for n in (-1, 5, 2**40, 2**63, 2**70):
        others = {
            f"offset-{n}": archives.weight_entry("weight_0", 7, (2,), (1,), n),
            f"size-{n}": archives.weight_entry("weight_0", 7, (n,), (1,)),
            f"stride-{n}": archives.weight_entry("weight_0", 7, (3,), (n,)),
            f"dtype-{n}": archives.weight_entry("weight_0", n + 99, (2,), (1,)),
        }
        for name, entry in others.items():
            # torch refuses the whole program; each weight stands for itself, so the others are read.
            # A number of 2**64 and up is no JSON of torch's, whatever it stands for.
            yield name, "unreadable" if n < 2**64 else "error", made({HEALTHY: good, "x": entry})
    for name in ("../data", "/etc/hosts", "", "a\0b", "weight_9", "x" * 5000, "\ud800"):
        entry = archives.weight_entry(name, 7, (2, 2), (2, 1))
        slug = "".join(c if c.isalnum() and c.isascii() else "-" for c in name[:20])
        yield f"path-{slug}", "unreadable", made({HEALTHY: good, "x": entry})
    raws = {
        "deep": b'{"config": ' + b"[" * 100_000,
        "list": b"[]",
        "nothing": b"",
        "bad-text": b'{"config": {"\xff": 1}}',
        "twice": b'{"config": {"a": 1, "a": 2}}',
        "nan": b'{"config": {"a": NaN}}',
        "cut": b'{"config": {"a": {',
    }
    for name, raw in raws.items():
        yield f"json-{name}", "error", made(raw)
    records = archives.pt2_records({HEALTHY: good}, {"weight_0": FLOATS})
    yield "weight-twice", "unreadable", make_zip([*records, Record("net/data/weights/weight_0", bytes(16))]).data
    yield (
        "config-twice",
        "error",
        make_zip([*records, Record("net/data/weights/model_weights_config.json", b"{}")]).data,
    )


_KINDS = {
    "legacy": (_legacies, ".pt"),
    "tar": (_tars, ".pt"),
    "npy": (_npys, ".npy"),
    "npz": (_npzs, ".npz"),
    "bpk": (_burnpacks, ".bpk"),
    "mpk": (_mpks, ".mpk"),
    "index": (_indices, ".safetensors.index.json"),
    "script": (_scripts, ".pt"),
    "pt2": (_pt2s, ".pt2"),
}
# Of these no tensor is the healthy one, or none can be read.
_ALONE = ("legacy-none-listed", "tar-offset-", "script-code-", "pt2-weight-twice")


class _Family:
    """The files of one container."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def cases(self) -> Iterator[Case]:
        rows, suffix = _KINDS[self.kind]
        for name, outcome, data in rows():
            full = f"{self.kind}-{name}"
            is_alone = full.startswith(_ALONE) or self.kind in ("npy", "index")
            readable = () if is_alone else (HEALTHY,)
            listed = () if outcome != "unreadable" or is_alone else ("x",)
            # An index counts for every file in its folder, so it gets one of its own.
            yield Case(
                full,
                outcome,
                fixed(data),
                readable=readable,
                suffix=suffix,
                costly=self.kind == "index",
                unreadable=listed,
            )


CONTAINERS = {kind: _Family(kind) for kind in _KINDS}
