"""PyTorch's older stream: five pickles, then every storage behind its count (torch/serialization.py, _legacy_save).

In order: a magic number, the protocol version, facts on the writer, the object, the keys of the storages. What lies
where is known only when all of them have been read: a storage's item size follows from its class in the object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from workbench.core.source import MAX_READ, ByteSource, MemorySource
from workbench.core.tensor import DTYPES, Storage
from workbench.core.tree import StorageNode, brief
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.contents import Contents, beside_the_table, fingerprint, table
from workbench.formats.pickle.builder import Builder
from workbench.formats.pickle.feed import ByteRange, Feed, Window
from workbench.formats.pickle.global_node import Global, storage_class
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.names import storage_dtype
from workbench.formats.pickle.rebuild import TreeBuilder

__all__ = ["load_nested", "name", "read", "sniff"]

name: Final = "torch-legacy"

_VERSION: Final = 1001
_MAGIC: Final = re.compile(
    rb"(\x80[\x02-\x05](\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
    rb"|(\x80[\x00\x01])?L119547037146038801333356L?\n)\.",
    re.DOTALL,
)
_MAX_NUMEL: Final = 1 << 60
_NO_SIZE: Final = "the number of elements that the object gives its storage is none"
_NO_VIEW: Final = "it lies in a view that leaves its storage"
_MAX_DEPTH: Final = 2
_NESTED_ROOM: Final = 64 << 20
_MAX_FINDINGS: Final = 20

# Protocol 0 has persistent ids as text only, and torch lets Python print the tuple.
_ID_AS_TEXT: Final = re.compile(
    r"\('storage', <class '([\w.]{1,80})'>, '(\w{1,40})', '[\w:]{1,40}', ([0-9]{1,18}), None\)", re.ASCII
)


def sniff(source: ByteSource) -> bool:
    """Whether the first pickle is the magic number."""
    return _MAGIC.match(source.read_exact(0, min(source.size, 64))) is not None


def read(source: ByteSource) -> Contents:
    """Tree and tensors of a stream, no tensor bytes. OpenError where keys, counts and the file's size disagree."""
    problems: dict[str, str] = {}
    sizes: dict[str, int] = {}
    while True:
        storages = _Storages(source, problems, sizes)
        builder = TreeBuilder(storages.resolve, "the stream", nested=load_nested, home=source)
        stream = _read_stream(source, Feed(source), builder, builder, storages)
        if (not stream.problems or problems) and (not stream.sizes or sizes):
            break
        # Tensors are final once built, so they are built again, now that it is known which of them have no bytes.
        problems, sizes = stream.problems, stream.sizes
    findings = builder.findings()
    if sizes:
        key, n = next(iter(sizes.items()))
        text = (
            f"{len(sizes):,} storages are longer than the object says, the first {printable(key, 80)} with {n:,} "
            "elements; their views need all of it, and torch.load makes them as long."
        )
        findings.append(Finding("longer-storage", Severity.WARNING, f"storage {printable(key, 80)}", text))
    problems = storages.impossible | problems
    for key, problem in list(problems.items())[:_MAX_FINDINGS]:
        text = f"Tensors in storage {printable(key, 80)} cannot be read: {problem}."
        findings.append(Finding("unreadable-storage", Severity.ERROR, f"storage {printable(key, 80)}", text))
    if len(problems) > _MAX_FINDINGS:
        text = f"{len(problems) - _MAX_FINDINGS:,} more storages are like this."
        findings.append(Finding("unreadable-storage", Severity.ERROR, "", text))
    if stream.unused:
        text = f"Storage {printable(stream.unused, 80)} is listed, but nothing in the file is a view of it."
        findings.append(Finding("unused-storage", Severity.NOTE, f"storage {printable(stream.unused, 80)}", text))
    elif stream.end < source.size:
        text = f"{source.size - stream.end:,} bytes follow the last storage; torch.load ignores them."
        findings.append(Finding("bytes-after-stream", Severity.WARNING, f"byte {stream.end:,}", text))
    beside, noticed = beside_the_table(stream.root)
    findings += noticed
    head = (
        source.read_exact(at, min(MAX_READ, stream.data_begin - at)) for at in range(0, stream.data_begin, MAX_READ)
    )
    metadata = {"protocol": str(_VERSION)}
    return Contents(
        name,
        stream.root,
        table(stream.root),
        tuple(findings),
        metadata,
        fingerprint(*head),
        beside=beside,
        names=builder.kinds(),
        written=builder.written(),
    )


