"""Suggested rules: align, synthesise, run on all keys, keep what gains and hurts nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from workbench.mapping import regex
from workbench.mapping.rules import Rule
from workbench.suggesting.align import Ambiguity, Item, Shape, align, fits, representatives
from workbench.suggesting.candidates import Draft
from workbench.suggesting.synthesis import synthesise

__all__ = ["Suggestion", "Suggestions", "suggest_rules"]

Finish = Callable[[list[str]], list[str]]
_N_EXAMPLES = 3
_MAX_KINDS = 12_000
_MAX_SEGMENTS = 48


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One rule of the list. `gains`: tensors of the target that nothing reaches when only this rule is left out.

    `examples`: some keys before and after this rule, in its place in the list. `ambiguous` tells which tensors of the
    target stay open although the rule touches what they could be.
    """

    rule: Rule
    gains: int
    examples: tuple[tuple[str, str], ...] = ()
    ambiguous: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Rules to be added after those of the mapping, in this order; accepting the first n never lowers coverage.

    Coverage counts the tensors of the target (`total` of them) which exactly one tensor of a fitting shape reaches.
    `ambiguous` are those left out because several tensors of the source fit them equally well; `note` says, where it
    is not empty, why some names were not looked at.
    """

    rules: tuple[Suggestion, ...]
    coverage_before: int
    coverage_after: int
    total: int
    ambiguous: tuple[Ambiguity, ...] = ()
    note: str = ""


def suggest_rules(
    source: Sequence[Item],
    target: Sequence[Item],
    *,
    transposable: Collection[str] = (),
    finish: Finish | None = None,
) -> Suggestions:
    """Rules that bring the keys of `source` (as they are after the mapping's own rules) to those of `target`.

    `transposable`: target keys whose tensor may come transposed (weights of Linear). `finish`: what happens to the
    keys after all rules (closing gaps in indices, renaming norms), same length and order.
    """
    source = [item for item in source if _is_text(item.key)]
    wanted = {item.key: item for item in target if _is_text(item.key)}
    bench = _Bench(source, wanted, frozenset(transposable), finish)
    before = bench.covered([])
    best: list[Draft] = []
    ambiguous: tuple[Ambiguity, ...] = ()
    note = ""
    n_best = len(before)
    for names in bench.starts():
        items = [Item(name, item.shape, item.dtype) for name, item in zip(names, source, strict=True)]
        left, right = representatives(_usual(items)), representatives(_usual(wanted.values()))
        if max(len(left), len(right)) > _MAX_KINDS:
            n_kinds = max(len(left), len(right))
            note = f"{n_kinds:,} names have no pattern in common; no more than {_MAX_KINDS:,} are compared"
            break
        if len(_usual(items)) < len(items):
            note = f"names of more than {_MAX_SEGMENTS} segments were left out"
        alignment = align(left, right, bench.transposable)
        pairs = list(alignment.pairs)
        taken = {*(key for _, key in pairs), *alignment.open}
        found = bench.kept(synthesise(pairs, alignment.others, taken))
        n_covered = len(bench.covered(found))
        if n_covered > n_best or not ambiguous:
            ambiguous = alignment.ambiguous
        if n_covered > n_best:
            best, n_best = found, n_covered
        if n_best == len(wanted):
            break
    done = {key for key, _ in bench.covered(best).values()}
    unsettled = tuple(item for item in ambiguous if item.key not in done)
    return Suggestions(tuple(bench.told(best, unsettled)), len(before), n_best, len(wanted), unsettled, note)


class _Bench:
    """Runs lists of rules over all keys and counts what they reach."""

    def __init__(
        self, source: Sequence[Item], wanted: dict[str, Item], transposable: frozenset[str], finish: Finish | None
    ) -> None:
        self.source, self.wanted, self.transposable, self.finish = source, wanted, transposable, finish
        self.names = [item.key for item in source]
        self._known: dict[tuple[Draft, ...], dict[int, tuple[str, Shape]]] = {}

    def starts(self) -> list[list[str]]:
        """The names to work on: as they are, and as they are once all is finished, where that differs."""
        if self.finish is None:
            return [self.names]
        finished = self.finish(list(self.names))
        return [self.names] if finished == self.names else [finished, self.names]

    def after(self, drafts: Sequence[Draft]) -> list[str]:
        keys = regex.column(self.names)
        for draft in drafts:
            keys = regex.replace_all(keys, *draft)
        found: list[str] = keys.to_list()
        return found

    def covered(self, drafts: Sequence[Draft]) -> dict[int, tuple[str, Shape]]:
        """By place in the source: the tensor of the target that it alone reaches and fits."""
        key = tuple(drafts)
        if key not in self._known:
            names = self.after(drafts)
            if self.finish is not None:
                names = self.finish(names)
            self._known[key] = self._covered(names)
        return self._known[key]

    def _covered(self, names: Sequence[str]) -> dict[int, tuple[str, Shape]]:
        places: dict[str, int] = {}
        twice: set[str] = set()
        for place, name in enumerate(names):
            if name in self.wanted:
                if name in places:
                    twice.add(name)
                places[name] = place
        return {
            place: (name, self.wanted[name].shape)
            for name, place in places.items()
            if name not in twice
            and fits(self.source[place].shape, self.wanted[name].shape, transposable=name in self.transposable)
        }

    def kept(self, drafts: Sequence[Draft]) -> list[Draft]:
        """The rules without those that gain nothing; the first n of what is left never lower coverage."""
        chosen = list(drafts)
        for draft in list(chosen):
            fewer = [other for other in chosen if other is not draft]
            if len(self.covered(fewer)) >= len(self.covered(chosen)):
                chosen = fewer
        return self._rising(chosen)

    def _rising(self, drafts: Sequence[Draft]) -> list[Draft]:
        start = self.covered([])
        chosen: list[Draft] = []
        now = start
        for draft in drafts:
            then = self.covered([*chosen, draft])
            if all(then.get(place) == found for place, found in now.items()):
                chosen.append(draft)
                now = then
        if len(chosen) < len(drafts):
            return self.kept(chosen)
        return chosen

    def told(self, drafts: Sequence[Draft], ambiguous: Sequence[Ambiguity]) -> list[Suggestion]:
        """The rules with what each gains, and what it touches that stays open."""
        full = len(self.covered(drafts))
        found = []
        before = self.names
        for n, draft in enumerate(drafts):
            gains = full - len(self.covered([*drafts[:n], *drafts[n + 1 :]]))
            after = self.after(drafts[: n + 1])
            moved = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
            touched = {self.names[place] for place in moved}
            said = [_open_text(item) for item in ambiguous if touched & {*item.candidates}]
            examples = tuple((before[place], after[place]) for place in moved[:_N_EXAMPLES])
            found.append(Suggestion(Rule(*draft), gains, examples, tuple(said[:_N_EXAMPLES])))
            before = after
        return found


def _open_text(item: Ambiguity) -> str:
    shown = ", ".join(item.candidates[:_N_EXAMPLES])
    more = len(item.candidates) - _N_EXAMPLES
    return f"{item.key} could be {shown}{f' and {more:,} more' if more > 0 else ''}: not decided"


def _usual(items: Iterable[Item]) -> list[Item]:
    """Without names so deep that comparing them would take long."""
    return [item for item in items if item.key.count(".") < _MAX_SEGMENTS]


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
