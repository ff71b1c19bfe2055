"""One numpy array as a file has it: its header parsed by a grammar of three keys, nothing evaluated.

The header is the text of a Python dict, ``{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }``, after magic,
version and length: numpy/lib/_format_impl.py, versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from workbench.core.tensor import DTYPES, MAX_RANK, DType, Storage, TensorRef, contiguous_strides
from workbench.errors import printable
from workbench.finding import Finding, Severity
from workbench.formats.limits import MAX_NPY_HEADER

__all__ = ["MAGIC", "BadHeader", "Header", "Notes", "header_bytes", "parse", "tensor_of"]

MAGIC: Final = b"\x93NUMPY"
_FIRST: Final = 128
"""Bytes of an array looked at first: the header of nearly every one ends within them."""
_MAX_FINDINGS: Final = 20
_MAX_ELEMENTS: Final = 1 << 63

_KEY: Final = re.compile(r"\s*(?:'(\w{1,20})'|\"(\w{1,20})\")\s*:\s*", re.ASCII)
_BOOL: Final = re.compile(r"True|False")
_SHAPE: Final = re.compile(r"\(\s*(?:([0-9]{1,20}L?(?:\s*,\s*[0-9]{1,20}L?){0,999})\s*(,)?\s*)?\)", re.ASCII)
_TEXT: Final = re.compile(r"'([^'\\]{0,200})'|\"([^\"\\]{0,200})\"")
_COMMA: Final = re.compile(r"\s*,")
_BRACKETS: Final = re.compile(r"[\[\]()]|'[^'\\]*'|\"[^\"\\]*\"")
_DESCR: Final = re.compile(r"([<>|=])([biufcOSUVMm])([0-9]{0,9})(\[[\w/ ]{1,40}\])?", re.ASCII)
_NUMBERS: Final = {
    "b1": "bool",
    "i1": "int8",
    "i2": "int16",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "u2": "uint16",
    "u4": "uint32",
    "u8": "uint64",
    "f2": "float16",
    "f4": "float32",
    "f8": "float64",
    "c8": "complex64",
    "c16": "complex128",
}
_SIZES: Final = {"f": (10, 12, 16), "c": (20, 24, 32), "M": (8,), "m": (8,), "O": (0, 4, 8)}
_OTHERS: Final = {
    "O": ("object", "it holds Python objects, as a pickle"),
    "S": ("bytes", "it holds byte strings"),
    "U": ("str", "it holds texts"),
    "M": ("datetime64", "it holds dates"),
    "m": ("timedelta64", "it holds spans of time"),
    "f": ("longdouble", "its numbers differ between machines"),
    "c": ("clongdouble", "its numbers differ between machines"),
}


class BadHeader(ValueError):
    """What is wrong with an array's header, as a sentence; ``code`` is the slug for it."""

    def __init__(self, cause: str, code: str = "broken-header") -> None:
        super().__init__(cause)
        self.code = code


@dataclass(frozen=True, slots=True)
class Header:
    """What an array says of itself; ``size`` are the bytes before its data."""

    raw: bytes
    dtype: DType
    unreadable: str
    byteswap: bool
    fortran: bool
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.raw)


def header_bytes(size: int, head: Callable[[int], bytes]) -> bytes:
    """Magic to the end of the text; its length is checked before it is read."""
    first = head(min(size, _FIRST))
    if not first.startswith(MAGIC):
        raise BadHeader("It does not begin as a numpy array.")
    if len(first) < 12:
        raise BadHeader("It ends within its header.", "cut-off")
    major, minor = first[6], first[7]
    if major not in (1, 2, 3) or minor != 0:
        raise BadHeader(f"It is of version {major}.{minor}; 1.0 to 3.0 are known.", "unknown-version")
    width = 2 if major == 1 else 4
    n = int.from_bytes(first[8 : 8 + width], "little")
    end = 8 + width + n
    if n > MAX_NPY_HEADER:
        raise BadHeader(f"Its header should take {n:,} bytes; the limit is {MAX_NPY_HEADER:,}.", "too-big")
    if end > size:
        raise BadHeader(f"Its header should end at byte {end:,}, but it ends at {size:,}.", "cut-off")
    return first[:end] if end <= len(first) else head(end)


def parse(raw: bytes) -> Header:
    """What those bytes say. `BadHeader` where numpy would not have written them."""
    try:
        text = raw[10 if raw[6] == 1 else 12 :].decode("utf-8" if raw[6] == 3 else "latin-1")
    except UnicodeDecodeError:
        raise BadHeader("Its header is not UTF-8.") from None
    text = text.strip(" \t\n\0")
    if text[:1] != "{" or text[-1:] != "}":
        raise BadHeader("Its header is no dict.")
    at, stop = 1, len(text) - 1
    values: dict[str, str] = {}
    while True:
        key = _KEY.match(text, at, stop)
        if key is None:
            break
        word = key[1] or key[2]
        end = _value_end(text, word, key.end(), stop)
        if word in values:
            raise BadHeader(f"Its header says {printable(word, 40)!r} twice.")
        values[word] = text[key.end() : end]
        at = end
        comma = _COMMA.match(text, at, stop)
        if comma is None:
            break
        at = comma.end()
    if text[at:stop].strip() or set(values) != {"descr", "fortran_order", "shape"}:
        raise BadHeader("Its header does not hold descr, fortran_order and shape alone.")
    dtype, unreadable, byteswap = _dtype(values["descr"])
    shape = tuple(int(number) for number in re.findall("[0-9]+", values["shape"]))
    if math.prod(shape) >= _MAX_ELEMENTS:
        raise BadHeader("Its shape overflows.")
    return Header(raw, dtype, unreadable, byteswap, values["fortran_order"] == "True", shape)


