"""Outline: the keys of a plan as a tree of groups, laid out flat so that 100,000 keys stay quick."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from workbench.core import collector

_DIGITS = re.compile(r"\d+")


Line = tuple[str, int, int, int, int, int, int]
"""An `Item` as a plain tuple: of those the garbage collector stops keeping track, which matters at 100,000."""

_Children = dict[str, "int | _Node"]  # a lone tensor is just its row


class _Node:
    __slots__ = ("children", "rows")

    def __init__(self) -> None:
        self.children: _Children = {}
        self.rows: list[int] = []


class Item(NamedTuple):
    """One line of the outline: a group, or (row >= 0) a tensor.

    `key` is the full key, of which `key[shown:]` is what the lines above do not say yet. A group's tensors are
    ``order[start:end]``, its lines end before line `after`.
    """

    key: str
    shown: int
    depth: int
    row: int
    start: int
    end: int
    after: int

    @property
    def is_group(self) -> bool:
        """Whether this line is a group."""
        return self.row < 0


class Outline:
    """The nested arrangement as if everything were open: `outline[n]` is a line, `order` the rows as they stand."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys
        self.lines: list[Line] = []
        self.order: list[int] = []
        with collector.paused():
            self._lay_out(self._grow())

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, line: int) -> Item:
        return Item._make(self.lines[line])

    @cached_property
    def line_of(self) -> dict[int, int]:
        """The line of each row."""
        return {row: n for n, (_, _, _, row, _, _, _) in enumerate(self.lines) if row >= 0}

    def _grow(self) -> _Children:
        top: _Children = {}
        homes: dict[str, _Children] = {}
        for row, key in enumerate(self.keys):
            parent, dot, name = key.rpartition(".")
            children = top
            if dot:
                known = homes.get(parent)
                children = homes[parent] = self._descend(top, parent) if known is None else known
            child = children.get(name)
            if child is None:
                children[name] = row
            elif isinstance(child, int):
                node = children[name] = _Node()
                node.rows = [child, row]
            else:
                child.rows.append(row)
        return top

    @staticmethod
    def _descend(children: _Children, parent: str) -> _Children:
        for segment in parent.split("."):
            child = children.get(segment)
            if child is None or isinstance(child, int):
                node = children[segment] = _Node()
                if child is not None:
                    node.rows.append(child)
                child = node
            children = child.children
        return children

    def _lay_out(self, top: _Children) -> None:
        # Depth first, without recursion: a key may have a million segments.
        lines, order = self.lines, self.order
        pending: list[tuple[str, int | _Node | None, int, int]] = [
            (name, child, 0, 0) for name, child in reversed(top.items())
        ]
        while pending:
            key, node, shown, depth = pending.pop()
            if node is None:  # the end of the group whose line number stands in `shown`
                lines[shown] = (*lines[shown][:5], len(order), len(lines))
                continue
            while not isinstance(node, int) and not node.rows and len(node.children) == 1:
                name, node = next(iter(node.children.items()))  # a chain with one child is one line
                key = f"{key}.{name}"
            for row in (node,) if isinstance(node, int) else node.rows:
                lines.append((key, shown, depth, row, len(order), len(order) + 1, len(lines) + 1))
                order.append(row)
            if not isinstance(node, int) and node.children:
                pending.append(("", None, len(lines), 0))
                lines.append((key, shown, depth, -1, len(order), 0, 0))
                below, shown, depth = reversed(node.children.items()), len(key) + 1, depth + 1
                pending.extend((f"{key}.{name}", child, shown, depth) for name, child in below)

    def opened_at_first(self, n_lines: int) -> frozenset[int]:
        """The lines of the groups that a fresh table has open: whole levels, as many as stay within `n_lines`."""
        sizes: dict[int, int] = {}
        for _, _, depth, _, _, _, _ in self.lines:
            sizes[depth] = sizes.get(depth, 0) + 1
        level, shown = 0, sizes.get(0, 0)
        while shown <= n_lines and level in sizes:
            level += 1
            shown += sizes.get(level, 0)
        return frozenset(n for n, (_, _, depth, row, _, _, _) in enumerate(self.lines) if row < 0 and depth < level - 1)


def natural(key: str) -> str:
    """A key to sort by in which numbers stand in numeric order."""
    return _DIGITS.sub(lambda found: found[0].zfill(20), key)