@dataclass(slots=True)
class _Stream:
    """One stream, walked. ``problems`` tells for a key why its storage has no bytes, ``sizes`` how long one is that is
    longer than the object says; ``unused`` is a last, idle key.
    """

    root: object
    data_begin: int
    end: int
    made: int
    problems: dict[str, str]
    sizes: dict[str, int] = field(default_factory=dict)
    unused: str = ""


def _error(source: ByteSource, cause: str, *, at: int | None = None, code: str = "broken-stream") -> OpenError:
    return OpenError(
        "This PyTorch file is cut off." if code == "cut-off" else "This PyTorch file (older stream) is broken.",
        path=source.path or source.name,
        place="" if at is None else f"byte {at:,}",
        cause=cause,
        next_step="Fetch it again, or save it again with torch.save.",
        code=code,
    )


def _read_stream(
    source: ByteSource,
    feed: Feed,
    builder: Builder,
    findings: TreeBuilder,
    storages: _Storages,
    *,
    on_disk: int | None = None,
    made: int = 0,
    entry: str = "the stream",
) -> _Stream:
    """The five pickles and the places of the storages, which are written into ``storages``.

    Each pickle has a budget by its own bytes; one out of another pickle has a share, ``made``, in that of ``on_disk``.
    """
    at = 0
    roots: list[object] = []
    for i in range(5):
        machine = Machine(
            b"",
            builder,
            begin=at,
            on_disk=on_disk,
            name=source.path or source.name,
            entry=entry,
            feed=feed,
            made=0 if on_disk is None else made,
        )
        try:
            roots.append(machine.run())
        except OpenError as error:
            raise findings.add_dangers(error) from None
        if i == 3:
            findings.read_by(machine)
        if i == 1 and (type(roots[1]) is not int or roots[1] != _VERSION):
            cause = f"Its second pickle should be the number {_VERSION}, and is {brief(roots[1], 40)}."
            raise findings.add_dangers(_error(source, cause, at=at))
        at, made = machine.end, machine.made
    keys = roots[4]
    if type(keys) is not list or not all(isinstance(key, str) for key in keys):
        raise findings.add_dangers(_error(source, "Its fifth pickle is no list of storage keys.", at=at))
    stream = _Stream(roots[3], at, at, made, {})
    _locate(source, stream, [str(key) for key in keys], storages)
    return stream


def _locate(source: ByteSource, stream: _Stream, keys: list[str], storages: _Storages) -> None:
    at, size, wanted = stream.data_begin, source.size, storages.by_key
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise _error(source, f"It lists storage {printable(key, 80)} twice.", at=at)
        seen.add(key)
        known = wanted.get(key)
        if at + 8 > size:
            cause = f"Storage {printable(key, 80)} should begin at byte {at:,}, but the file ends at {size:,}."
            raise _error(source, cause, at=at, code="cut-off")
        count = int.from_bytes(source.read_exact(at, 8), "little", signed=True)
        if known is None:
            if len(seen) == len(keys):
                stream.unused = key
                break
            cause = f"Nothing in it says how long the elements of storage {printable(key, 80)} are, and more follow."
            raise _error(source, cause, at=at, code="unknown-storage")
        if known.numel < 0:
            # The object gives no size that could be meant; where the next storage lies, the count alone says.
            stream.problems[key] = _NO_SIZE
            known.numel = max(count, 0)
        elif known.reach() == count > known.numel:
            # A storage grows when torch makes a view that leaves it, and has its size from then on.
            stream.sizes[key] = known.numel = count
        if count != known.numel:
            cause = f"Storage {printable(key, 80)} should have {known.numel:,} elements, and counts {count:,}."
            raise _error(source, cause, at=at, code="storage-size")
        begin, at = at + 8, at + 8 + count * known.itemsize
        if at > size:
            cause = f"Storage {printable(key, 80)} needs bytes {begin:,} to {at:,}, but the file ends at {size:,}."
            raise _error(source, cause, at=begin, code="cut-off")
        known.place(begin)
    stream.end = at
    for key, known in wanted.items():
        if key not in seen:
            stream.problems[key] = "its key is not among those the file lists"
        elif known.conflict:
            stream.problems[key] = known.conflict
    stream.sizes |= {key: n for key, n in storages.sizes.items() if key in wanted}


