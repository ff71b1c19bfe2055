"""numpy's archives (.npz) and single arrays (.npy)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from workbench.core.source import ByteSource, inflate
from workbench.core.tensor import UNKNOWN, Storage, TensorRef
from workbench.core.tree import Dict
from workbench.errors import OpenError, printable
from workbench.finding import Severity
from workbench.formats import torch_zip
from workbench.formats.contents import Contents, fingerprint, table
from workbench.formats.limits import MAX_ROWS
from workbench.formats.npy_header import MAGIC, BadHeader, Notes, header_bytes, parse, tensor_of
from workbench.formats.zip_directory import Entry, ZipDirectory, read_directory

__all__ = ["name", "read", "sniff"]

name: Final = "npz"

_PACKED_SLACK: Final = 1024


def sniff(source: ByteSource) -> bool:
    """Whether it is a numpy array, or a zip that begins with one."""
    head = source.read_exact(0, min(source.size, 30))
    if head.startswith(MAGIC):
        return True
    if head[:4] != b"PK\x03\x04" or len(head) < 30:
        return False
    n = int.from_bytes(head[26:28], "little")
    return 4 <= n <= source.size - 30 and source.read_exact(30 + n - 4, 4) == b".npy"


def read(source: ByteSource) -> Contents:
    """Arrays in the order of the zip directory. OpenError when the zip, or a single array, is broken.

    A zip that begins with an array but holds a ``data.pkl`` is what PyTorch reads in it.
    """
    if source.read_exact(0, min(source.size, 6)) == MAGIC:
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
    notes = Notes()
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
        except BadHeader as problem:
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
        header = parse(header_bytes(source.size, lambda n: source.read_exact(0, n)))
    except BadHeader as problem:
        raise OpenError(
            "This numpy array is broken.",
            path=source.path or source.name,
            place="header",
            cause=str(problem),
            next_step="Fetch it again, or save it again with numpy.save.",
            code=problem.code,
        ) from None
    notes = Notes()
    storage = Storage("data", source.size - header.size, source, header.size)
    tensor = tensor_of("", (), header, storage, 0, notes, "data")
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


def _member(directory: ZipDirectory, entry: Entry, notes: Notes) -> tuple[TensorRef, bytes]:
    begin, differs = directory.data_begin(entry)
    source, packed = directory.source, entry.method == 8
    if differs:
        text = f"Its header differs from the zip directory ({differs}); the directory was followed."
        notes.add("headers-differ", Severity.WARNING, entry.place, text)
    if not packed and entry.packed != entry.size:
        raise BadHeader("It is stored plainly, but its two sizes differ.")

    def head(n: int) -> bytes:
        if packed:
            return inflate(source, begin, min(entry.packed, n + _PACKED_SLACK), 0, n, f"entry {entry.place}")
        return source.read_exact(begin, n)

    header = parse(header_bytes(entry.size, head))
    key = entry.name[:-4]
    if packed:
        storage, at = directory.storage(entry, begin, entry.name), header.size
    else:
        storage, at = Storage(entry.name, entry.size - header.size, source, begin + header.size), 0
    return tensor_of(key, (key,), header, storage, at, notes, entry.place), header.raw


def _unread(entry: Entry, cause: str, notes: Notes) -> TensorRef:
    """The row of an array that does not say what it is."""
    notes.add("unreadable-array", Severity.ERROR, entry.place, f"The array cannot be read: {cause}")
    key, why = entry.name[:-4], f"{cause[:1].lower()}{cause[1:]}".rstrip(".")
    return TensorRef(key, (key,), UNKNOWN, (0,), (0,), 0, Storage(entry.name, 0, None), unreadable=why)
