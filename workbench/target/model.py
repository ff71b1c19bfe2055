"""A Burn model as its source tells it, and the parameters that follow: all of them, or those that fit a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from workbench.target.entries import Entry, Kind, target_error

__all__ = [
    "Assumed",
    "Choice",
    "Constant",
    "ListOf",
    "Maybe",
    "Module",
    "Node",
    "Nothing",
    "OpenType",
    "Parameter",
    "Parts",
    "TupleOf",
    "Unsettled",
    "parts",
]

MAX_DEPTH: Final = 64
"""Modules inside each other."""

MAX_PARAMETERS: Final = 200_000
MAX_STEPS: Final = 1_000_000
"""Fields, elements and variants that are looked at."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A tensor that is loaded."""

    rank: int | None = None
    kind: Kind | None = "float"
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A constant of a record that its source does not tell, and what of it is not told."""

    what: str


@dataclass(frozen=True, slots=True)
class Assumed:
    """The variant of an enum without parameters that Burn takes unless it is told another one."""

    variant: str


Constant = None | tuple["Constant", ...] | Mapping[str, "Constant"] | Unsettled | Assumed
"""What a MessagePack record holds for what is no parameter: nil, or an array or map of such."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A constant, or a module without parameters; and what stands for it in a MessagePack record."""

    record: Constant = None


@dataclass(frozen=True, slots=True)
class OpenType:
    """A type that nothing is known of: whatever lies below it is accepted."""

    name: str


class Module:
    """A struct; its fields are made when asked for, since a struct may contain itself."""

    def __init__(
        self, name: str, make: Callable[[], tuple[tuple[str, Node], ...]], *, is_constant: bool = False
    ) -> None:
        self.name = name
        self.is_constant = is_constant
        """Whether Burn takes it for a constant, since it is not generic over a backend."""
        self._make = make

    @cached_property
    def fields(self) -> tuple[tuple[str, Node], ...]:
        """Name and type of each field, in order."""
        return self._make()


class Choice:
    """An enum: one of its variants, which the source alone does not tell."""

    def __init__(
        self, name: str, make: Callable[[], tuple[tuple[str, Node], ...]], *, is_constant: bool = False
    ) -> None:
        self.name = name
        self.is_constant = is_constant
        self._make = make

    @cached_property
    def variants(self) -> tuple[tuple[str, Node], ...]:
        """Name and content of each variant, in order."""
        return self._make()