@dataclass(slots=True)
class _Known:
    """A storage that the object names, of -1 elements when it gives no possible number.

    ``parts`` are it and the views of it, by their first byte in it; ``whole`` are the nodes that stand for all of it.
    """

    numel: int
    itemsize: int
    conflict: str = ""
    parts: list[tuple[Storage, int]] = field(default_factory=list)
    whole: list[StorageNode] = field(default_factory=list)

    def reach(self) -> int:
        """How many elements the tensors in it need."""
        return max((node.reach for node in self.whole), default=0)

    def place(self, begin: int) -> None:
        """Tell all of them where they lie. This once a Storage is changed: tensors already refer to it."""
        for storage, first in self.parts:
            object.__setattr__(storage, "begin", begin + first)


class _Storages:
    """Turns ``("storage", class, key, location, numel, view)`` into storages whose place is told afterwards."""

    def __init__(self, source: ByteSource, problems: dict[str, str], sizes: dict[str, int]) -> None:
        self._source = source
        self._problems = problems
        self.sizes = sizes
        self._nodes: dict[tuple[object, ...], StorageNode] = {}
        self.by_key: dict[str, _Known] = {}
        self.impossible: dict[str, str] = {}

    def resolve(self, pid: object) -> object:
        """The storage; the class that ``("module", class, file, source)`` wraps; None for any other id."""
        view: object = None
        if type(pid) is tuple and len(pid) in (5, 6) and pid[0] == "storage":
            kind, key, location, numel = pid[1:5]
            view = pid[5] if len(pid) == 6 else None
            dtype_name = storage_class(kind)
        elif type(pid) is tuple and len(pid) == 4 and pid[0] == "module" and type(pid[1]) is Global:
            return pid[1]
        elif type(pid) is str and (written := _ID_AS_TEXT.fullmatch(pid)):
            dtype_name, key, location, numel = storage_dtype(written[1]), written[2], "", int(written[3])
        else:
            return None
        if dtype_name is None or not isinstance(key, str) or not isinstance(location, str):
            return None
        if type(numel) is not int or not 0 <= numel < _MAX_NUMEL:
            return self._impossible(dtype_name, key, -1, _NO_SIZE)
        numel = self.sizes.get(key, numel)
        first, n, view_key = 0, numel, ""
        if view is not None:
            if type(view) is not tuple or len(view) != 3 or not isinstance(view[0], str):
                return self._impossible(dtype_name, key, numel, _NO_VIEW)
            view_key, first, n = view
            if type(first) is not int or type(n) is not int or not 0 <= first <= first + n <= numel:
                return self._impossible(dtype_name, key, numel, _NO_VIEW)
        known = self._nodes.get((dtype_name, key, numel, view_key, first, n))
        if known is None:
            known = self._new(dtype_name, key, numel, view_key, first, n)
            self._nodes[dtype_name, key, numel, view_key, first, n] = known
        return known

    def _new(self, dtype_name: str, key: str, numel: int, view_key: str, first: int, n: int) -> StorageNode:
        dtype = DTYPES[dtype_name] if dtype_name else None
        itemsize = dtype.itemsize if dtype else 1
        known = self._known(key, numel, itemsize)
        storage_id = f"storage/{key}" if not view_key else f"storage/{key}/{view_key}"
        storage = Storage(storage_id, n * itemsize, self._source)
        known.parts.append((storage, first * itemsize))
        node = StorageNode(storage, dtype, n, problem=self._problems.get(key, ""))
        if not view_key:
            known.whole.append(node)
        return node

    def _known(self, key: str, numel: int, itemsize: int) -> _Known:
        known = self.by_key.setdefault(key, _Known(numel, itemsize))
        if (known.numel, known.itemsize) != (numel, itemsize):
            known.conflict = "the file gives it two different sizes"
        return known

    def _impossible(self, dtype_name: str, key: str, numel: int, problem: str) -> StorageNode:
        """A storage, or a view of one, with numbers that cannot be: its tensors are listed, and never read."""
        node = self._nodes.get((dtype_name, key, numel, problem))
        if node is None:
            dtype = DTYPES[dtype_name] if dtype_name else None
            self._known(key, numel, dtype.itemsize if dtype else 1)
            self.impossible.setdefault(key, problem)
            node = StorageNode(Storage(f"storage/{key}", 0, self._source), dtype, 0, problem=problem)
            self._nodes[dtype_name, key, numel, problem] = node
        return node


