"""Outline: the keys of a plan as a tree of groups, laid out flat so that 100,000 keys stay quick."""

from __future__ import annotations

import re
from collections.abc import Container
from functools import cached_property
from typing import NamedTuple

from workbench.core import collector
from workbench.rows.repeats import Arranged

_DIGITS = re.compile(r"\d+")

GROUP, FOLDED, NOTE = -1, -2, -3
"""What stands for the row in a line that shows no single tensor."""

Line = tuple[str, int, int, int, int, int, int, int, str, int]
"""An `Item` as a plain tuple: of those the garbage collector stops keeping track, which matters at 100,000."""

_Children = dict[str, "int | _Node"]  # a lone tensor is just its place in the list of keys


class _Node:
    __slots__ = ("children", "places")

    def __init__(self) -> None:
        self.children: _Children = {}
        self.places: list[int] = []


_Pending = tuple[str, "int | _Node | None", int, int, int, str, int]


class Item(NamedTuple):
    """One line of the outline: a group, a tensor (row >= 0), a tensor of folded blocks, or a note on a tensor.

    `key` is the full key, of which `key[shown:]` is what the lines above do not say yet. A line's tensors are
    ``order[start:end]``, its lines end before line `after`. Inside a fold the line stands for `n` blocks, `real` is
    its key in the first of them, and `fold` the innermost fold (-1: none).
    """

    key: str
    shown: int
    depth: int
    row: int
    start: int
    end: int
    after: int
    n: int
    real: str
    fold: int

    @property
    def is_group(self) -> bool:
        """Whether this line is a group."""
        return self.row == GROUP

    @property
    def ident(self) -> str:
        """What this line is called, also in another outline of the same keys; a single tensor has none."""
        return f"{'=' if self.row == FOLDED else 'g' if self.n == 1 else '*'}{self.real}"


