"""numpy's archives (.npz) and single arrays (.npy): headers parsed by a grammar of three keys, nothing evaluated.

The header is the text of a Python dict, ``{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }``, after magic,
version and length: numpy/lib/_format_impl.py, versions 1.0 to 3.0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from workbench.core.source import ByteSource, inflate
from workbench.core.tensor import DTYPES, MAX_RANK, UNKNOWN, DType, Storage, TensorRef, contiguous_strides
from workbench.core.tree import Dict
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats import torch_zip
from workbench.formats.contents import Contents, fingerprint, table
from workbench.formats.limits import MAX_NPY_HEADER, MAX_ROWS
from workbench.formats.zip_directory import Entry, ZipDirectory, read_directory

__all__ = ["name", "read", "sniff"]

name: Final = "npz"

_MAGIC: Final = b"\x93NUMPY"
_FIRST: Final = 128
"""Bytes of an array looked at first: the header of nearly every one ends within them."""
_PACKED_SLACK: Final = 1024
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


class _BadHeader(ValueError):
    """What is wrong with an array's header, as a sentence; ``code`` is the slug for it."""

    def __init__(self, cause: str, code: str = "broken-header") -> None:
        super().__init__(cause)
        self.code = code


@dataclass(frozen=True, slots=True)
class _Header:
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


def sniff(source: ByteSource) -> bool:
    """Whether it is a numpy array, or a zip that begins with one."""
    head = source.read_exact(0, min(source.size, 30))
    if head.startswith(_MAGIC):
        return True
    if head[:4] != b"PK\x03\x04" or len(head) < 30:
        return False
    n = int.from_bytes(head[26:28], "little")
    return 4 <= n <= source.size - 30 and source.read_exact(30 + n - 4, 4) == b".npy"


def read(source: ByteSource) -> Contents:
    """Arrays in the order of the zip directory. OpenError when the zip, or a single array, is broken.

    A zip that begins with an array but holds a ``data.pkl`` is what PyTorch reads in it.
    """
    if source.read_exact(0, min(source.size, 6)) == _MAGIC:
        return _read_one(source)
    directory = read_directory(source)
    if any(entry.name.lower().rpartition("/")[2] == "data.pkl" for entry in directory.entries):
        return torch_zip.read(source)
    if len(directory.entries) > MAX_ROWS:
        raise OpenError(
            f"The zip holds {len(directory.entries):,} entries; the limit is {MAX_ROWS:,}.",
            path=source.path or source.name,
            next_step="Save fewer, larger arrays.",
            code="too-many-tensors",
        )
    counts = Counter(entry.name for entry in directory.entries)
    tensors: list[TensorRef] = []
    marks: list[bytes] = []
    notes = _Notes()
    for entry in directory.entries:
        mark = entry.name.encode("utf-8", "surrogateescape")
        if not entry.name.endswith(".npy"):
            if not entry.name.endswith("/"):
                notes.add("not-an-array", Severity.NOTE, entry.place, "It is no numpy array and was left out.")
            marks.append(mark)
            continue
        try:
            tensor, raw = _member(directory, entry, notes)
        except OpenError as error:
            tensor, raw = _unread(entry, " ".join(filter(None, (error.title, error.cause))), notes), b""
        except _BadHeader as problem:
            tensor, raw = _unread(entry, str(problem), notes), b""
        marks += (mark, raw)
        if counts[entry.name] > 1:
            several = f"the file has several entries {entry.place}, and readers disagree which of them counts"
            tensor = replace(tensor, unreadable=tensor.unreadable or several)
        tensors.append(tensor)
    for repeated in [each for each, n in counts.items() if n > 1]:
        text = f"{counts[repeated]:,} entries have this name; numpy takes the last."
        notes.add("repeated-entry", Severity.WARNING, printable(repeated, 120), text)
    tree = Dict((tensor.key, tensor) for tensor in tensors)
    findings = (*directory.findings, *notes.findings())
    return Contents(name, tree, tuple(tensors), findings, {}, fingerprint(*marks))


