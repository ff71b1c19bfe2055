"""What else a file holds: its values that are no tensors, and the classes of its modules, each by its key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from workbench.core.tensor import TensorRef
from workbench.core.tree import Dict, Opaque, Set, StorageNode, key_text, module_parts, table_entries
from workbench.core.values import numpy_scalar, shown

__all__ = ["MAX_VALUES", "Value", "module_classes", "values_of"]

MAX_VALUES: Final = 10_000
"""Values listed; a file may hold any number of them."""

_MAX_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its key (the path, joined by dots), what it is in one bounded line, and its Python type or class."""

    key: str
    text: str
    type_name: str


def values_of(tree: object) -> Iterator[Value]:
    """Plain values and objects below `tree`, in file order, at most `MAX_VALUES`.

    Modules and tensors are not values. A container is shown by its entries, an empty or repeated one as a whole.
    """
    seen: set[int] = set()
    stack: list[tuple[str, object, int]] = [] if isinstance(tree, (TensorRef, StorageNode)) else [("", tree, 0)]
    n = 0
    while stack and n < MAX_VALUES:
        key, node, depth = stack.pop()
        children: list[tuple[object, object]] = []
        if isinstance(node, (Dict, list, tuple, Opaque)) and id(node) not in seen and depth < _MAX_DEPTH:
            seen.add(id(node))
            children = _children(node)
        if children:
            stack.extend(
                (_join(key, name), child, depth + 1)
                for name, child in reversed(children)
                if not isinstance(child, (TensorRef, StorageNode))
            )
        elif not _is_module(node):
            n += 1
            yield Value(key, shown(node), _type_name(node))


def module_classes(tree: object) -> dict[str, str]:
    """The class path of each saved module by the key it has in the table ("" for the file itself)."""
    classes: dict[str, str] = {}
    seen: set[int] = set()
    stack: list[tuple[str, object, int]] = [("", tree, 0)]
    while stack:
        key, node, depth = stack.pop()
        if not isinstance(node, (Dict, list, tuple, Opaque)) or id(node) in seen or depth > _MAX_DEPTH:
            continue
        seen.add(id(node))
        if isinstance(node, Opaque) and _is_module(node):
            classes[key] = node.class_path
        below = [pair for pair in table_entries(node) or () if type(pair[1]) is not TensorRef]
        stack.extend((_join(key, name), child, depth + 1) for name, child in reversed(below))
    return classes


def _children(node: object) -> list[tuple[object, object]]:
    if _is_module(node):
        # A module's parameter or child that is None is one it does without.
        return [entry for entry in table_entries(node) or () if entry[1] is not None]
    if isinstance(node, Opaque) and isinstance(node.state, Dict):
        return list(node.state.pairs)
    return list(table_entries(node) or ())


def _is_module(node: object) -> bool:
    return module_parts(node) is not None


def _join(key: str, name: object) -> str:
    segment = str(key_text(name))
    return f"{key}.{segment}" if key else segment


def _type_name(node: object) -> str:
    number = numpy_scalar(node)
    if number is not None:
        return type(number).__name__
    if isinstance(node, (Dict, Set)):
        return node.class_name
    if isinstance(node, Opaque):
        return node.class_path.rpartition(".")[2]
    return "None" if node is None else type(node).__name__
