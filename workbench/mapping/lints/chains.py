"""Lints on what a rule comes to: no change, another change when run again, an earlier rule undone, a rule twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from workbench.finding import Finding, Repair, Severity
from workbench.mapping import regex
from workbench.mapping.lints.look import Look, counted, each_rule, quoted
from workbench.mapping.lints.matches import matches_nothing
from workbench.mapping.lints.misses import END, MARK, is_repeated
from workbench.mapping.lints.syntax import Syntax, references

_N_TRIED = 50
_N_COMPARED = 2000


@each_rule
def changes_nothing(look: Look, n: int) -> Iterator[Finding]:
    """A rule that hits keys and leaves each as it was."""
    if look.n_hits(n) and not is_repeated(look, n) and not regex.differ(look.before(n), look.after(n)).any():
        yield look.on_rule(
            n,
            "no-effect",
            Severity.NOTE,
            f"It hits {counted(look.n_hits(n), 'key')} and changes none: what it puts is what it matched.",
            "Remove it, or correct the replacement.",
            rows=look.rows(look.mask(n)),
            repair=_without(look, n),
        )


@each_rule
def repeats_earlier(look: Look, n: int) -> Iterator[Finding]:
    """The same rule again, with nothing left to do."""
    if not is_repeated(look, n) or (look.n_hits(n) and regex.differ(look.before(n), look.after(n)).any()):
        return
    rule = look.rule(n)
    first = next(
        m for m in look.rules if (look.rule(m).pattern, look.rule(m).replacement) == (rule.pattern, rule.replacement)
    )
    yield look.on_rule(
        n,
        "duplicate-rule",
        Severity.NOTE,
        f"It is rule {first + 1} once more and changes nothing.",
        "Remove it.",
        repair=_without(look, n),
    )


@each_rule
def not_idempotent(look: Look, n: int) -> Iterator[Finding]:
    """A rule that would change its own results when run a second time."""
    if not look.n_hits(n) or matches_nothing(look, n):
        return
    rule, after = look.rule(n), look.after(n)
    again = regex.hits(after, rule.pattern)
    if not again.any():
        return
    some = regex.take(after, again)
    more = regex.replace_all(some, rule.pattern, rule.replacement)
    changed = regex.differ(some, more)
    if not changed.any():
        return
    place = np.flatnonzero(changed)[:1]
    mask = look.none(n)
    mask[np.flatnonzero(again)[changed]] = True
    yield look.on_rule(
        n,
        "not-idempotent",
        Severity.NOTE,
        f"Run a second time it changes its own result: {regex.at(some, place)[0]!r} becomes "
        f"{regex.at(more, place)[0]!r}.",
        "Load an exported file without the rules; its keys are remapped already.",
        rows=look.hit_rows(n, mask),
    )


@each_rule
def undoes_earlier(look: Look, n: int) -> Iterator[Finding]:
    """A rule that gives all keys it shares with an earlier rule back the names from before that one."""
    for m in reversed([m for m in look.rules if m < n]):
        rows, both = look.shared(m, n)
        if not len(rows) or not _restores(look, m, n, rows[:_N_TRIED]) or not _restores(look, m, n, rows):
            continue
        n_both = int(np.count_nonzero(both))
        alone = n_both == look.n_hits(n) == look.n_hits(m)
        example = regex.at(look.plan.keys_before(m), rows[:1])[0]
        yield look.on_rule(
            n,
            "undoes-earlier-rule",
            Severity.WARNING,
            f"It undoes rule {m + 1}: {counted(n_both, 'key')}, {example!r} among them, get back the names they "
            f"had before rule {m + 1}.",
            f"Remove rule {m + 1} and this one." if alone else f"Narrow rule {m + 1} or this one.",
            rows=look.rows(both),
            repair=_without(look, n),
        )
        break


@each_rule
def loses_information(look: Look, n: int) -> Iterator[Finding]:
    """Different texts become the same one, so the new keys do not tell the old ones."""
    found = look.syntax(n)
    if not look.n_hits(n) or not _can_lose(found, look.rule(n).replacement):
        return
    n_seen = len(look.before(n))
    places = np.arange(0, n_seen, max(n_seen // _N_COMPARED, 1))
    some = regex.pick(look.before(n), places)
    rule = look.rule(n)
    matched = regex.replace_all(some, rule.pattern, f"{MARK}${{0}}{END}")
    put = regex.replace_all(some, rule.pattern, f"{MARK}{rule.replacement}{END}")
    sources: dict[str, dict[str, int]] = {}
    rows = range(len(places))
    for place, one, other in zip(places, regex.at(matched, rows), regex.at(put, rows), strict=True):
        text = other.partition(MARK)[2].partition(END)[0]
        sources.setdefault(text, {}).setdefault(one.partition(MARK)[2].partition(END)[0], int(place))
    text, texts = max(sources.items(), key=lambda item: len(item[1]))
    if len(texts) < 2:
        return
    mask = look.none(n)
    mask[list(texts.values())] = True
    yield look.on_rule(
        n,
        "not-reversible",
        Severity.NOTE,
        f"{quoted(texts)} all become {text!r}: no rule can lead the new keys back to the old ones."
        if text
        else f"{quoted(texts)} are all removed: no rule can lead the new keys back to the old ones.",
        "The plan and mapping.json list every pair of names.",
        rows=look.hit_rows(n, mask),
    )


def _can_lose(found: Syntax, replacement: str) -> bool:
    """Whether a part of the pattern that can match different texts is in no group that the replacement asks for."""
    asked = {each.name for each in references(replacement)}
    if "0" in asked:
        return False
    kept, group, stack = 0, 0, []
    for token in found.tokens:
        if token.kind == "open":
            is_group = not token.text.endswith(":")
            group += is_group
            keeps = is_group and bool({str(group), found.names[group - 1]} & asked)
            stack.append(keeps)
            kept += keeps
        elif token.kind == "close" and stack:
            kept -= stack.pop()
        elif not kept and token.kind in ("dot", "class", "or", "repeat", "flags"):
            return True
    return False


def _restores(look: Look, m: int, n: int, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> bool:
    """Whether `rows`, changed by rule `m`, have after rule `n` the names that they had before `m`."""
    old = regex.at(look.plan.keys_before(m), rows)
    return old == regex.at(look.plan.keys_before(n + 1), rows) and all(
        one != other for one, other in zip(old, regex.at(look.plan.keys_before(m + 1), rows), strict=True)
    )


def _without(look: Look, n: int) -> Repair | None:
    return look.offer(
        [Repair.make("Remove the rule", "remove-rule", rule=n)],
        lambda trial: len(trial.mapping.rules) < len(look.mapping.rules),
    )