def _read_one(source: ByteSource) -> Contents:
    try:
        header = _parse(_header_bytes(source.size, lambda n: source.read_exact(0, n)))
    except _BadHeader as problem:
        raise OpenError(
            "This numpy array is broken.",
            path=source.path or source.name,
            place="header",
            cause=str(problem),
            next_step="Fetch it again, or save it again with numpy.save.",
            code=problem.code,
        ) from None
    notes = _Notes()
    storage = Storage("data", source.size - header.size, source, header.size)
    tensor = _tensor("", (), header, storage, 0, notes, "data")
    if tensor.unreadable.startswith("it needs"):
        raise OpenError(
            "This numpy array is cut off.",
            path=source.path or source.name,
            place="data",
            cause=f"{tensor.unreadable[0].upper()}{tensor.unreadable[1:]}.",
            next_step="Fetch it again.",
            code="cut-off",
        )
    return Contents("npy", tensor, table(tensor), notes.findings(), {}, fingerprint(header.raw))


def _member(directory: ZipDirectory, entry: Entry, notes: _Notes) -> tuple[TensorRef, bytes]:
    begin, differs = directory.data_begin(entry)
    source, packed = directory.source, entry.method == 8
    if differs:
        text = f"Its header differs from the zip directory ({differs}); the directory was followed."
        notes.add("headers-differ", Severity.WARNING, entry.place, text)
    if not packed and entry.packed != entry.size:
        raise _BadHeader("It is stored plainly, but its two sizes differ.")

    def head(n: int) -> bytes:
        if packed:
            return inflate(source, begin, min(entry.packed, n + _PACKED_SLACK), 0, n, f"entry {entry.place}")
        return source.read_exact(begin, n)

    header = _parse(_header_bytes(entry.size, head))
    key = entry.name[:-4]
    if packed:
        storage, at = directory.storage(entry, begin, entry.name), header.size
    else:
        storage, at = Storage(entry.name, entry.size - header.size, source, begin + header.size), 0
    return _tensor(key, (key,), header, storage, at, notes, entry.place), header.raw


def _unread(entry: Entry, cause: str, notes: _Notes) -> TensorRef:
    """The row of an array that does not say what it is."""
    notes.add("unreadable-array", Severity.ERROR, entry.place, f"The array cannot be read: {cause}")
    key, why = entry.name[:-4], f"{cause[:1].lower()}{cause[1:]}".rstrip(".")
    return TensorRef(key, (key,), UNKNOWN, (0,), (0,), 0, Storage(entry.name, 0, None), unreadable=why)


def _header_bytes(size: int, head: Callable[[int], bytes]) -> bytes:
    """Magic to the end of the text; its length is checked before it is read."""
    first = head(min(size, _FIRST))
    if not first.startswith(_MAGIC):
        raise _BadHeader("It does not begin as a numpy array.")
    if len(first) < 12:
        raise _BadHeader("It ends within its header.", "cut-off")
    major, minor = first[6], first[7]
    if major not in (1, 2, 3) or minor != 0:
        raise _BadHeader(f"It is of version {major}.{minor}; 1.0 to 3.0 are known.", "unknown-version")
    width = 2 if major == 1 else 4
    n = int.from_bytes(first[8 : 8 + width], "little")
    end = 8 + width + n
    if n > MAX_NPY_HEADER:
        raise _BadHeader(f"Its header should take {n:,} bytes; the limit is {MAX_NPY_HEADER:,}.", "too-big")
    if end > size:
        raise _BadHeader(f"Its header should end at byte {end:,}, but it ends at {size:,}.", "cut-off")
    return first[:end] if end <= len(first) else head(end)


