"""Tensors of a file that no state_dict() names: non-persistent buffers, plain attributes, parts of other objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from workbench.core.tensor import TensorRef
from workbench.core.tree import Dict, Opaque, Set, dropped_buffers, key_text, module_parts, table_entries, table_values
from workbench.errors import printable

__all__ = ["MAX_BESIDE", "Beside", "beside_of", "objects_and_repeats", "objects_of"]

MAX_BESIDE: Final = 10_000
"""Tensors listed beside the table; the others are counted."""

_MAX_DEPTH: Final = 100
_MODULE_TABLES: Final = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})
_NON_PERSISTENT: Final = "it is a non-persistent buffer, which state_dict() leaves out"
_ATTRIBUTE: Final = "it is a plain attribute, neither parameter nor buffer"


@dataclass(frozen=True, slots=True)
class Beside:
    """One such tensor, its key and path being those of the objects it lies in, and why no state_dict() names it.

    ``reason`` is a clause that begins with "it".
    """

    tensor: TensorRef
    reason: str


_Link = tuple["_Link | None", object, int] | None
"""A path from its end: what comes before, the last segment, and how many segments it has."""

_Found = Iterator[tuple[object, object, str]]
"""Segment, node, and the reason for a tensor there."""


def beside_of(tree: object) -> tuple[tuple[Beside, ...], int]:
    """The tensors that ``walk`` does not list, each once and in file order, and how many there are in all.

    One that the table lists as well, such as the parameters an LSTM keeps in ``_flat_weights``, is not one of them.
    """
    if not objects_of(tree):
        return (), 0
    listed, table = _listed(tree)
    found: list[Beside] = []
    n = 0
    seen: set[int] = set()
    stack: list[tuple[object, _Link, str]] = [(tree, None, "")]
    while stack:
        node, link, reason = stack.pop()
        if type(node) is TensorRef:
            if reason and id(node) not in listed and id(node) not in seen:
                seen.add(id(node))
                n += 1
                if n <= MAX_BESIDE:
                    path = _path(link)
                    found.append(Beside(replace(node, key=".".join(map(str, path)), path=path), reason))
            continue
        if id(node) in seen or (reason and id(node) in table):
            continue
        children = list(_inside(node, reason) if reason else _table_children(node))
        if children:
            seen.add(id(node))
            depth = 1 if link is None else link[2] + 1
            stack.extend((child, (link, key, depth), why) for key, child, why in reversed(children))
    return tuple(found), n


def objects_of(tree: object) -> list[Opaque]:
    """Modules and objects that the table enters, or would if they held tensors: each once."""
    return objects_and_repeats(tree)[0]


def objects_and_repeats(tree: object) -> tuple[list[Opaque], int]:
    """The same, and how many keys its mappings hold a second time."""
    n_repeated = tree.n_repeated if type(tree) is Dict else 0
    found: list[Opaque] = [tree] if type(tree) is Opaque else []
    seen = {id(tree)}
    waiting = [tree]
    while waiting:
        for child in table_values(waiting.pop()):
            kind = type(child)
            if kind is list or kind is tuple or kind is Dict or kind is Opaque:
                me = id(child)
                if me not in seen:
                    seen.add(me)
                    waiting.append(child)
                    if kind is Dict:
                        n_repeated += child.n_repeated  # type: ignore[attr-defined]
                    elif kind is Opaque:
                        found.append(child)  # type: ignore[arg-type]
    return found, n_repeated


def _listed(tree: object) -> tuple[set[int], set[int]]:
    """The ids of all tensors of the table, and of the nodes that lead to them or could."""
    tensors: set[int] = set()
    nodes = {id(tree)}
    waiting = [tree]
    while waiting:
        for child in table_values(waiting.pop()):
            kind = type(child)
            if kind is TensorRef:
                tensors.add(id(child))
            elif kind is list or kind is tuple or kind is Dict or kind is Opaque:
                me = id(child)
                if me not in nodes:
                    nodes.add(me)
                    waiting.append(child)
    return tensors, nodes


def _path(link: _Link) -> tuple[str | int, ...]:
    """The segments; of a very deep one the last hundred, after an ellipsis."""
    segments: list[str | int] = []
    while link is not None and len(segments) < _MAX_DEPTH:
        segments.append(key_text(link[1]))
        link = link[0]
    if link is not None:
        segments.append("…")
    return tuple(reversed(segments))


def _table_children(node: object) -> _Found:
    """What lies in the table, with no reason, and the rest of an object, with one."""
    entries = table_entries(node)
    if entries is not None:
        for key, child in entries:
            if type(child) is not TensorRef and _may_hold(child):
                yield key, child, ""
    if type(node) is Opaque:
        parts = module_parts(node)
        if parts is None:
            for key, child in _of_object(node):
                yield key, child, _kept_by(node)
        else:
            dropped = dropped_buffers(node)
            for key, child in parts[1].pairs if parts[1] is not None and dropped else ():
                if key in dropped:
                    yield key, child, _NON_PERSISTENT
            yield from _attributes(node)


def _attributes(node: Opaque) -> _Found:
    """The plain attributes of a module."""
    if isinstance(node.state, Dict):
        for key, child in node.state.pairs:
            if _may_hold(child) and not (type(key) is str and key in _MODULE_TABLES):
                inside = f"it lies inside the plain attribute `{printable(str(key_text(key)), 80)}` of a module"
                yield key, child, _ATTRIBUTE if type(child) is TensorRef else inside


def _inside(node: object, reason: str) -> _Found:
    """What lies in a node that the table does not reach."""
    if isinstance(node, Dict):
        children: Iterator[tuple[object, object]] = node.pairs
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    elif isinstance(node, Set):
        children = enumerate(node.items)
    elif isinstance(node, Opaque):
        parts = module_parts(node)
        if parts is not None:
            for part in parts:
                for key, child in part.pairs if part is not None else ():
                    if _may_hold(child):
                        yield key, child, reason
            for key, child, _ in _attributes(node):
                yield key, child, reason
            return
        children = _of_object(node)
    else:
        return
    for key, child in children:
        if _may_hold(child):
            yield key, child, reason


def _of_object(node: Opaque) -> Iterator[tuple[object, object]]:
    """Attributes, arguments and entries of somebody's object, named as Python would reach them."""
    if isinstance(node.state, Dict):
        yield from node.state.pairs
    elif node.state is not None:
        yield "state", node.state
    for label, part in (("args", node.args), ("kwargs", node.kwargs), ("items", node.items)):
        if part:
            yield label, part
    if node.pairs is not None:
        yield from node.pairs.pairs


def _kept_by(node: Opaque) -> str:
    return f"it is kept by an object `{printable(node.class_path, 120)}`, which is no module"


def _may_hold(node: object) -> bool:
    return type(node) is TensorRef or isinstance(node, (Dict, Opaque, list, tuple, Set))
