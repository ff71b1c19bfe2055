"""Pickles that would run something: by every opcode that calls, in every place where a value may stand."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterator

from tests.make import pickles as p
from tests.make.hostile.case import Case, fixed, healthy, program, saved

RUNS = "runs-a-program"


def _line(text: str) -> bytes:
    return b"V" + text.encode() + b"\n"


def _call(marker: str) -> bytes:
    return p.call(p.name("os", "mkdir"), p.text(marker))


def _map(marker: str) -> bytes:
    """``map(os.mkdir, [marker])``, made by the class's own __new__: it runs when something walks it."""
    return p.name("builtins", "map") + p.tuple_of(p.name("os", "mkdir"), p.list_of(p.text(marker)))


def _setstate(marker: str) -> bytes:
    """An object whose __setstate__ is a function of the file's choice: the second BUILD calls it."""
    made = p.call(p.name("types", "SimpleNamespace"))
    return made + p.dict_of((p.text("__setstate__"), p.name("os", "mkdir"))) + b"b" + p.text(marker) + b"b"


def _short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


_VALUES: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "reduce": (RUNS, _call),
    "inst": (RUNS, lambda m: b"(" + p.text(m) + b"ios\nmkdir\n"),
    "obj": (RUNS, lambda m: b"(" + p.name("os", "mkdir") + p.text(m) + b"o"),
    "newobj": (
        "runs-python",
        lambda m: p.name("builtins", "tuple") + _map(m) + b"\x81" + b"\x85\x81",
    ),
    "newobj-ex": (
        "runs-python",
        lambda m: p.name("builtins", "tuple") + _map(m) + b"}\x92" + b"\x85}\x92",
    ),
    "build": ("", _setstate),
    "stack-global": (RUNS, lambda m: p.text("os") + p.text("mkdir") + b"\x93" + p.text(m) + b"\x85R"),
    "memoised": (RUNS, lambda m: p.name("os", "mkdir") + b"q\x630h\x63" + p.text(m) + b"\x85R"),
    "popped": (RUNS, lambda m: _call(m) + b"0N"),
    "popped-to-mark": (RUNS, lambda m: b"(" + _call(m) + b"1N"),
    "in-state": (RUNS, lambda m: p.instance("types", "SimpleNamespace", p.dict_of((p.text("a"), _call(m))))),
    "as-key": (RUNS, lambda m: p.dict_of((_call(m), b"N"))),
    "in-a-list-in-a-tuple": (RUNS, lambda m: p.list_of(p.tuple_of(_call(m)))),
    "by-getattr": (
        "",
        lambda m: p.call(
            p.call(
                p.name("builtins", "getattr"), p.call(p.name("builtins", "__import__"), p.text("os")), p.text("mkdir")
            ),
            p.text(m),
        ),
    ),
    "by-eval": (
        "runs-python",
        lambda m: p.call(p.name("builtins", "eval"), p.text(f"__import__('os').mkdir({m!r})")),
    ),
    "by-system": (RUNS, lambda m: p.call(p.name("os", "system"), p.text(f"mkdir {m}"))),
    "by-private-twin": (RUNS, lambda m: p.call(p.name("posix", "mkdir"), p.text(m))),
    "by-apply": ("", lambda m: p.call(p.name("operator", "call"), p.name("os", "mkdir"), p.text(m))),
    "by-subprocess": (RUNS, lambda m: p.call(p.name("subprocess", "call"), p.list_of(p.text("mkdir"), p.text(m)))),
    "nested-bytes": (
        "",
        lambda m: p.call(p.name("pickle", "loads"), _bytes(p.pickle(_call(m)))),
    ),
    "dotted": (RUNS, lambda m: _short("os") + _short("path.os.mkdir") + b"\x93" + p.text(m) + b"\x85R"),
    "from-the-side": (RUNS, lambda m: _short("shutil") + _short("os.mkdir") + b"\x93" + p.text(m) + b"\x85R"),
    "computed-name": (
        "",
        lambda m: p.text("os") + p.call(_short("builtins") + _short("str.lower") + b"\x93", p.text("MKDIR")) + b"\x93"
        + p.text(m) + b"\x85R",
    ),
}  # fmt: skip


def _bytes(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def _by_protocol(version: int, marker: str) -> bytes:
    """What Python's own pickler makes of such a payload, put before the state_dict and dropped."""

    class Payload:
        def __reduce__(self) -> object:
            import os

            return os.mkdir, (marker,)

    written = pickle.dumps(Payload(), version)
    begin = 2 if version >= 2 else 0
    if version >= 4:
        begin += 9
    return saved(program(before=written[begin:-1] + b"0", version=version))


def _framed(marker: str) -> bytes:
    body = program(_call(marker), version=4)[2:]
    return saved(p.proto(4) + b"\x95" + struct.pack("<Q", len(body)) + body)


def _tensor_argument(marker: str) -> bytes:
    arguments = p.storage("0", 4) + p.number(0) + p.numbers((2, 2)) + p.numbers((2, 1)) + b"\x89" + _call(marker)
    spoiled = p.name("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"
    return saved(program(spoiled, version=4))


def cases() -> Iterator[Case]:
    for name, (code, value) in _VALUES.items():
        yield Case(
            f"runs-{name}", "finding", lambda m, value=value: saved(program(value(m), version=4)), code, runs=True
        )
    for version in range(6):
        yield Case(f"runs-protocol-{version}", "finding", lambda m, v=version: _by_protocol(v, m), RUNS, runs=True)
    yield Case("runs-in-a-frame", "finding", _framed, RUNS, runs=True)
    yield Case("runs-as-tensor-argument", "finding", _tensor_argument, RUNS, runs=True)
    yield Case("runs-before-a-break", "error", lambda m: saved(program(before=_call(m) + b"0" + b"\xff")), runs=True)
    yield Case("runs-behind-stop", "finding", lambda m: saved(program() + p.pickle(_call(m) + b"0" + healthy())), RUNS)
    yield Case("runs-by-import", "finding", lambda m: saved(program(p.name("bait", "act"))), "unknown-name", runs=True)
    yield Case("runs-deflated", "finding", lambda m: saved(program(_call(m)), deflate=True), RUNS, runs=True)
    for name, code in (("1", b"\x82\x07"), ("2", b"\x83\x07\x01"), ("4", b"\x84\x07\x00\x01\x00")):
        yield Case(f"extension-{name}", "finding", fixed(saved(program(code + b")R"))))
    numbers = p.number(1) + p.number(2) + b"\x93"
    yield Case("name-of-numbers", "finding", fixed(saved(program(numbers, version=4))))
    yield Case("call-of-a-number", "finding", fixed(saved(program(p.number(1) + b")R"))))
    yield Case("call-without-a-tuple", "finding", fixed(saved(program(p.name("os", "getcwd") + b"}R"))), RUNS)
    yield Case("persistent-id-of-a-call", "finding", lambda m: saved(program(_call(m) + b"Q")), RUNS, runs=True)
    yield Case("persistent-id-as-line", "finding", fixed(saved(program(b"P../../etc/passwd\n"))), "odd-pickle")
    yield Case("unknown-callable", "finding", fixed(saved(program(p.call(p.name("acme.ops", "fuse"))))), "unknown-name")
    state = p.dict_of((p.text("__class__"), p.name("os", "system")), (p.text("__dict__"), b"}"), (p.text("x"), b"N"))
    for name, node in (("list", b"]"), ("dict", b"}"), ("tensor", healthy()), ("object", p.instance("a", "B", b"}"))):
        yield Case(f"build-on-{name}", "finding", fixed(saved(program(node + state + b"b"))))