# A stream inside a pickle.


class _Within:
    """Notes what a nested pickle does at the place of the call around it; only its storages are its own."""

    def __init__(self, builder: TreeBuilder, storages: _Storages, at: int) -> None:
        self._builder = builder
        self._storages = storages
        self._at = at

    def name(self, module: object, name: object, at: int) -> object:
        return self._builder.name(module, name, self._at)

    def extension(self, code: int, at: int) -> object:
        return self._builder.extension(code, self._at)

    def call(self, function: object, args: object, at: int, opcode: str, kwargs: object = None) -> object:
        return self._builder.call(function, args, self._at, opcode, kwargs)

    def build(self, node: object, state: object, at: int) -> None:
        self._builder.build(node, state, self._at)

    def persistent(self, pid: object, at: int) -> object:
        node = self._storages.resolve(pid)
        return self._builder.persistent(pid, self._at) if node is None else node


def load_nested(builder: TreeBuilder, raw: bytes | ByteRange, at: int) -> object:
    """What a complete stream inside a pickle holds; a storage without bytes, which says why, where it is broken.

    Depth and the sum of all nested bytes are bounded: a pickle may name the same bytes again and again.
    """
    home = builder.home
    source: ByteSource
    if isinstance(raw, ByteRange):
        source = Window(raw.source, raw.begin, raw.n)
    else:
        source = held = MemorySource(raw, home.name if home else "memory")
        held.path = home.path if home else None
    n = source.size
    budget = builder.nested
    budget.n_bytes += n
    if budget.depth >= _MAX_DEPTH:
        return _nothing(f"it lies in a file inside a file more than {_MAX_DEPTH} deep")
    if budget.n_bytes > _NESTED_ROOM + (home.size if home else 0):
        return _nothing("the files inside this file are together longer than it")
    if not sniff(source):
        return _nothing("the bytes it should be loaded from are no PyTorch stream")
    budget.depth += 1
    try:
        storages = _Storages(source, {}, {})
        within = _Within(builder, storages, at)
        feed = Feed(source, step=4096)
        on_disk = home.size if home else n
        stream = _read_stream(source, feed, within, builder, storages, on_disk=on_disk, made=budget.made)
        budget.made = stream.made
    except OpenError as error:
        if error.code == "changed":
            raise
        return _nothing(f"the file inside this file it comes from is broken: {error.cause or error.title}".rstrip("."))
    finally:
        budget.depth -= 1
    if stream.problems or stream.sizes:
        return _nothing("the file inside this file it comes from does not hold all of its storages")
    return stream.root


def _nothing(problem: str) -> StorageNode:
    return StorageNode(Storage("none", 0, None), None, 0, problem=problem)