class Outline:
    """The nested arrangement as if everything were open: `outline[n]` is a line, `order` the rows as they stand.

    A tensor in `noted` has a note below it.
    """

    def __init__(self, arranged: Arranged, noted: Container[int] = ()) -> None:
        self.folds, self.keys, self.rows = arranged.folds, arranged.keys, arranged.rows
        self.lines: list[Line] = []
        self.order: list[int] = []
        self._noted = noted
        with collector.paused():
            self._lay_out(self._grow())

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, line: int) -> Item:
        return Item._make(self.lines[line])

    def shows(self, arranged: Arranged) -> bool:
        """Whether these keys are laid out here already."""
        return self.folds == arranged.folds and self.keys == arranged.keys and self.rows == arranged.rows

    @cached_property
    def line_of(self) -> dict[int, int]:
        """The line of each row; that of its fold where it is folded away."""
        lines = {}
        for n, (_, _, _, row, start, end, _, _, _, _) in enumerate(self.lines):
            if row >= 0:
                lines[row] = n
            elif row == FOLDED:
                lines.update(dict.fromkeys(self.order[start:end], n))
        return lines

    @cached_property
    def line_called(self) -> dict[str, int]:
        """The line with each `ident`."""
        return {
            self[n].ident: n for n, (_, _, _, row, _, _, _, _, _, _) in enumerate(self.lines) if row in (GROUP, FOLDED)
        }

    def _grow(self) -> _Children:
        top: _Children = {}
        homes: dict[str, _Children] = {}
        for place, key in enumerate(self.keys):
            parent, dot, name = key.rpartition(".")
            children = top
            if dot:
                known = homes.get(parent)
                children = homes[parent] = self._descend(top, parent) if known is None else known
            child = children.get(name)
            if child is None:
                children[name] = place
            elif isinstance(child, int):
                node = children[name] = _Node()
                node.places = [child, place]
            else:
                child.places.append(place)
        return top

    @staticmethod
    def _descend(children: _Children, parent: str) -> _Children:
        for segment in parent.split("."):
            child = children.get(segment)
            if child is None or isinstance(child, int):
                node = children[segment] = _Node()
                if child is not None:
                    node.places.append(child)
                child = node
            children = child.children
        return children

    def _lay_out(self, top: _Children) -> None:
        # Depth first, without recursion: a key may have a million segments.
        lines, order, all_rows, noted = self.lines, self.order, self.rows, self._noted
        pending: list[_Pending] = [
            self._segment("", "", name, child, 0, 0, 1, -1) for name, child in reversed(top.items())
        ]
        while pending:
            key, node, shown, depth, n, real, fold = pending.pop()
            if node is None:  # the end of the group whose line number stands in `shown`
                lines[shown] = (*lines[shown][:5], len(order), len(lines), *lines[shown][7:])
                continue
            if not isinstance(node, int) and not node.places and len(node.children) == 1:
                key, node, n, real, fold = self._chain(key, node, n, real, fold)
            for place in (node,) if isinstance(node, int) else node.places:
                rows, start = all_rows[place], len(order)
                order.extend(rows)
                row = rows[0] if n == 1 else FOLDED
                lines.append((key, shown, depth, row, start, len(order), len(lines) + 1, n, real, fold))
                if rows[0] in noted:
                    lines.append((key, shown, depth, NOTE, start, len(order), len(lines) + 1, n, real, fold))
            if not isinstance(node, int) and node.children:
                pending.append(("", None, len(lines), 0, 0, "", -1))
                lines.append((key, shown, depth, GROUP, len(order), 0, 0, n, real, fold))
                head, shown, depth = f"{key}.", len(key) + 1, depth + 1
                real_head = head if real is key else f"{real}."
                pending.extend(
                    self._segment(head, real_head, name, child, shown, depth, n, fold)
                    for name, child in reversed(node.children.items())
                )

    def _chain(
        self, key: str, node: int | _Node, n: int, real: str, fold: int
    ) -> tuple[str, int | _Node, int, str, int]:
        """The end of a chain of groups with one child each, which is one line."""
        shown, first = [key], [real]
        while not isinstance(node, int) and not node.places and len(node.children) == 1:
            name, node = next(iter(node.children.items()))
            text, _, _, _, n, number, fold = self._segment("", "", name, None, 0, 0, n, fold)
            shown.append(text)
            first.append(number)
        joined = ".".join(shown)
        return joined, node, n, joined if shown == first else ".".join(first), fold

    def _segment(
        self, head: str, real: str, name: str, node: int | _Node | None, shown: int, depth: int, n: int, fold: int
    ) -> _Pending:
        """One more segment behind `head`; that of a fold reads as its numbers."""
        if name[:1] != "\0" or not name[1:].isdecimal() or int(name[1:]) >= len(self.folds):
            key = head + name
            return key, node, shown, depth, n, key if real is head else real + name, fold
        number = int(name[1:])
        blocks = self.folds[number]
        return head + blocks.text, node, shown, depth, n * len(blocks.numbers), f"{real}{blocks.numbers[0]}", number

    def opened_anew(self, earlier: Outline, opened: frozenset[str]) -> frozenset[str]:
        """What to open beside `opened`, the open groups of `earlier`, where other blocks fold now.

        The parts of a fold that was split stand below a new line, and a fold that lost its first block stays open.
        """
        names = set()
        firsts: dict[str, list[str]] = {}
        for fold in self.folds:
            firsts.setdefault(fold.parent, []).append(fold.first)
        for fold in earlier.folds:
            holder, now = f"g{fold.parent}", firsts.get(fold.parent, [])
            if holder not in earlier.line_called:
                names.add(holder)
            if now and fold.first not in now:
                was = f"*{fold.first}"
                names |= {f"*{now[0]}{name[len(was) :]}" for name in opened if f"{name}.".startswith(f"{was}.")}
        return frozenset(names)

    def opened_at_first(self, n_lines: int) -> frozenset[str]:
        """The names of the groups that a fresh table has open: whole levels, as many as stay within `n_lines`."""
        sizes: dict[int, int] = {}
        for line in self.lines:
            sizes[line[2]] = sizes.get(line[2], 0) + 1
        level, shown = 0, sizes.get(0, 0)
        while shown <= n_lines and level in sizes:
            level += 1
            shown += sizes.get(level, 0)
        return frozenset(self[n].ident for n, line in enumerate(self.lines) if line[3] == GROUP and line[2] < level - 1)


def natural(key: str) -> str:
    """A key to sort by in which numbers stand in numeric order."""
    return _DIGITS.sub(lambda found: found[0].zfill(20), key)