@dataclass(frozen=True, slots=True)
class ListOf:
    """A Vec (`n` None: any length) or an array."""

    of: Node
    what: str = "Vec"
    n: int | None = None


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A tuple. Burn 0.19 gives its elements no segment of their own."""

    items: tuple[Node, ...]
    named: bool = True


@dataclass(frozen=True, slots=True)
class Maybe:
    """An Option."""

    of: Node


Node = Parameter | Nothing | OpenType | Module | Choice | ListOf | TupleOf | Maybe


@dataclass
class Parts:
    """What a model consists of: parameters, and where they are not settled."""

    entries: list[Entry] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    """Paths of lists of unknown length."""
    trees: dict[str, str] = field(default_factory=dict)
    """Paths below which anything is accepted, and the type there."""
    absent: list[str] = field(default_factory=list)
    """Optional parts that the file has nothing for."""
    choices: dict[str, str] = field(default_factory=dict)
    """Enums, and the variant that fits the file best."""
    n_present: int = 0


_Trie = dict[str, "_Trie"]
_END: Final = ""


def parts(
    model: Node,
    keys: Iterable[str] | None = None,
    *,
    skip_enum_variants: bool = False,
    norms: frozenset[str] = frozenset(),
) -> Parts:
    """All parts of a model, with `*` for the indices of a Vec and every variant of an enum; or those that fit `keys`.

    With keys: a Vec has as many elements as the keys have indices there, at least one; an enum is the variant that
    fits best; an Option is there if anything of it is. `norms` are the modules whose gamma and beta may be called
    weight and bias in the keys.
    """
    walk = _Walk(None if keys is None else _trie(keys), skip_enum_variants, norms)
    walk.node(model, walk.trie, (), (), False, 0)
    return walk.found


def _trie(keys: Iterable[str]) -> _Trie:
    root: _Trie = {}
    for key in keys:
        at = root
        for segment in key.split("."):
            at = at.setdefault(segment, {})
        at[_END] = {}
    return root


_Path = tuple[str, ...]


class _Walk:
    def __init__(self, trie: _Trie | None, skip: bool, norms: frozenset[str]) -> None:
        self.trie = trie
        self.fits = trie is not None
        self.skip = skip
        self.norms = norms
        self.found = Parts()
        self.open: list[Module | Choice] = []
        self.n_steps = 0

    def node(self, node: Node, trie: _Trie | None, path: _Path, containers: _Path, optional: bool, depth: int) -> None:
        """Add what `node` consists of; `trie` is what the keys have at this place."""
        self.n_steps += 1
        if self.n_steps > MAX_STEPS:
            raise target_error(
                "The types of the model contain each other too often.",
                next_step="Give the name of the struct that is meant as root.",
                code="target-too-big",
            )
        match node:
            case Nothing():
                return
            case Parameter():
                self._parameter(node, trie, path, containers, optional)
            case OpenType():
                self._open(node, trie, path, containers)
            case Module():
                self._module(node, trie, path, containers, optional, depth)
            case Choice():
                self._choice(node, trie, path, containers, depth)
            case ListOf():
                self._list(node, trie, path, containers, optional, depth)
            case TupleOf():
                for n, item in enumerate(node.items):
                    if node.named:
                        below = None if trie is None else trie.get(str(n))
                        self.node(item, below, (*path, str(n)), (*containers, "Tuple"), optional, depth)
                    else:
                        self.node(item, trie, path, containers, optional, depth)
            case Maybe():
                self._maybe(node, trie, path, containers, depth)

    def _parameter(self, node: Parameter, trie: _Trie | None, path: _Path, containers: _Path, optional: bool) -> None:
        if len(self.found.entries) > MAX_PARAMETERS:
            raise target_error(
                f"The model has more than {MAX_PARAMETERS:,} parameters.",
                cause="Its types contain each other very often.",
                next_step="Give the name of the struct that is meant as root.",
                code="target-too-big",
            )
        if trie is not None and _END in trie:
            self.found.n_present += 1
        entry = Entry(".".join(path), None, None, node.kind, containers, optional, rank=node.rank)
        self.found.entries.append(entry)

    def _module(
        self, node: Module, trie: _Trie | None, path: _Path, containers: _Path, optional: bool, depth: int
    ) -> None:
        if self._again(node, trie, path, depth):
            return
        self.open.append(node)
        inside = (*containers, f"Struct:{node.name}")
        renamed = {"gamma": "weight", "beta": "bias"} if node.name in self.norms else {}
        for name, child in node.fields:
            below = None if trie is None else trie.get(name)
            if below is None and trie is not None and name in renamed:
                below = trie.get(renamed[name])
            self.node(child, below, (*path, name), inside, optional, depth + 1)
        self.open.pop()

    def _choice(self, node: Choice, trie: _Trie | None, path: _Path, containers: _Path, depth: int) -> None:
        if self._again(node, trie, path, depth):
            return
        self.open.append(node)
        inside = (*containers, f"Enum:{node.name}")
        before = self.found
        best: tuple[tuple[int, int], str, Parts] | None = None
        for name, child in node.variants:
            below = trie if self.skip else None if trie is None else trie.get(name)
            if not self.fits:
                self.node(child, None, (*path, name), inside, True, depth + 1)
                continue
            self.found = Parts()
            self.node(child, below, (*path, name), inside, False, depth + 1)
            n_lost = len(self.found.entries) - self.found.n_present
            score = (self.found.n_present - n_lost, self.found.n_present)
            if best is None or score > best[0]:
                best = score, name, self.found
        self.found = before
        if best is not None:
            before.choices[".".join(path)] = best[1]
            _add(before, best[2])
        self.open.pop()

    def _list(
        self, node: ListOf, trie: _Trie | None, path: _Path, containers: _Path, optional: bool, depth: int
    ) -> None:
        inside = (*containers, node.what)
        if isinstance(node.of, Nothing):
            return
        if node.n is None:
            self.found.lists.append(".".join(path))
            if not self.fits:
                self.node(node.of, None, (*path, "*"), inside, optional, depth)
                return
        n = node.n
        if n is None:
            n = sum(1 for segment in trie or () if segment.isdecimal() and segment.isascii())
            # None at all: more likely the names do not fit yet than that the list is empty.
            n = n or (0 if node.of in self.open else 1)
        for index in range(n):
            below = None if trie is None else trie.get(str(index))
            self.node(node.of, below, (*path, str(index)), inside, optional, depth)

    def _maybe(self, node: Maybe, trie: _Trie | None, path: _Path, containers: _Path, depth: int) -> None:
        if not self.fits:
            self.node(node.of, None, path, containers, True, depth)
            return
        if trie is None:
            self.found.absent.append(".".join(path))
            return
        before = self.found
        self.found = Parts()
        self.node(node.of, trie, path, containers, False, depth)
        made, self.found = self.found, before
        if made.n_present or not made.entries:
            _add(before, made)
        else:
            before.absent.append(".".join(path))

    def _open(self, node: OpenType, trie: _Trie | None, path: _Path, containers: _Path) -> None:
        self.found.trees[".".join(path)] = node.name
        pending = [(trie, path)] if trie is not None else []
        while pending:
            at, here = pending.pop()
            if _END in at:
                self.found.n_present += 1
                inside = (*containers, *[""] * (len(here) - len(containers)))
                self.found.entries.append(Entry(".".join(here), containers=inside))
            pending += [(below, (*here, name)) for name, below in reversed(at.items()) if name != _END]

    def _again(self, node: Module | Choice, trie: _Trie | None, path: _Path, depth: int) -> bool:
        """Whether to go no deeper: the type contains itself, and the keys do not go on (or there are none)."""
        if depth > MAX_DEPTH or (node in self.open and trie is None):
            self.found.trees[".".join(path)] = node.name
            return True
        return False


def _add(parts: Parts, more: Parts) -> None:
    parts.entries += more.entries
    parts.lists += more.lists
    parts.trees |= more.trees
    parts.absent += more.absent
    parts.choices |= more.choices
    parts.n_present += more.n_present
