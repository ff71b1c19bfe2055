"""The MessagePack record of a model (.mpk): which fields it has, in order, and which tensor goes into which.

A record is as deep as the structs of the model, so its shape is that of a `Node`: from Rust source, or from a record
that Burn wrote (`Template`). `fit` fills it with the names of tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from workbench.core.tensor import TensorRef
from workbench.core.tree import Dict
from workbench.target import burn_modules
from workbench.target.entries import kind_of
from workbench.target.model import (
    Assumed,
    Choice,
    Constant,
    ListOf,
    Maybe,
    Module,
    Node,
    Nothing,
    OpenType,
    Parameter,
    TupleOf,
    Unsettled,
    parts,
)

__all__ = ["Fit", "Leaf", "Template", "Tree", "fit"]

_MAX_DEPTH: Final = 150
_MAX_STEPS: Final = 1_000_000
_MAX_LENGTH: Final = 100_000
_DEEP: Final = "what lies so deep"
_SEVERAL: Final = "-"
"""Stands for the variants of one of Burn's enums that have no parameters."""

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parameter of the record: its dotted path there, the name of the tensor that goes into it, what it takes."""

    path: str
    key: str
    parameter: Parameter


Tree = None | Leaf | list["Tree"] | dict[str, "Tree"]
"""A record, each parameter a `Leaf`; None is nil."""


@dataclass(slots=True)
class Fit:
    """A record filled with tensors, and where that did not come out. Pairs are a path and what is to say about it."""

    tree: Tree = None
    leaves: list[Leaf] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)
    """Parameters without a tensor, and the struct that each is a field of."""
    unsettled: list[tuple[str, str]] = field(default_factory=list)
    """Places that the source of the record does not tell, and what of them."""
    wrong: list[Leaf] = field(default_factory=list)
    """Parameters whose tensor has another shape."""
    absent: list[str] = field(default_factory=list)
    """Optional parts that have no tensor: nil."""
    empty: list[str] = field(default_factory=list)
    """Lists that have no tensor."""
    assumed: list[tuple[str, str]] = field(default_factory=list)
    """Enums without parameters, and the variant that stands there."""

    def add(self, more: Fit) -> None:
        """Take over all but the tree."""
        for name in ("leaves", "missing", "unsettled", "wrong", "absent", "empty", "assumed"):
            getattr(self, name).extend(getattr(more, name))


# ---- the record that a file has -----------------------------------------------------------------------


class Template:
    """The record of an .mpk that was opened, by the tree of its checkpoint.

    A struct whose fields are just those of one of Burn's modules is taken for that module.
    """

    def __init__(self, tree: object) -> None:
        self._tree = tree
        self._inside: dict[int, str] = {}

    def model(self) -> Node:
        """Its fields, without the tensors."""
        return self._node(self._tree, 0)

    def containers(self, path: Iterable[str | int]) -> tuple[str, ...]:
        """What each segment of a path in it is a part of, as in `Entry.containers`."""
        found = []
        tree = self._tree
        for segment in path:
            if isinstance(tree, list):
                found.append("Vec")
                tree = tree[int(segment)]
            elif isinstance(tree, Dict):
                found.append(self._container(tree))
                tree = tree.get(segment)
        return tuple(found)

    def _container(self, tree: Dict) -> str:
        known = self._inside.get(id(tree))
        if known is None:
            known = self._inside[id(tree)] = "Enum:" if _is_variant(tree) else f"Struct:{_type_of(tree)}"
        return known

    def _node(self, tree: object, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            return OpenType(_DEEP)
        if isinstance(tree, TensorRef):
            return Parameter(len(tree.shape), kind_of(tree.dtype.name), tree.shape)
        if isinstance(tree, list):
            items = tuple(self._node(item, depth + 1) for item in tree)
            constants = tuple(item.record for item in items if isinstance(item, Nothing))
            return Nothing(constants) if len(constants) == len(items) else TupleOf(items)
        if not isinstance(tree, Dict):
            return Nothing()
        if not all(isinstance(name, str) for name in tree):
            return OpenType("a variant that has no name")
        pairs = tuple((str(name), self._node(node, depth + 1)) for name, node in tree.items())
        constant = {name: node.record for name, node in pairs if isinstance(node, Nothing)}
        if len(constant) == len(pairs):
            return Nothing(constant)
        what, _, name = self._container(tree).partition(":")
        return Choice("", lambda: pairs) if what == "Enum" else Module(name, lambda: pairs)


def _is_variant(tree: Dict) -> bool:
    """Whether a map stands for an enum: it has its one variant in it, and Rust writes variants with a capital."""
    return len(tree) == 1 and str(next(iter(tree)))[:1].isupper()


def _type_of(tree: Dict) -> str:
    for name, fields in _by_fields().get(tuple(tree), ()):
        given = [(tree.get(field), kind) for field, kind in fields if kind[:1].isdecimal()]
        ranks = all(_has_rank(node, kind) for node, kind in given)
        if ranks and (not given or any(isinstance(node, TensorRef) for node, _ in given)):
            return name
    return ""


def _has_rank(node: object, kind: str) -> bool:
    if isinstance(node, TensorRef):
        return len(node.shape) == int(kind.rstrip("?"))
    return node is None and kind.endswith("?")


@cache
def _by_fields() -> dict[tuple[object, ...], list[tuple[str, tuple[tuple[str, str], ...]]]]:
    """Burn's modules of two fields and more, by the names of these."""
    found: dict[tuple[object, ...], list[tuple[str, tuple[tuple[str, str], ...]]]] = {}
    for version in ("0.18", "0.20", "0.21"):
        for name, (kind, fields) in burn_modules.declarations(version).items():
            same = found.setdefault(tuple(field for field, _ in fields), [])
            if kind == "struct" and len(fields) > 1 and (name, fields) not in same:
                same.append((name, fields))
    return found


