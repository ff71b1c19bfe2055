"""The values of a checkpoint as inert nodes, and the walk that finds the tensors among them.

A tree is made of None, bool, int, float, complex, str, bytes, list, tuple, and the classes below. Nothing in it is an
object of the class the file names, nothing compares or hashes by content, and nothing here recurses: a file may nest
a million levels deep, share nodes and hold cycles.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, count
from typing import Final

from workbench.core.tensor import DType, Storage, TensorRef
from workbench.core.tensors import Tensors
from workbench.errors import OpenError, printable

__all__ = [
    "MAX_ROWS",
    "MAX_ROW_TEXT",
    "Dict",
    "Name",
    "Opaque",
    "Path",
    "Set",
    "StorageNode",
    "brief",
    "dropped_buffers",
    "key_text",
    "module_parts",
    "table_entries",
    "table_values",
    "walk",
]

MAX_ROWS: Final = 1_000_000
"""Tensors one checkpoint may list: a file may share a node so often that its flat table never ends."""

MAX_ROW_TEXT: Final = 64 << 20
"""Characters of all their keys together."""

_FREE_ROWS: Final = 50_000
"""Rows a file may list beyond four for each entry that is a tensor: a few shared objects make any number of them."""

_MAX_STEPS: Final = 4 * MAX_ROWS
_FREE_DEPTH: Final = 64
_DONE, _ITERATOR = -1, -2
_SMALL: Final = 1 << 31
_MISSING: Final = object()
_COMPILED: Final = "torch._dynamo.eval_frame.OptimizedModule"

Path = tuple[str | int, ...]


class Name(str):
    """A name that stands for a value of torch (``torch.float16``, a device), as text."""

    __slots__ = ()


class _OddKey:
    """A mapping key that is neither text nor a small integer: kept, but never hashed by its content."""

    __slots__ = ("node",)

    def __init__(self, node: object) -> None:
        self.node = node


class Dict(Mapping[object, object]):
    """A mapping of the file, read-only: pairs in file order, the last one of a key wins.

    ``class_name`` is ``dict``, ``OrderedDict`` or the like, ``attributes`` what the file sets on the object beside its
    entries (``_metadata`` of a state_dict). Text and small integers can be looked up; other keys only be listed.
    """

    __slots__ = ("_made", "_waiting", "attributes", "class_name", "n_repeated")

    def __init__(self, pairs: Iterable[tuple[object, object]] = (), class_name: str = "dict") -> None:
        self._made: dict[object, object] | None = None
        self._waiting: Tensors | None = None
        self.class_name = class_name
        self.attributes: object = None
        self.n_repeated = 0
        self._put(chain.from_iterable(pairs))

    @classmethod
    def of(cls, tensors: Tensors) -> Dict:
        """A mapping of tensors by their keys, which are all different; it is made when somebody looks into it."""
        found = cls()
        found._waiting = tensors
        return found

    @property
    def _entries(self) -> dict[object, object] | None:
        waiting = self._waiting
        if waiting is not None:
            self._made = dict(zip(waiting.keys, waiting, strict=True))
            self._waiting = None
        return self._made

    def _put(self, flat: Iterable[object]) -> None:
        """Add key, value, key, value, .. (for the machine that builds the tree)."""
        entries = self._entries
        if entries is None:
            entries = self._made = {}
        before, n = len(entries), 0
        if type(flat) is list and len(flat) > 16 and set(map(type, keys := flat[::2])) == {str}:
            entries.update(zip(keys, flat[1::2], strict=False))
            self.n_repeated += before + len(flat) // 2 - len(entries)
            return
        each = iter(flat)
        for key, value in zip(each, each, strict=False):
            n += 1
            kind = type(key)
            if kind is str or (kind is int and -_SMALL < key < _SMALL):  # type: ignore[operator]
                entries[key] = value
            else:
                entries[_OddKey(key)] = value
        self.n_repeated += before + n - len(entries)

    @property
    def pairs(self) -> Iterator[tuple[object, object]]:
        """Key and value of each entry, in file order."""
        for key, value in (self._entries or {}).items():
            yield (key.node if type(key) is _OddKey else key), value

    @property
    def columns(self) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """All keys and all values; keys that are neither text nor small integers are no plain values here."""
        entries = self._entries or {}
        return tuple(entries), tuple(entries.values())

    def __getitem__(self, key: object) -> object:
        if self._entries is None or type(key) not in (str, int):
            raise KeyError(key)
        return self._entries[key]

    def get(self, key: object, default: object = None) -> object:
        """The value under a text or integer key."""
        if self._entries is None or type(key) not in (str, int):
            return default
        return self._entries.get(key, default)

    def __contains__(self, key: object) -> bool:
        return self.get(key, _MISSING) is not _MISSING

    def __iter__(self) -> Iterator[object]:
        return (key for key, _ in self.pairs)

    def __len__(self) -> int:
        return len(self._entries or ())

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return brief(self)


class Set:
    """A set of the file; its items stay a list, for nothing of a file is hashed."""

    __slots__ = ("class_name", "items")

    def __init__(self, items: list[object], class_name: str = "set") -> None:
        self.items = items
        self.class_name = class_name

    def __repr__(self) -> str:
        return brief(self)


class Opaque:
    """An object or call the file names, inert: its class path, arguments and state, as nodes.

    ``pairs`` and ``items`` hold what the file puts in as entries or elements (subclasses of dict and list).
    A bare name that is never called is an Opaque with ``args`` None.
    """

    __slots__ = ("args", "class_path", "items", "kwargs", "pairs", "state")

    def __init__(self, class_path: str, args: object = None, state: object = None, kwargs: object = None) -> None:
        self.class_path = class_path
        self.args = args
        self.state = state
        self.kwargs = kwargs
        self.pairs: Dict | None = None
        self.items: list[object] | None = None

    def __repr__(self) -> str:
        return brief(self)


class StorageNode:
    """A storage of the file under its element type (None: plain bytes); ``problem`` says why it cannot be used.

    ``reach`` is how many elements the views that leave it would need, 0 while none does.
    """

    __slots__ = ("big_endian", "dtype", "numel", "problem", "reach", "storage")

    def __init__(
        self, storage: Storage, dtype: DType | None, numel: int, *, big_endian: bool = False, problem: str = ""
    ) -> None:
        self.storage = storage
        self.dtype = dtype
        self.numel = numel
        self.reach = 0
        self.big_endian = big_endian
        self.problem = problem

    def __repr__(self) -> str:
        return brief(self)


def brief(node: object, limit: int = 80) -> str:
    """A node in one bounded, printable line; containers tell their size instead of their content."""
    if isinstance(node, Name):
        return printable(str(node[: limit + 1]), limit)
    if isinstance(node, str):
        return printable(repr(node[: limit + 1]), limit) if len(node) <= limit else printable(repr(node[:limit]) + "…")
    if isinstance(node, bytes):
        return printable(repr(node[: limit + 1]), limit)
    if isinstance(node, int) and node.bit_length() > 256:
        return f"integer of about {int(node.bit_length() * 0.30103) + 1:,} digits"
    if node is None or isinstance(node, (bool, int, float, complex)):
        return repr(node)
    if isinstance(node, TensorRef):
        return printable(repr(node), limit)
    if isinstance(node, Dict):
        return printable(f"{node.class_name} of {len(node):,}", limit)
    if isinstance(node, Set):
        return f"{node.class_name} of {len(node.items):,}"
    if isinstance(node, (list, tuple)):
        return f"{type(node).__name__} of {len(node):,}"
    if isinstance(node, StorageNode):
        return printable(f"storage {node.storage.id} of {node.storage.nbytes:,} bytes", limit)
    if isinstance(node, Opaque):
        return printable(node.class_path[: limit + 1] + ("" if node.args is None else "(..)"), limit)
    return f"<{type(node).__name__}>"


def key_text(key: object) -> str | int:
    """A mapping key as a segment of a path: text and integers as they are, anything else as Python would print it."""
    kind = type(key)
    if kind is str:
        return key  # type: ignore[return-value]
    if kind is int and key.bit_length() <= 256:  # type: ignore[attr-defined]
        return key  # type: ignore[return-value]
    if kind is tuple and len(key) <= 8:  # type: ignore[arg-type]
        inner = ", ".join(brief(item, 40) for item in key)  # type: ignore[attr-defined]
        return f"({inner},)" if len(key) == 1 else f"({inner})"  # type: ignore[arg-type]
    return brief(key, 200)


def module_parts(node: object) -> tuple[Dict, Dict | None, Dict] | None:
    """Parameters, buffers and children of a saved ``torch.nn.Module``, None when the node is none.

    Recognised by what it holds, for its class may be anybody's. The one that torch.compile wraps around a module is
    written as a call with that module, which is its only child.
    """
    if type(node) is not Opaque:
        return None
    if type(node.state) is not Dict:
        if node.class_path == _COMPILED and type(node.args) is tuple and node.args:
            return Dict(), None, Dict([("_orig_mod", node.args[0])])
        return None
    parameters, modules = _mapping(node.state.get("_parameters")), _mapping(node.state.get("_modules"))
    if parameters is None or modules is None:
        return None
    return parameters, _mapping(node.state.get("_buffers")), modules


def _mapping(node: object) -> Dict | None:
    if type(node) is Opaque:
        node = node.pairs
    return node if type(node) is Dict else None


def dropped_buffers(node: Opaque) -> set[str]:
    """Names of the buffers of a module that its state_dict() leaves out."""
    temporary = node.state.get("_non_persistent_buffers_set") if isinstance(node.state, Dict) else None
    return {item for item in temporary.items if type(item) is str} if type(temporary) is Set else set()


def _module_entries(node: Opaque, parts: tuple[Dict, Dict | None, Dict]) -> Iterator[tuple[object, object]]:
    parameters, buffers, modules = parts
    yield from parameters.pairs
    if buffers is not None:
        dropped = dropped_buffers(node)
        for key, value in buffers.pairs:
            if not (type(key) is str and key in dropped):
                yield key, value
    yield from modules.pairs


def table_entries(node: object) -> Iterator[tuple[object, object]] | None:
    """Segment and value of each child that belongs to the table of tensors; None for a node without any."""
    kind = type(node)
    if kind is Dict:
        return node.pairs  # type: ignore[attr-defined,no-any-return]
    if kind is list or kind is tuple:
        return enumerate(node)  # type: ignore[arg-type]
    if kind is Opaque:
        parts = module_parts(node)
        if parts is not None:
            return _module_entries(node, parts)  # type: ignore[arg-type]
        if node.pairs is not None:  # type: ignore[attr-defined]
            return node.pairs.pairs  # type: ignore[attr-defined,no-any-return]
        if node.items is not None:  # type: ignore[attr-defined]
            return enumerate(node.items)  # type: ignore[attr-defined]
    return None


def table_values(node: object) -> Collection[object]:
    """The children of `table_entries` without their segments; nothing for a node without any."""
    kind = type(node)
    if kind is list or kind is tuple:
        return node  # type: ignore[return-value]
    if kind is Dict:
        entries = node._entries  # type: ignore[attr-defined]
        return () if entries is None else entries.values()
    if kind is Opaque:
        return [child for _, child in table_entries(node) or ()]
    return ()


def _counted(tree: object) -> tuple[int, int]:
    """Tensors and entries of any kind in the nodes of the table, each node counted once."""
    n_tensors = n_entries = 0
    seen = {id(tree)}
    waiting = [tree]
    while waiting:
        children = table_values(waiting.pop())
        n_entries += len(children)
        for child in children:
            kind = type(child)
            if kind is TensorRef:
                n_tensors += 1
            elif kind is list or kind is tuple or kind is Dict or kind is Opaque:
                me = id(child)
                if me not in seen:
                    seen.add(me)
                    waiting.append(child)
    return n_tensors, n_entries


def _entries_of(node: object, begin: int) -> Iterator[tuple[object, object]]:
    """Segments and children from the one at `begin` on, which is 0 but for lists and tuples."""
    kind = type(node)
    if kind is list or kind is tuple:
        children = iter(node)  # type: ignore[call-overload]
        children.__setstate__(begin)
        return zip(count(begin), children)
    if kind is Dict:
        return iter((node._entries or {}).items())  # type: ignore[attr-defined]
    return iter(list(table_entries(node) or ()))


def walk(tree: object) -> Iterator[tuple[Path, TensorRef]]:
    """Path and tensor of every row of the table, in file order: dicts, lists and modules nested in any way.

    A node inside itself is not entered again. OpenError when sharing makes the table larger than MAX_ROWS.
    """
    if type(tree) is TensorRef:
        yield (), tree
        return
    n_tensors, n_entries = _counted(tree)
    if not n_tensors:
        return
    most_rows = min(MAX_ROWS, _FREE_ROWS + 4 * n_tensors)
    steps_left = _MAX_STEPS + 4 * n_entries
    # Nodes without a row below them are not entered twice. One that leads back to a node of the current path is only
    # known to have none while that stays on the path: it is in `unsure` as well, and the nodes led back to in `met`.
    barren: set[int] = set()
    unsure: list[int] = []
    met: set[int] = set()
    # The path: per level its node, where to go on in it (a position of a list, or that it is done, or that the iterator
    # or list to go on with is in `saved`), the segment below it, and whether there are rows.
    me = id(tree)
    on_path = {me}
    nodes = [me]
    saved: list[object] = []
    positions: list[int] = []
    prefix: list[object] = []
    filled = bytearray(1)
    rows = text = width = odd = 0
    current, entries = tree, _entries_of(tree, 0)
    while True:
        for key, node in entries:
            kind = type(node)
            if kind is TensorRef:
                segment = key if type(key) is str else key_text(_bare(key))
                rows += 1
                filled[-1] = 1
                depth = len(prefix)
                text += width + depth + (_width(segment) if type(segment) is str else 20)
                if depth > _FREE_DEPTH:
                    text += 8 * depth
                if rows > most_rows or text > MAX_ROW_TEXT:
                    raise _too_many()
                before = prefix if not odd else [key_text(_bare(each)) for each in prefix]
                yield (*before, segment), node  # type: ignore[misc]
            elif kind is list or kind is tuple or kind is Dict or kind is Opaque:
                me = id(node)
                if me in barren:
                    continue
                if me in on_path:
                    met.add(me)
                    continue
                steps_left -= 1 + (1 if kind is Opaque else len(node))  # type: ignore[arg-type]
                if steps_left < 0:
                    raise _too_many()
                if type(current) is list or type(current) is tuple:
                    at: int = key + 1  # type: ignore[operator]
                    if at < len(current):
                        saved.append(current)
                        positions.append(at)
                    else:
                        positions.append(_DONE)
                elif entries.__length_hint__():  # type: ignore[attr-defined]
                    saved.append(entries)
                    positions.append(_ITERATOR)
                else:
                    positions.append(_DONE)
                width += _segment_width(key)
                odd += type(key) is _OddKey
                prefix.append(key)
                filled.append(0)
                nodes.append(me)
                on_path.add(me)
                current, entries = node, _entries_of(node, 0)
                break
        else:
            me = nodes.pop()
            on_path.discard(me)
            has_rows = filled.pop()
            if has_rows and filled:
                filled[-1] = 1
            if me in met:
                met.discard(me)
                if has_rows:
                    barren.difference_update(unsure)
                    unsure.clear()
            if not has_rows:
                barren.add(me)
                if met:
                    unsure.append(me)
            if not met:
                unsure.clear()
            if not positions:
                return
            key = prefix.pop()
            width -= _segment_width(key)
            odd -= type(key) is _OddKey
            at = positions.pop()
            if at == _DONE:
                current, entries = None, iter(())
            elif at == _ITERATOR:
                current, entries = None, saved.pop()  # type: ignore[assignment]
            else:
                current = saved.pop()
                entries = _entries_of(current, at)


def _segment_width(key: object) -> int:
    if type(key) is str:
        return _width(key)
    return 20 if type(key) is int else _width(str(key_text(_bare(key))))


def _bare(key: object) -> object:
    return key.node if type(key) is _OddKey else key


def _width(segment: str) -> int:
    """Bytes it takes in memory, at most; one wide character makes all of its text wide."""
    return len(segment) if segment.isascii() else 4 * len(segment)


def _too_many() -> OpenError:
    return OpenError(
        f"The file lists more than {MAX_ROWS:,} tensors, or far more than it holds, or keys of more than "
        f"{MAX_ROW_TEXT >> 20} million characters.",
        cause="It repeats the same few objects over and over.",
        next_step="Ask its author for a flat state_dict.",
        code="too-many-tensors",
    )
