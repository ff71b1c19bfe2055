"""PyTorch's first format (0.1): a tar of ``sys_info``, ``pickle``, ``tensors`` and ``storages``, read in place.

Storages come with their bytes, tensors name storages, the object names tensors, each by the number of an address
(torch/serialization.py, legacy_load).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from workbench.core.source import MAX_READ, ByteSource
from workbench.core.tensor import DTYPES, Storage, TensorRef
from workbench.core.tree import StorageNode, brief
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.contents import Contents, beside_the_table, fingerprint, table
from workbench.formats.limits import MAX_PICKLE
from workbench.formats.pickle.feed import Feed
from workbench.formats.pickle.global_node import Global, storage_class
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.torch_legacy import load_nested

__all__ = ["name", "read", "sniff"]

name: Final = "torch-tar"

_MEMBERS: Final = ("sys_info", "storages", "tensors", "pickle")
_MAX_MEMBERS: Final = 1000
_BLOCK: Final = 512
_HEADER_KINDS: Final = b"xgLK"
_MAX_NUMBER: Final = 1 << 63
_I32, _I64 = Struct("<i"), Struct("<q")


def sniff(source: ByteSource) -> bool:
    """Whether the first file in the tar is one of the four."""
    try:
        first = next(_members(source), None)
    except OpenError:
        return False
    return first is not None and first[0] in _MEMBERS


def _members(source: ByteSource) -> Iterator[tuple[str, int, int, bool]]:
    """Name, begin and size of each member, and whether it is a plain file."""
    at = 0
    for _ in range(_MAX_MEMBERS):
        if at + _BLOCK > source.size:
            return
        head = source.read_exact(at, _BLOCK)
        if not head.strip(b"\0"):
            return
        written = _octal(head[148:156])
        if head[257:262] != b"ustar" or written != sum(head) - sum(head[148:156]) + 8 * 32:
            raise _error(source, "No header of a tar member stands here, or its checksum is wrong.", at=at)
        size = _octal(head[124:136])
        if size is None:
            raise _error(source, "The size of this tar member is no number.", at=at)
        begin = at + _BLOCK
        kind = head[156:157]
        if kind not in _HEADER_KINDS:
            member = head[:100].rstrip(b"\0").decode("utf-8", "replace").removeprefix("./")
            yield member, begin, size, kind in (b"0", b"\0")
        at = begin + -(-size // _BLOCK) * _BLOCK


def _octal(digits: bytes) -> int | None:
    text = digits.strip(b" \0")
    return int(text, 8) if text and not text.strip(b"01234567") else None


def _error(source: ByteSource, cause: str, *, at: int | None = None, code: str = "broken-tar") -> OpenError:
    return OpenError(
        "This PyTorch file is cut off." if code == "cut-off" else "This PyTorch file (tar of version 0.1) is broken.",
        path=source.path or source.name,
        place="" if at is None else f"byte {at:,}",
        cause=cause,
        next_step="Fetch it again, or ask its author to save it with a newer PyTorch.",
        code=code,
    )


def read(source: ByteSource) -> Contents:
    """Tree and tensors, no tensor bytes. OpenError where a count does not fit the member it stands in."""
    return _Reader(source).read()


class _Reader:
    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.members: dict[str, tuple[int, int]] = {}
        self.storages: dict[int, StorageNode] = {}
        self.tensors: dict[int, object] = {}
        self.builder = TreeBuilder(self.resolve, "the tar", nested=load_nested, home=source)
        self.made = 0

    def read(self) -> Contents:
        source = self.source
        others = []
        for member, begin, size, plain in _members(source):
            if member not in _MEMBERS:
                others.append(member)
                continue
            if member in self.members:
                raise _error(source, f"It holds `{member}` twice; readers disagree which counts.", at=begin)
            if not plain:
                raise _error(source, f"Its member `{member}` is a link or something else that is no file.", at=begin)
            if begin + size > source.size:
                cause = f"`{member}` needs bytes {begin:,} to {begin + size:,}, but the file ends at {source.size:,}."
                raise _error(source, cause, at=begin, code="cut-off")
            self.members[member] = begin, begin + size
        for member in _MEMBERS[1:]:
            if member not in self.members:
                raise _error(source, f"Its member `{member}` is missing.", code="cut-off")
        system = self._one("sys_info") if "sys_info" in self.members else None
        try:
            self._read_storages()
            self._read_tensors()
            tree = self._one("pickle")
        except OpenError as error:
            raise self.builder.add_dangers(error) from None
        findings = self.builder.findings()
        if others:
            text = f"{len(others):,} other files lie in the tar, the first `{printable(others[0], 80)}`; torch.load "
            findings.append(Finding("other-members", Severity.NOTE, "", text + "ignores them."))
        beside, noticed = beside_the_table(tree)
        findings += noticed
        metadata = {} if system is None else {"protocol": "1000"}
        return Contents(
            name,
            tree,
            table(tree),
            tuple(findings),
            metadata,
            fingerprint(*self._metadata_bytes()),
            beside=beside,
            names=self.builder.kinds(),
        )

    def _metadata_bytes(self) -> Iterator[bytes]:
        for member in ("sys_info", "tensors", "pickle"):
            begin, end = self.members.get(member, (0, 0))
            for at in range(begin, end, MAX_READ):
                yield self.source.read_exact(at, min(MAX_READ, end - at))
        for key, node in self.storages.items():
            yield f"{key} {node.dtype} {node.numel}\n".encode()

    # Pickles, and the numbers between them.

    def _feed(self, member: str) -> tuple[Feed, int]:
        begin, end = self.members[member]
        return Feed(self.source, end, step=4096), begin

    def _run(self, feed: Feed, at: int, member: str) -> tuple[object, int]:
        machine = Machine(
            b"",
            self.builder,
            begin=at,
            name=self.source.path or self.source.name,
            entry=member,
            feed=feed,
            made=self.made,
            on_disk=min(self.source.size, MAX_PICKLE),
        )
        root = machine.run()
        self.made = machine.made
        return root, machine.end

    def _one(self, member: str) -> object:
        feed, at = self._feed(member)
        return self._run(feed, at, member)[0]

    def _numbers(self, feed: Feed, at: int, n: int, of: Struct = _I64) -> tuple[tuple[int, ...], int]:
        end = at + n * of.size
        if n < 0 or end > feed.end:
            cause = f"{n:,} numbers should stand here, but the member ends at byte {feed.end:,}."
            raise _error(self.source, cause, at=at, code="cut-off")
        data = feed.window(at, n * of.size)[: n * of.size]
        return tuple(value for (value,) in of.iter_unpack(data)), end

    def _count(self, root: object, feed: Feed, at: int, what: str) -> int:
        """A number of records, each of which takes at least a byte."""
        if type(root) is not int or not 0 <= root <= feed.end - at:
            raise _error(self.source, f"Its number of {what} is {brief(root, 40)}.", at=at)
        return root

    def _read_storages(self) -> None:
        feed, at = self._feed("storages")
        root, at = self._run(feed, at, "storages")
        for _ in range(self._count(root, feed, at, "storages")):
            record, after = self._run(feed, at, "storages")
            if type(record) is not tuple or len(record) != 3 or (key := _number(record[0])) is None:
                raise _error(self.source, f"A storage is described by {brief(record, 40)}.", at=at)
            dtype_name = storage_class(record[2])
            if dtype_name is None:
                raise _error(self.source, f"A storage is of the class {brief(record[2], 80)}, which is none.", at=at)
            (numel,), begin = self._numbers(feed, after, 1)
            dtype = DTYPES[dtype_name] if dtype_name else None
            nbytes = numel * (dtype.itemsize if dtype else 1)
            if nbytes < 0 or begin + nbytes > feed.end:
                cause = f"Storage {key} needs {nbytes:,} bytes, but the member ends at byte {feed.end:,}."
                raise _error(self.source, cause, at=begin, code="cut-off")
            if key in self.storages:
                raise _error(self.source, f"It holds storage {key} twice.", at=at)
            self.storages[key] = StorageNode(Storage(f"storage/{key}", nbytes, self.source, begin), dtype, numel)
            at = begin + nbytes
        views, _ = self._run(feed, at, "storages")
        if type(views) is not list:
            raise _error(self.source, f"Its list of views is {brief(views, 40)}.", at=at)
        for view in views:
            self._add_view(view, at)

    def _add_view(self, view: object, at: int) -> None:
        """``(id, id of the root, offset, numel)``, the last two in elements."""
        if type(view) is tuple and len(view) == 4:
            key, root, first, n = map(_number, view)
            whole = None if root is None else self.storages.get(root)
            if whole is not None and key is not None and first is not None and n is not None:
                size = whole.dtype.itemsize if whole.dtype else 1
                if 0 <= first <= first + n <= whole.numel and key not in self.storages:
                    begin = whole.storage.begin + first * size
                    storage = Storage(f"storage/{root}/{key}", n * size, self.source, begin)
                    self.storages[key] = StorageNode(storage, whole.dtype, n)
                    return
        raise _error(self.source, f"A view of a storage is described by {brief(view, 40)}.", at=at)

    def _read_tensors(self) -> None:
        feed, at = self._feed("tensors")
        root, at = self._run(feed, at, "tensors")
        for _ in range(self._count(root, feed, at, "tensors")):
            record, after = self._run(feed, at, "tensors")
            if type(record) is not tuple or len(record) != 3 or (key := _number(record[0])) is None:
                raise _error(self.source, f"A tensor is described by {brief(record, 40)}.", at=at)
            (n_dims, _), after = self._numbers(feed, after, 2, _I32)
            shape, after = self._numbers(feed, after, n_dims)
            strides, after = self._numbers(feed, after, n_dims)
            (offset,), after = self._numbers(feed, after, 1)
            storage_id = _number(record[1])
            node = self.storages.get(storage_id) if storage_id is not None else None
            if node is None:
                node = StorageNode(Storage("none", 0, None), None, 0, problem="the file does not hold its storage")
            made = self.builder.tensor(node, None, offset, shape, strides)
            if type(made) is not TensorRef:
                raise _error(self.source, f"Tensor {key} has no possible shape.", at=at)
            self.tensors[key] = made
            at = after

    def resolve(self, pid: object) -> object:
        """The tensor of that id; the class that ``(class, file, source)`` wraps; None for any other id."""
        if type(pid) is tuple and len(pid) == 3 and type(pid[0]) is Global:
            return pid[0]
        key = _number(pid)
        return None if key is None else self.tensors.get(key)


def _number(node: object) -> int | None:
    """Addresses are written as numbers or as their text."""
    if isinstance(node, str) and node.isascii() and 1 <= len(node.removeprefix("-")) <= 20:
        node = int(node) if node.removeprefix("-").isdigit() else None
    return node if type(node) is int and -_MAX_NUMBER <= node < 2 * _MAX_NUMBER else None