# ---- filling it ---------------------------------------------------------------------------------------


def fit(model: Node, shapes: Mapping[str, tuple[int, ...]]) -> Fit:
    """The record of `model` with the tensors that have these names and shapes; names of enum variants may be left out.

    A Vec has as many elements as the names have indices there, an enum the variant that they fit, an Option without
    any is nil.
    """
    walk = _Walk(shapes)
    tree = walk.node(model, walk.trie, (), (), "", 0)
    walk.found.tree = tree
    return walk.found


_Trie = dict[str, "_Trie"]
_END: Final = ".end"
"""Marks where a name ends. A segment has no dot in it, but may be empty."""


class _Walk:
    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.found = Fit()
        self.n_steps = 0
        self.trie: _Trie = {}
        for key in shapes:
            at = self.trie
            for segment in key.split("."):
                at = at.setdefault(segment, {})
            at[_END] = {}

    def node(self, node: Node, trie: _Trie, path: Path, key: Path, owner: str, depth: int) -> Tree:
        """The record of `node`; `trie` is what the names have at this place, which they call `key`."""
        self.n_steps += 1
        if depth > _MAX_DEPTH:
            return self._open(path, _DEEP)
        if self.n_steps > _MAX_STEPS:
            if self.n_steps == _MAX_STEPS + 1:
                self._open(path, f"what comes after {_MAX_STEPS:,} fields")
            return None
        match node:
            case Nothing():
                return self._constant(node.record, path)
            case Parameter():
                return self._parameter(node, trie, path, key, owner)
            case OpenType():
                return self._open(path, f"the type {node.name}")
            case Module():
                if node.is_constant:
                    if parts(node).entries:
                        return self._open(path, f"{node.name}, which is not generic over a backend `B`")
                    return None
                fields = node.fields
                return {
                    name: self.node(child, trie.get(name, {}), (*path, name), (*key, name), node.name, depth + 1)
                    for name, child in fields
                }
            case Choice():
                return None if node.is_constant else self._choice(node, trie, path, key, depth)
            case ListOf():
                return self._list(node, trie, path, key, owner, depth)
            case TupleOf():
                return [
                    self.node(item, trie.get(str(n), {}), (*path, str(n)), (*key, str(n)), owner, depth + 1)
                    for n, item in enumerate(node.items)
                ]
            case Maybe():
                return self._maybe(node, trie, path, key, owner, depth)

    def _open(self, path: Path, what: str) -> Tree:
        self.found.unsettled.append((".".join(path), what))
        return None

    def _constant(self, record: Constant, path: Path) -> Tree:
        if isinstance(record, Unsettled):
            return self._open(path, record.what)
        if isinstance(record, Assumed):
            self.found.assumed.append((".".join(path), record.variant))
            return {record.variant: None}
        if isinstance(record, tuple):
            return [self._constant(item, (*path, str(n))) for n, item in enumerate(record)]
        if isinstance(record, Mapping):
            return {name: self._constant(item, (*path, name)) for name, item in record.items()}
        return None

    def _parameter(self, node: Parameter, trie: _Trie, path: Path, key: Path, owner: str) -> Tree:
        if _END not in trie:
            self.found.missing.append((".".join(path), owner))
            return None
        leaf = Leaf(".".join(path), ".".join(key), node)
        shape = self.shapes[leaf.key]
        self.found.leaves.append(leaf)
        if node.shape not in (None, shape) or node.rank not in (None, len(shape)):
            self.found.wrong.append(leaf)
        return leaf

    def _choice(self, node: Choice, trie: _Trie, path: Path, key: Path, depth: int) -> Tree:
        tried: list[tuple[tuple[int, bool], str, Fit]] = []
        for name, child in node.variants:
            has_name = name in trie
            below, named = (trie[name], (*key, name)) if has_name else (trie, key)
            made = self._trial(child, below, (*path, name), named, node.name, depth)
            score = len(made.leaves) - len(made.missing) - 2 * len(made.wrong)
            tried.append(((score, has_name), name, made))
        variants = ", ".join(name for _, name, _ in tried if name != _SEVERAL)
        which = f"which variant of {node.name or 'the enum'} it is ({variants})"
        best = max((score for score, _, _ in tried), default=(0, False))
        fitting = [(name, made) for score, name, made in tried if score == best]
        if len(fitting) == 1 and fitting[0][0] != _SEVERAL:
            name, made = fitting[0]
            if not made.leaves and not made.missing:
                self.found.assumed.append((".".join(path), name))
            self.found.add(made)
            return {name: made.tree}
        if not any(made.leaves for _, made in fitting) and all(made.missing for _, _, made in tried):
            self.found.missing.append((".".join(path), node.name))
            return None
        return self._open(path, which)

    def _list(self, node: ListOf, trie: _Trie, path: Path, key: Path, owner: str, depth: int) -> Tree:
        n = node.n
        if n is None:
            names = [name for name in trie if name.isdecimal() and name.isascii() and (name == "0" or name[0] != "0")]
            # Python reads no number of some thousand digits.
            n = max((int(name) if len(name) < 20 else 10**20 for name in names), default=-1) + 1
            if node.what == "Array":
                return self._open(path, "the length of the array")
            if not n:
                self.found.empty.append(".".join(path))
        if n > _MAX_LENGTH:
            return self._open(path, f"a list of {n:,} elements")
        return [
            self.node(node.of, trie.get(str(index), {}), (*path, str(index)), (*key, str(index)), owner, depth + 1)
            for index in range(n)
        ]

    def _maybe(self, node: Maybe, trie: _Trie, path: Path, key: Path, owner: str, depth: int) -> Tree:
        made = Fit()
        if trie:
            made = self._trial(node.of, trie, path, key, owner, depth)
        if not made.leaves and not made.unsettled:
            self.found.absent.append(".".join(path))
            return None
        self.found.add(made)
        return made.tree

    def _trial(self, node: Node, trie: _Trie, path: Path, key: Path, owner: str, depth: int) -> Fit:
        before, self.found = self.found, Fit()
        tree = self.node(node, trie, path, key, owner, depth + 1)
        made, self.found = self.found, before
        made.tree = tree
        return made