def _parse(raw: bytes) -> _Header:
    try:
        text = raw[10 if raw[6] == 1 else 12 :].decode("utf-8" if raw[6] == 3 else "latin-1")
    except UnicodeDecodeError:
        raise _BadHeader("Its header is not UTF-8.") from None
    text = text.strip(" \t\n\0")
    if text[:1] != "{" or text[-1:] != "}":
        raise _BadHeader("Its header is no dict.")
    at, stop = 1, len(text) - 1
    values: dict[str, str] = {}
    while True:
        key = _KEY.match(text, at, stop)
        if key is None:
            break
        word = key[1] or key[2]
        end = _value_end(text, word, key.end(), stop)
        if word in values:
            raise _BadHeader(f"Its header says {printable(word, 40)!r} twice.")
        values[word] = text[key.end() : end]
        at = end
        comma = _COMMA.match(text, at, stop)
        if comma is None:
            break
        at = comma.end()
    if text[at:stop].strip() or set(values) != {"descr", "fortran_order", "shape"}:
        raise _BadHeader("Its header does not hold descr, fortran_order and shape alone.")
    dtype, unreadable, byteswap = _dtype(values["descr"])
    shape = tuple(int(number) for number in re.findall("[0-9]+", values["shape"]))
    if math.prod(shape) >= _MAX_ELEMENTS:
        raise _BadHeader("Its shape overflows.")
    return _Header(raw, dtype, unreadable, byteswap, values["fortran_order"] == "True", shape)


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
        raise _BadHeader(f"Its header says {printable(word, 40)!r}, which numpy does not write.")
    if found is None:
        raise _BadHeader(f"In its header, the value of {word} is none that numpy writes.")
    return found.end()


def _closing(text: str, at: int, stop: int) -> int:
    """Where the bracket at ``at`` closes; brackets inside texts do not count."""
    depth = 0
    for mark in _BRACKETS.finditer(text, at, stop):
        depth += {"[": 1, "(": 1, "]": -1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    raise _BadHeader("In its header, the value of descr does not end.")


def _dtype(written: str) -> tuple[DType, str, bool]:
    """The element type, why it cannot be read ("" if it can), and whether its bytes are big endian."""
    if written[0] in "[(":
        return DType("record", 0, None), "its elements are records of several fields", False
    match = _DESCR.fullmatch(written[1:-1])
    if match is None:
        raise _BadHeader(f"Its type {printable(written, 60)} is not known.", "unknown-dtype")
    order, kind, size, unit = match[1], match[2], match[3], match[4] or ""
    plain = _NUMBERS.get(kind + size)
    if plain and not unit:
        return DTYPES[plain], "", order == ">"
    if kind in "biu" or int(size or 0) not in _SIZES.get(kind, (int(size or 0),)):
        raise _BadHeader(f"Its type {printable(written, 60)} is not known.", "unknown-dtype")
    n = int(size or 0) * (4 if kind == "U" else 1)
    if kind == "V":
        why = f"its elements are {n:,} raw bytes each; numpy so stores types it does not know, bfloat16 among them"
        return DType(f"void{n * 8}", n * 8, None), why, False
    if kind == "O":
        n = 0
    word, why = _OTHERS[kind]
    return DType(word + unit, n * 8, None), why, order == ">"


def _tensor(
    key: str, path: tuple[str, ...], header: _Header, storage: Storage, at: int, notes: _Notes, place: str
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


class _Notes:
    """Findings, the first of each kind one by one and the rest counted."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Severity], list[tuple[str, str]]] = {}

    def add(self, code: str, severity: Severity, place: str, text: str) -> None:
        self._found.setdefault((code, severity), []).append((place, text))

    def findings(self) -> tuple[Finding, ...]:
        found = []
        for (code, severity), all_of_it in self._found.items():
            found += [Finding(code, severity, f"entry {place}", text) for place, text in all_of_it[:_MAX_FINDINGS]]
            if len(all_of_it) > _MAX_FINDINGS:
                text = f"{len(all_of_it) - _MAX_FINDINGS:,} more entries are like this."
                found.append(Finding(code, severity, "", text))
        return tuple(found)
