"""A folder of .npy files and the index that tells which tensor each of them is, as an export writes it.

No file is named by a key:
``{"schema": "checkpoint-workbench/npy", "version": 1, "tensors": {key: {"file": "000000.npy",
"shape": [2, 3], "dtype": "bfloat16", "stored": "uint16", "blake3": ...}}}``. `stored` is there where numpy has no such
dtype by itself: the unsigned integers that hold its bits. The files say what is there; the index is a claim that they
are compared with.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from typing import Final

from workbench.core.source import MAX_READ, ByteSource, FileSource, PathSource
from workbench.core.tensor import DTYPES, MAX_RANK, UNKNOWN, DType, Storage, TensorRef, contiguous_strides
from workbench.core.text import count_text, shape_text
from workbench.core.tree import Dict
from workbench.errors import OpenError, printable
from workbench.finding import Severity
from workbench.formats.contents import Contents, fingerprint
from workbench.formats.limits import MAX_INDEX, MAX_ROWS
from workbench.formats.npy_header import BadHeader, Header, Notes, header_bytes, parse, tensor_of
from workbench.formats.strict_json import JsonProblem
from workbench.formats.strict_json import parse as parse_json

__all__ = ["FILE", "INDEX", "SCHEMA", "VERSION", "is_index", "name", "read"]

name: Final = "npy-folder"

INDEX: Final = "index.json"
FILE: Final = re.compile(r"[0-9]{6,9}\.npy", re.ASCII)
"""What a file of such a folder can be called."""

SCHEMA: Final = "checkpoint-workbench/npy"
VERSION: Final = 1

_HEAD: Final = 4096
_SAYS_SO: Final = re.compile(rb'\s*\{[^{]*"schema"\s*:\s*"' + re.escape(SCHEMA.encode()) + rb'"')
_MAX_ELEMENTS: Final = 1 << 63


class _Claim(ValueError):
    """What is wrong with what the index says of a tensor, as a clause."""


def is_index(source: ByteSource) -> bool:
    """Whether it is the index of such a folder."""
    return bool(_SAYS_SO.match(source.read_exact(0, min(source.size, _HEAD))))


def read(index: FileSource) -> tuple[Contents, int]:
    """The tensors of the folder in which `index` lies, in its order, and the bytes of its files.

    Of each file the header is read, and no value; none is held open. A tensor whose file is missing, broken or another
    one than the index says is a row that says why. OpenError where the index is broken, or none of the files is there.
    """
    claims, raw = _claims(index)
    reader = _Folder(os.path.dirname(index.path))
    tensors = [reader.tensor(key, claim) for key, claim in claims.items()]
    if claims and not reader.n_opened:
        raise _broken(
            index,
            f"Of the {count_text(len(claims), 'file')} that it lists none can be read: {tensors[0].unreadable}.",
            code="no-arrays",
        )
    tree = Dict((tensor.key, tensor) for tensor in tensors)
    mark = fingerprint(raw, *reader.marks)
    return Contents(name, tree, tuple(tensors), reader.notes.findings(), {}, mark), index.size + reader.size


class _Folder:
    """The files looked at so far, and what was noticed."""

    def __init__(self, folder: str) -> None:
        self.notes = Notes("file")
        self.marks: list[bytes] = []
        self.size = 0
        self.n_opened = 0
        self._folder = folder
        self._keys: dict[str, str] = {}
        self._headers: dict[bytes, Header] = {}
        """Thousands of files have one and the same header."""

    def tensor(self, key: str, claim: object) -> TensorRef:
        """The row of that key, of which the index says `claim`."""
        dtype, file = UNKNOWN, ""
        shape: tuple[int, ...] = (0,)
        try:
            dtype, shape, stored = _said(claim)
            file = self._file(key, claim)
            source = FileSource(os.path.join(self._folder, file))
            header = self._header(source)
            self.size += source.size
            self.n_opened += 1
            _compare(header, shape, stored)
        except _Claim as problem:
            why = str(problem)
        except BadHeader as problem:
            why = f"of its file {file}: {_clause(str(problem))}"
        except OpenError as error:
            absent = error.code in ("no-such-file", "broken-link")
            why = f"its file {file} is not there" if absent else f"of its file {file}: {_clause(error.title)}"
        else:
            self.marks.append(header.raw)
            storage = Storage(file, source.size - header.size, PathSource(source), header.size)
            return tensor_of(key, (key,), replace(header, dtype=dtype), storage, 0, self.notes, file)
        self.marks.append(b"")
        text = f"The array of '{printable(key, 120)}' cannot be read: {why}."
        self.notes.add("unreadable-array", Severity.ERROR, file or INDEX, text)
        strides = contiguous_strides(shape)
        return TensorRef(key, (key,), dtype, shape, strides, 0, Storage(file or key, 0, None), unreadable=why)

    def _file(self, key: str, claim: object) -> str:
        file = claim.get("file") if isinstance(claim, dict) else None
        if not isinstance(file, str) or not FILE.fullmatch(file):
            shown = printable(repr(file)[:300], 80)
            raise _Claim(f"the index says its file is {shown}, and such files are named like 000000.npy")
        first = self._keys.setdefault(file, key)
        if first != key:
            raise _Claim(f"the index says its file is {file}, which is that of '{printable(first, 120)}'")
        return file

    def _header(self, source: FileSource) -> Header:
        raw = header_bytes(source.size, lambda n: source.read_exact(0, n))
        header = self._headers.get(raw)
        if header is None:
            header = self._headers[raw] = parse(raw)
        return header


def _claims(index: FileSource) -> tuple[dict[str, object], bytes]:
    """What the index says of each tensor, unchecked; and its bytes."""
    if index.size > MAX_INDEX:
        raise _broken(index, f"It has {index.size:,} bytes; the limit is {MAX_INDEX:,}.", code="too-big")
    raw = b"".join(index.read_exact(at, min(MAX_READ, index.size - at)) for at in range(0, index.size, MAX_READ))
    try:
        root = parse_json(raw)
    except JsonProblem as problem:
        raise _broken(index, f"In its text, {problem}.") from None
    claims = root.get("tensors") if isinstance(root, dict) else None
    if not isinstance(root, dict) or root.get("schema") != SCHEMA or not isinstance(claims, dict):
        raise _broken(index, "It holds no object `tensors`.")
    version = root.get("version")
    if type(version) is not int or version != VERSION:
        cause = f"Its version is {printable(str(version)[:100], 40)}, and {VERSION} is known."
        raise _broken(index, cause, code="unknown-version")
    if len(claims) > MAX_ROWS:
        raise _broken(index, f"It lists {len(claims):,} tensors; the limit is {MAX_ROWS:,}.", code="too-big")
    return claims, raw


def _said(claim: object) -> tuple[DType, tuple[int, ...], DType]:
    """The dtype of a tensor, its shape, and the dtype that its file should have."""
    if not isinstance(claim, dict):
        raise _Claim("the index says no file of it")
    word, stored = claim.get("dtype"), claim.get("stored", claim.get("dtype"))
    dtype = DTYPES.get(word) if isinstance(word, str) else None
    if dtype is None or dtype.numpy is None:
        raise _Claim(f"the index says its dtype is {printable(repr(word)[:300], 60)}, which numpy cannot hold")
    if stored not in (dtype.name, f"uint{dtype.bits}"):
        shown = printable(repr(stored)[:300], 60)
        raise _Claim(f"the index says its {dtype.name} is stored as {shown}, which cannot hold it")
    shape = claim.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < _MAX_ELEMENTS for n in shape):
        raise _Claim(f"the index says its shape is {printable(repr(shape)[:300], 60)}")
    if len(shape) > MAX_RANK:
        raise _Claim(f"the index says it has {len(shape):,} dimensions, numpy takes {MAX_RANK}")
    if math.prod(shape) >= _MAX_ELEMENTS:
        raise _Claim("the index says its shape is one that overflows")
    return dtype, tuple(shape), DTYPES[stored]


def _compare(header: Header, shape: tuple[int, ...], stored: DType) -> None:
    if (header.shape, header.dtype) != (shape, stored):
        held = f"{printable(header.dtype.name, 40)} of shape {printable(shape_text(header.shape), 80)}"
        raise _Claim(f"its file holds {held}, and the index says {stored.name} of shape {shape_text(shape)}")


def _clause(sentence: str) -> str:
    return f"{sentence[:1].lower()}{sentence[1:]}".rstrip(".")


def _broken(index: FileSource, cause: str, *, code: str = "broken-index") -> OpenError:
    return OpenError(
        "This index of a folder of numpy arrays is broken.",
        path=index.path,
        cause=cause,
        next_step="Export again, or copy the folder again.",
        code=code,
    )
