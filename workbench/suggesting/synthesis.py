"""A short list of rules that turns one list of names into another. Every candidate is run before it is believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from workbench.mapping import regex
from workbench.suggesting.candidates import Draft, drafts, generalised
from workbench.suggesting.edits import Edit, Group, Site, alike, distance, edits, groups, reach
from workbench.suggesting.names import leaf_of

__all__ = ["synthesise"]

_MAX_RULES = 200
_MAX_EDITS = 40
_N_BANNED = 2
_SAMPLE = 12

Step = tuple[Edit, Site, bool]


@dataclass(frozen=True, slots=True)
class _Way:
    """How to choose: only whole runs of segments or steps too; renames of leaves at the end; only rules every word of
    which is right for each key they touch; edits not to use."""

    whole_only: bool = False
    leaves_last: bool = True
    strict: bool = True
    banned: frozenset[Edit] = frozenset()


def synthesise(pairs: Sequence[tuple[str, str]], others: Sequence[str], taken: Collection[str]) -> list[Draft]:
    """Rules, in order, that bring the first of each pair nearer to the second, and leave no pair worse than before.

    A key of `others` may change, but never into one of `taken`.
    """
    bench = _Bench(*_sampled(pairs, others), taken)
    results = [bench.run(_Way(whole_only=whole_only)) for whole_only in (False, True)]
    best = min(results, key=lambda result: result.rank)
    for _ in range(_N_BANNED):
        if best.rank[0] and best.blamed:
            way = best.way
            other = bench.run(_Way(way.whole_only, way.leaves_last, way.strict, way.banned | best.blamed))
            best = min(best, other, key=lambda result: result.rank)
    if best.rank[0]:
        results = [bench.run(_Way(strict=False)), bench.run(_Way(strict=False, leaves_last=False))]
        best = min([best, *results], key=lambda result: result.rank)
    for place in range(_N_BANNED):
        if place < len(best.edits) - 1 and best.edits[place] is not None:
            way = best.way
            banned = way.banned | {edit for edit in [best.edits[place]] if edit is not None}
            other = bench.run(_Way(way.whole_only, way.leaves_last, way.strict, banned))
            best = min(best, other, key=lambda result: result.rank)
    return best.drafts


@dataclass(slots=True)
class _Result:
    way: _Way
    drafts: list[Draft]
    edits: list[Edit | None]
    n_open: int
    blamed: frozenset[Edit] = frozenset()

    @property
    def rank(self) -> tuple[int, int, int]:
        return self.n_open, len(self.drafts), sum(len(pattern) + len(text) for pattern, text in self.drafts)


@dataclass(slots=True)
class _Trial:
    draft: Draft
    edit: Edit | None
    gain: float
    least: int
    keys: list[str]

    @property
    def rank(self) -> tuple[float, int, int]:
        return -round(self.gain, 6), -self.least, len(self.draft[0]) + len(self.draft[1])


class _Bench:
    """The pairs, and what was learnt about drafts: what they make of a key, and which pair refutes them."""

    def __init__(self, pairs: Sequence[tuple[str, str]], others: Sequence[str], taken: Collection[str]) -> None:
        self.start = [old for old, _ in pairs] + list(others)
        self.wanted = [new for _, new in pairs]
        self.taken = frozenset(taken)
        self.made: dict[Draft, dict[str, str]] = {}
        self.refuted: dict[tuple[Draft, int], tuple[int, str]] = {}
        self.apart: dict[tuple[str, int], int] = {}
        self.known: dict[tuple[tuple[str, str], ...], list[tuple[Group, list[Step]]]] = {}

    def run(self, way: _Way) -> _Result:
        state = _State(self, way)
        chosen: list[_Trial] = []
        while len(chosen) < _MAX_RULES and state.n_open:
            trial = state.best()
            if trial is None:
                break
            chosen.append(trial)
            state = _State(self, way, trial.keys)
        return _Result(
            way, [trial.draft for trial in chosen], [trial.edit for trial in chosen], state.n_open, self._blamed(chosen)
        )

    def _blamed(self, chosen: Sequence[_Trial]) -> frozenset[Edit]:
        """The edits that last touched what did not get its name: another way might do without them."""
        last: dict[int, Edit] = {}
        keys = self.start
        for trial in chosen:
            for place, (old, new) in enumerate(zip(keys, trial.keys, strict=True)):
                if old != new and trial.edit is not None:
                    last[place] = trial.edit
            keys = trial.keys
        wanted = enumerate(zip(keys, self.wanted, strict=False))
        return frozenset(last[place] for place, (key, new) in wanted if key != new and place in last)

    def grouped(self, pairs: tuple[tuple[str, str], ...]) -> list[tuple[Group, list[Step]]]:
        """The groups among pairs that are alike, with their edits."""
        if pairs not in self.known:
            self.known[pairs] = [(group, list(edits(group))) for group in groups(pairs)]
        return self.known[pairs]

    def distance(self, key: str, place: int) -> int:
        """How far `key` is from what the pair at `place` wants."""
        known = self.apart.get((key, place))
        if known is None:
            known = self.apart[key, place] = distance(key, self.wanted[place])
        return known

    def after(self, draft: Draft, keys: Sequence[str]) -> dict[str, str]:
        """What the rule makes of each of these keys."""
        made = self.made.setdefault(draft, {})
        new = [key for key in keys if key not in made]
        if new:
            made.update(zip(new, regex.replace_all(regex.column(new), *draft).to_list(), strict=True))
        return made


class _State:
    """The names as they are after some rules."""

    def __init__(self, bench: _Bench, way: _Way, keys: list[str] | None = None) -> None:
        self.bench, self.way = bench, way
        self.keys = bench.start if keys is None else keys
        self.open = [(n, (key, new)) for n, (key, new) in enumerate(zip(self.keys, bench.wanted, strict=False))]
        self.open = [(n, pair) for n, pair in self.open if pair[0] != pair[1]]
        self.n_open = len(self.open)
        self.weights = [1.0] * len(bench.wanted)
        self.tried: dict[tuple[Draft, int], _Trial | None] = {}

    def best(self) -> _Trial | None:
        found = []
        for members in alike(pair for _, pair in self.open):
            for group, steps in self.bench.grouped(tuple(self.open[member][1] for member in members)):
                found.append(steps)
                for place in group.members:
                    self.weights[self.open[members[place]][0]] = 1 / len(group.members)
        table, hopes = _edits(found, self.way)
        leaf = {edit for edit, sites in table.items() if all(_is_leaf(edit, site) for site in sites)}
        rounds = [[edit for edit in table if edit not in leaf], [*leaf]] if self.way.leaves_last else [[*table]]
        for chosen in rounds:
            best = self._try([(edit, table[edit]) for edit in chosen], hopes)
            if best is not None:
                return best
        return None

    def _try(self, chosen: Sequence[tuple[Edit, Sequence[Site]]], hopes: dict[Edit, float]) -> _Trial | None:
        best: _Trial | None = None
        for draft, least in generalised(chosen):
            best = _better(best, self._run(draft, None, least))
        for n_tried, (edit, sites) in enumerate(sorted(chosen, key=lambda pair: -hopes[pair[0]])):
            if best is not None and (hopes[edit] < best.gain - 1e-6 or n_tried > _MAX_EDITS):
                break
            for draft in drafts(edit, sites):
                trial = self._run(draft, edit, reach(edit))
                best = _better(best, trial)
                if trial is not None and trial.gain >= hopes[edit] - 1e-6:
                    break
        return best

    def _run(self, draft: Draft, edit: Edit | None, least: int) -> _Trial | None:
        """What the rule would do; None where it gains nothing or hurts."""
        least = least if self.way.strict else 0
        place, key = self.bench.refuted.get((draft, least), (-1, ""))
        if place >= 0 and self.keys[place] == key:
            return None
        if (draft, least) not in self.tried:
            self.tried[draft, least] = self._outcome(draft, edit, least)
        return self.tried[draft, least]

    def _outcome(self, draft: Draft, edit: Edit | None, least: int) -> _Trial | None:
        bench = self.bench
        made = bench.after(draft, self.keys)
        keys = [made[key] for key in self.keys]
        gain = 0.0
        for place, (old, new) in enumerate(zip(self.keys, keys, strict=True)):
            if new == old:
                continue
            if place >= len(bench.wanted):
                if new in bench.taken:
                    bench.refuted[draft, least] = (place, old)
                    return None
                continue
            nearer = bench.distance(old, place) - bench.distance(new, place)
            if nearer < least:
                bench.refuted[draft, least] = (place, old)
                return None
            gain += nearer * self.weights[place]
        if gain <= 1e-6 or len(set(keys)) < len(set(self.keys)):
            return None
        return _Trial(draft, edit, gain, least, keys)


def _better(one: _Trial | None, other: _Trial | None) -> _Trial | None:
    if one is None or other is None:
        return one or other
    return other if other.rank < one.rank else one


def _sampled(pairs: Sequence[tuple[str, str]], others: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Some of each group of pairs and of each kind of other keys: the rest goes the same way."""
    kept = [pairs[place] for group in groups(pairs) for place in _some(group.members)]
    return kept, [others[place] for members in alike((key, "") for key in others) for place in _some(members)]


def _some(places: list[int]) -> list[int]:
    half = _SAMPLE // 2
    return places if len(places) <= _SAMPLE else [*places[:half], *places[-half:]]


def _edits(found: Sequence[list[Step]], way: _Way) -> tuple[dict[Edit, list[Site]], dict[Edit, float]]:
    """Every edit with its sites, and the most that a rule for it could gain."""
    table: dict[Edit, dict[Site, None]] = defaultdict(dict)
    hopes: dict[Edit, float] = defaultdict(float)
    for steps in found:
        for edit, site, is_step in steps:
            if edit in way.banned or (way.whole_only and is_step):
                continue
            table[edit][site] = None
            hopes[edit] += reach(edit)
    return {edit: list(sites) for edit, sites in table.items()}, dict(hopes)


def _is_leaf(edit: Edit, site: Site) -> bool:
    """Whether the edit gives a parameter another name for the same thing (weight, gamma), alone or with more."""
    if not site.is_leaf or not edit.old or not edit.new:
        return False
    old, new = (leaf_of("".join(map(str, side[-1])))[1] for side in (edit.old, edit.new))
    return edit.old[-1] != edit.new[-1] and (old == new != "param" or len(edit.old) == len(edit.new) == 1)
