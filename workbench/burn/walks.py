"""The walk of a reader over the tree of a file: which tensors it comes by, and which it passes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from workbench.burn.readers import Reader
from workbench.core.tree import Dict, Opaque, module_parts, table_entries

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint

__all__ = ["Passed", "passed_over"]


@dataclass(frozen=True, slots=True)
class Passed:
    """Why a reader does not list a tensor, in words that follow "it"."""

    why: str
    code: str


_IN_LIST: Final = Passed("lies in a list or tuple, which is not looked into", "burn-tensors-in-list")
_IN_OBJECT: Final = Passed("lies in an object, which is not looked into", "burn-tensors-in-object")
_NESTED: Final = Passed("lies below the root, and only the root is looked at", "burn-nested-dict")
_TWICE: Final = Passed("lies in a dict or list that the file has twice: the second is empty", "burn-same-dict-twice")
_OTHER_KEY: Final = Passed("has a number as key where another has the same as text; the last is left", "burn-same-key")
_NOT_TEXT: Final = Passed("has a number as key", "burn-int-key")
_TAR: Final = Passed("lies in a tar of torch before 0.1.10, in which nothing is found", "burn-tar-empty")
_PAIRS: Final = Passed("lies in an OrderedDict as Python 2 writes it, which is read as empty", "burn-ordered-pairs")
_OLD_CALL: Final = Passed("is written as torch before 0.4 wrote it, which is passed over", "burn-old-tensor")

_Prefix = tuple[str | int, ...]


def passed_over(reader: Reader, checkpoint: Checkpoint, n_below: int) -> list[Passed | None]:
    """For each tensor of the file why `reader` passes it over, None where it lists it.

    `n_below` is the number of keys that the top-level key takes from the path.
    """
    everywhere = _everywhere(reader, checkpoint)
    if everywhere is not None:
        return [everywhere] * len(checkpoint.tensors)
    walk = _Walk(reader, checkpoint, n_below)
    return [walk.fate(tensor.path) for tensor in checkpoint.tensors]


def _everywhere(reader: Reader, checkpoint: Checkpoint) -> Passed | None:
    written = checkpoint.written
    if reader.parser == "burn-store":
        if checkpoint.format == "torch-tar":
            return _TAR
        return _OLD_CALL if written.made else None
    if reader.parser == "candle" and "torch._utils._rebuild_tensor" in written.called:
        return None if "torch._utils._rebuild_tensor_v2" in written.called else _OLD_CALL
    return None


class _Walk:
    """Follows the paths of the table, each container on them once."""

    def __init__(self, reader: Reader, checkpoint: Checkpoint, n_below: int) -> None:
        self._reader = reader
        self._has_pairs = checkpoint.written.has_ordered_pairs and not reader.fills_ordered_pairs
        self._n_below = n_below
        self._entries: dict[int, dict[object, object]] = {}
        self._entered: set[int] = set()
        self._known: dict[_Prefix, tuple[object, Passed | None]] = {(): (checkpoint.tree, None)}
        self._known[()] = (checkpoint.tree, self._of(checkpoint.tree, 0))

    def fate(self, path: _Prefix) -> Passed | None:
        """Why the tensor at `path` is passed over."""
        if not path:
            return None
        node, passed = self._container(path[:-1])
        return passed or self._of_key(node, path[-1])

    def _container(self, path: _Prefix) -> tuple[object, Passed | None]:
        """The node at `path`, and why what lies in it is passed over."""
        n = len(path)
        while path[:n] not in self._known:
            n -= 1
        for end in range(n + 1, len(path) + 1):
            outer, passed = self._known[path[: end - 1]]
            node = self._inside(outer).get(path[end - 1])
            passed = passed or self._of_key(outer, path[end - 1]) or self._of(node, end)
            self._known[path[:end]] = node, passed
        return self._known[path]

    def _inside(self, node: object) -> dict[object, object]:
        found = self._entries.get(id(node))
        if found is None:
            found = {key: child for key, child in table_entries(node) or () if type(key) in (str, int)}
            self._entries[id(node)] = found
        return found

    def _of(self, node: object, depth: int) -> Passed | None:
        """Why nothing of what is directly in `node` is seen, on entering it."""
        is_again = id(node) in self._entered
        self._entered.add(id(node))
        if is_again and self._is_empty_again(node):
            return _TWICE
        if type(node) is Dict:
            if self._has_pairs and node.class_name == "OrderedDict":
                return _PAIRS
            return _NESTED if self._reader.walks == "root" and depth > self._n_below else None
        if type(node) is Opaque:
            return None if self._reader.reads_modules and module_parts(node) is not None else _IN_OBJECT
        return None if self._reader.walks == "dicts-and-lists" else _IN_LIST

    def _is_empty_again(self, node: object) -> bool:
        """Whether the reader's memo holds what was there before the entries came."""
        if type(node) is Dict:
            return self._reader.parser != "pytorch-reader" or node.attributes is None
        return type(node) is list

    def _of_key(self, node: object, key: str | int) -> Passed | None:
        if type(node) is not Dict:
            return None
        if type(key) is int and self._reader.parser == "candle":
            return _NOT_TEXT
        twin: str | int | None = str(key) if type(key) is int else int(key) if _is_number(key) else None
        if twin is not None and twin in node and str(twin) == str(key):
            keys = list(self._inside(node))
            return _OTHER_KEY if keys.index(key) < keys.index(twin) else None
        return None


def _is_number(key: str | int) -> bool:
    return type(key) is str and len(key) <= 18 and key.lstrip("-").isdecimal() and key.isascii() and key != "-"
