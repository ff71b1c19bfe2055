"""Pickles that break the rules of the stack machine: cut, lying lengths, stack and memo faults, odd keys, cycles."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.make import pickles as p
from tests.make.hostile.case import Case, Outcome, fixed, healthy, program, saved

_Q = struct.Struct("<Q").pack
_I = struct.Struct("<I").pack


def _lies() -> Iterator[tuple[str, bytes]]:
    for name, opcode in (
        ("binunicode", b"X"), ("binbytes", b"B"), ("binstring", b"T"), ("long4", b"\x8b"),
    ):  # fmt: skip
        for n in (2**31 - 1, 2**32 - 1):
            yield f"{name}-{n}", opcode + _I(n)
    for name, opcode in (
        ("binunicode8", b"\x8d"), ("binbytes8", b"\x8e"), ("bytearray8", b"\x96"), ("frame", b"\x95"),
    ):  # fmt: skip
        for n in (2**40, 2**63, 2**64 - 1):
            yield f"{name}-{n}", opcode + _Q(n)
    for name, opcode in (("short-unicode", b"\x8c"), ("short-bytes", b"C"), ("short-string", b"U"), ("long1", b"\x8a")):
        yield name, opcode + b"\xff"


_FAULTS: dict[str, bytes] = {
    "unknown-opcode": b"\xf0",
    "pop-nothing": b"00",
    "tuple-without-mark": b"t",
    "reduce-nothing": b"0000R",
    "appends-without-mark": b"]e",
    "append-to-text": p.text("x") + b"Na",
    "setitem-on-tensor": healthy() + p.text("k") + b"Ns",
    "setitem-on-number": p.number(1) + p.text("k") + b"Ns",
    "setitems-odd": b"}(Nu",
    "additems-to-list": b"](N\x90",
    "obj-of-nothing": b"(o",
    "get-of-nothing": b"g7\n",
    "binget-of-nothing": b"h\xfe",
    "put-of-text": b"Npx\n",
    "put-of-minus-one": b"Np-1\n",
    "memo-number-of-ages": b"Np" + b"9" * 5000 + b"\n",
    "protocol-9": b"\x80\x09",
    "float-of-words": b"F__import__('os')\n",
    "float-of-underscores": b"F1_0\n",
    "int-of-words": b"Ieval\n",
    "int-in-octal": b"I010\n",
    "int-of-other-digits": "I٣\n".encode(),
    "long-of-words": b"Lnan\n",
    "text-not-utf-8": b"X\x02\x00\x00\x00\xff\xfe",
    "string-without-quotes": b"Sabc\n",
    "line-without-end": b"V" + b"a" * 100,
    "next-buffer": b"\x97",
    "readonly-buffer": b"N\x98",
}

_ODD_KEYS = {
    "nan": b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "tuple": b"K\x01K\x02\x86",
    "bytes": b"C\x02ab",
    "none": b"N",
    "call": p.call(p.name("acme", "f"), p.text("a")),
    "list": b"]",
    "dict": b"}",
    "big-number": b"\x8a\x20" + b"\x7f" * 32,
    "surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80",
}


def _cycles() -> Iterator[tuple[str, bytes]]:
    yield "dict-in-itself", b"}q\xf0" + p.text("me") + b"h\xf0s"
    yield "list-in-itself", b"]q\xf0h\xf0a"
    yield "list-through-tuple", b"]q\xf0h\xf0\x85a"
    yield "state-in-itself", p.name("a", "B") + b")\x81q\xf0" + b"}" + p.text("me") + b"h\xf0sb"
    inner = b"}q\xf1" + p.text("again") + b"h\xf0s"
    module_state = p.dict_of((p.text("_parameters"), b"}"), (p.text("_buffers"), b"}"), (p.text("_modules"), inner))
    yield "module-in-itself", p.name("nets", "Net") + b")\x81q\xf0" + module_state + b"b"
    tensors = p.dict_of((p.text("w"), healthy()))
    yield "dict-with-a-tensor-in-itself", tensors + b"q\xf0" + p.text("me") + b"h\xf0s"


def cases() -> Iterator[Case]:
    whole = saved(program(p.list_of(p.number(1), p.text("two"), b"G" + bytes(8))))
    for part in (1, 3, 30, 31, 200, len(whole) // 2, len(whole) - 23, len(whole) - 1):
        yield Case(f"cut-after-{part}", "error", fixed(whole[:part]))
    pickled = program(p.list_of(p.number(1), p.text("two"), b"G" + bytes(8)))
    for part in range(0, len(pickled), max(len(pickled) // 12, 1)):
        yield Case(f"cut-pickle-after-{part}", "error", fixed(saved(pickled[:part])))
    for name, lie in _lies():
        yield Case(f"length-of-{name}", "error", fixed(saved(program(lie, version=4))))
    for name, fault in _FAULTS.items():
        yield Case(f"fault-{name}", "error", fixed(saved(program(fault, version=5))))
    for name, data in (
        ("put", b"Np700000000\n0g700000000\n"), ("binput", b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff"),
        ("shuffled", b"Np7\n0Np3\n0N\x940g3\n"), ("over-again", b"Nq\x000K\x01q\x000h\x00"),
    ):  # fmt: skip
        yield Case(f"memo-{name}", "opens", fixed(saved(program(data, version=4))))
    for name, key in _ODD_KEYS.items():
        value = p.dict_of((key, healthy()), (key, healthy()), (p.text("ordinary"), healthy()))
        yield Case(f"key-{name}", "opens", fixed(saved(program(value, version=4))), readable=("healthy", "x0.ordinary"))
    for name, data in _cycles():
        more: tuple[str, ...] = ("healthy", "x0.w") if "tensor" in name else ("healthy",)
        yield Case(f"cycle-{name}", "opens", fixed(saved(program(data, version=4))), readable=more)
    odd: tuple[tuple[str, Outcome, bytes], ...] = (
        ("digits-5000", "opens", b"L" + b"9" * 5000 + b"L\n"),
        ("digits-a-million", "opens", b"I" + b"7" * 1_000_000 + b"\n"),
        ("long4-of-a-megabyte", "opens", b"\x8b" + _I(1 << 20) + b"\x7f" * (1 << 20)),
        ("surrogates", "opens", b"X\x06\x00\x00\x00\xed\xa0\x80\xed\xb0\x80"),
        ("python-2-bytes", "opens", b"U\x03\xff\xfea"),
        ("frame-inside-a-frame", "error", b"\x95" + _Q(20) + b"\x95" + _Q(1) + b"N" + b"N0" * 20),
        ("second-proto", "opens", b"\x80\x02N"),
    )
    for name, outcome, data in odd:
        yield Case(f"odd-{name}", outcome, fixed(saved(program(data, version=4))))
    twice = p.dict_of((p.text("w"), p.number(1)), (p.text("w"), healthy()))
    yield Case("key-twice", "opens", fixed(saved(program(twice))), readable=("healthy", "x0.w"))