def _value_end(text: str, word: str, at: int, stop: int) -> int:
    if word == "fortran_order":
        found = _BOOL.match(text, at, stop)
    elif word == "shape":
        found = _SHAPE.match(text, at, stop)
        if found is not None and found[1] and "," not in found[1] and not found[2]:
            found = None
    elif word == "descr" and text[at : at + 1] in ("[", "("):
        return _closing(text, at, stop)
    elif word == "descr":
        found = _TEXT.match(text, at, stop)
    else:
        raise BadHeader(f"Its header says {printable(word, 40)!r}, which numpy does not write.")
    if found is None:
        raise BadHeader(f"In its header, the value of {word} is none that numpy writes.")
    return found.end()


def _closing(text: str, at: int, stop: int) -> int:
    """Where the bracket at ``at`` closes; brackets inside texts do not count."""
    depth = 0
    for mark in _BRACKETS.finditer(text, at, stop):
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    raise BadHeader("In its header, the value of descr does not end.")


def _dtype(written: str) -> tuple[DType, str, bool]:
    """The element type, why it cannot be read ("" if it can), and whether its bytes are big endian."""
    if written[0] in "[(":
        return DType("record", 0, None), "its elements are records of several fields", False
    match = _DESCR.fullmatch(written[1:-1])
    if match is None:
        raise BadHeader(f"Its type {printable(written, 60)} is not known.", "unknown-dtype")
    order, kind, size, unit = match[1], match[2], match[3], match[4] or ""
    plain = _NUMBERS.get(kind + size)
    if plain and not unit:
        return DTYPES[plain], "", order == ">"
    if kind in "biu" or int(size or 0) not in _SIZES.get(kind, (int(size or 0),)):
        raise BadHeader(f"Its type {printable(written, 60)} is not known.", "unknown-dtype")
    n = int(size or 0) * (4 if kind == "U" else 1)
    if kind == "V":
        why = f"its elements are {n:,} raw bytes each; numpy so stores types it does not know, bfloat16 among them"
        return DType(f"void{n * 8}", n * 8, None), why, False
    if kind == "O":
        n = 0
    word, why = _OTHERS[kind]
    return DType(word + unit, n * 8, None), why, order == ">"


def tensor_of(
    key: str, path: tuple[str, ...], header: Header, storage: Storage, at: int, notes: Notes, place: str
) -> TensorRef:
    """The row; ``at`` is where the data begin in the storage, in bytes."""
    dtype, shape, unreadable = header.dtype, header.shape, header.unreadable
    needed = math.prod(shape) * dtype.bits // 8
    there = storage.nbytes - at
    strides = contiguous_strides(shape)
    if header.fortran:
        strides = tuple(reversed(contiguous_strides(shape[::-1])))
    if len(shape) > MAX_RANK:
        unreadable = f"it has {len(shape):,} dimensions, numpy takes {MAX_RANK}"
    elif max(shape, default=0) >= 1 << 63:
        unreadable = "its shape has more elements than memory can address"
    elif needed > there and not unreadable:
        unreadable = f"it needs {needed:,} bytes, but {there:,} are there"
        notes.add("short-array", Severity.ERROR, place, f"The array cannot be read: {unreadable}.")
    elif needed < there and not unreadable:
        text = f"{there - needed:,} bytes follow the values of the array; numpy ignores them."
        notes.add("longer-array", Severity.WARNING, place, text)
    offset = 0
    if at and not unreadable:
        offset, odd = divmod(at, dtype.itemsize)
        if odd:
            unreadable = f"its packed values begin at byte {at:,}, which is no multiple of {dtype.itemsize}"
    return TensorRef(key, path, dtype, shape, strides, offset, storage, header.byteswap, unreadable=unreadable)


class Notes:
    """Findings, the first of each kind one by one and the rest counted. `noun` is what their places are."""

    def __init__(self, noun: str = "entry") -> None:
        self._noun = noun
        self._found: dict[tuple[str, Severity], list[tuple[str, str]]] = {}

    def add(self, code: str, severity: Severity, place: str, text: str) -> None:
        self._found.setdefault((code, severity), []).append((place, text))

    def findings(self) -> tuple[Finding, ...]:
        found = []
        for (code, severity), all_of_it in self._found.items():
            found += [
                Finding(code, severity, f"{self._noun} {place}", text) for place, text in all_of_it[:_MAX_FINDINGS]
            ]
            if len(all_of_it) > _MAX_FINDINGS:
                text = f"{len(all_of_it) - _MAX_FINDINGS:,} more are like this."
                found.append(Finding(code, severity, "", text))
        return tuple(found)
