"""Lints on what a replacement says: groups that are none, and the writing of other tools."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from workbench.finding import Finding, Severity
from workbench.mapping.lints.look import Look, each_rule
from workbench.mapping.lints.syntax import Reference, Syntax, references

_PYTHON = re.compile(r"\\(?:g<([0-9A-Za-z_]+)>|([0-9]))")
_BACKSLASH = re.compile(r"\\([^0-9A-Za-z])")
_NAME = re.compile(r"[0-9A-Za-z_]")


@each_rule
def group_name_runs_on(look: Look, n: int) -> Iterator[Finding]:
    """``$1a`` is the group named ``1a``, which the pattern has not."""
    for reference in _unknown(look, n):
        start = _known_start(look.syntax(n), reference)
        if not start:
            continue
        rest = reference.name[len(start) :]
        better = _put(look, n, reference, f"${{{start}}}{rest}")
        yield look.on_rule(
            n,
            "group-name-runs-on",
            Severity.WARNING,
            f"${reference.name} is read as a group named {reference.name!r}, as a name takes every letter, digit "
            f"and underscore. The pattern has none, so it becomes nothing.",
            f"Write ${{{start}}}{rest} for group {start} and the text {rest!r}.",
            rows=look.rows(look.mask(n)),
            repair=look.offer(
                [look.edit(n, f"Write ${{{start}}}{rest}", replacement=better)],
                lambda trial: len(_unknown(trial, n)) < len(_unknown(look, n)),
            ),
        )


@each_rule
def unknown_group(look: Look, n: int) -> Iterator[Finding]:
    """A group that the pattern has not; it becomes nothing."""
    syntax = look.syntax(n)
    for reference in _unknown(look, n):
        if _known_start(syntax, reference):
            continue
        n_groups = len(syntax.names)
        has = {0: "no group", 1: "one group, $1"}.get(n_groups, f"{n_groups} groups, $1 to ${n_groups}")
        named = [name for name in syntax.names if name]
        if named:
            has += ", with the names " + ", ".join(named)
        meant = _meant(look, n, reference)
        shown = look.rule(n).replacement[reference.start : reference.end]
        yield look.on_rule(
            n,
            "unknown-group",
            Severity.WARNING,
            f"{shown} stands for no group, so it becomes nothing. The pattern has {has}.",
            f"Write {meant}." if meant else "Put parentheses around the part of the pattern that should stay.",
            rows=look.rows(look.mask(n)),
            repair=look.offer(
                [look.edit(n, f"Write {meant}", replacement=_put(look, n, reference, meant))] if meant else [],
                lambda trial: len(_unknown(trial, n)) < len(_unknown(look, n)),
            ),
        )


@each_rule
def python_group(look: Look, n: int) -> Iterator[Finding]:
    r"""``\1`` and ``\g<1>``, which Python reads as a group and the crate as text."""
    replacement = look.rule(n).replacement
    found = _PYTHON.findall(replacement)
    if not found:
        return
    name = found[0][0] or found[0][1]
    repairs = []
    if all(look.syntax(n).knows(one or other) for one, other in found):
        better = _PYTHON.sub(_as_dollar, replacement)
        repairs = [look.edit(n, f"Write {better}", replacement=better)]
    yield look.on_rule(
        n,
        "python-group",
        Severity.WARNING,
        f"The replacement has \\{name} as Python writes it. Here a backslash is a plain character and comes into "
        f"the key; groups are written ${name}.",
        f"Write ${name}, or ${{{name}}} before a letter, a digit or an underscore.",
        rows=look.rows(look.mask(n)),
        repair=look.offer(repairs, lambda trial: not _PYTHON.search(trial.rule(n).replacement)),
    )


@each_rule
def backslash_in_replacement(look: Look, n: int) -> Iterator[Finding]:
    r"""``\.`` in a replacement: only patterns need the backslash."""
    replacement = look.rule(n).replacement
    match = _BACKSLASH.search(replacement)
    if match is None:
        return
    better = _BACKSLASH.sub(r"\1", replacement)
    yield look.on_rule(
        n,
        "backslash-in-replacement",
        Severity.WARNING,
        f"The replacement has {match[0]}. Only patterns need a backslash there; in a replacement it is a plain "
        "character and comes into the key.",
        f"Write {match[1]} alone.",
        rows=look.rows(look.mask(n)),
        repair=look.offer(
            [look.edit(n, f"Write {better}", replacement=better)],
            lambda trial: not _BACKSLASH.search(trial.rule(n).replacement),
        ),
    )


def meant_replacement(look: Look, n: int) -> str:
    """The replacement of rule `n` with each of these faults mended that can be."""
    syntax, replacement = look.syntax(n), look.rule(n).replacement
    for reference in reversed(_unknown(look, n)):
        start = _known_start(syntax, reference)
        meant = f"${{{start}}}{reference.name[len(start) :]}" if start else _meant(look, n, reference)
        if meant:
            replacement = replacement[: reference.start] + meant + replacement[reference.end :]
    if all(syntax.knows(one or other) for one, other in _PYTHON.findall(replacement)):
        replacement = _PYTHON.sub(_as_dollar, replacement)
    return _BACKSLASH.sub(r"\1", replacement)


def _unknown(look: Look, n: int) -> list[Reference]:
    syntax = look.syntax(n)
    return [each for each in references(look.rule(n).replacement) if not syntax.knows(each.name)]


def _known_start(syntax: Syntax, reference: Reference) -> str:
    """The longest beginning of an unbraced name that is a group, "" where there is none."""
    if reference.braced:
        return ""
    name = reference.name
    return next((name[:end] for end in range(len(name) - 1, 0, -1) if syntax.knows(name[:end])), "")


def _meant(look: Look, n: int, reference: Reference) -> str:
    """The group that was probably meant: the near name, or the one group that nothing else asks for."""
    syntax = look.syntax(n)
    near = difflib.get_close_matches(reference.name, [name for name in syntax.names if name], 1, 0.6)
    if near:
        return f"${{{near[0]}}}"
    asked = {each.name for each in references(look.rule(n).replacement)}
    free = [str(number) for number, name in enumerate(syntax.names, 1) if not {str(number), name} & asked]
    wanted = [each for each in _unknown(look, n) if not _known_start(syntax, each)]
    return f"${{{free[0]}}}" if len(free) == 1 and len(wanted) == 1 else ""


def _put(look: Look, n: int, reference: Reference, text: str) -> str:
    replacement = look.rule(n).replacement
    return replacement[: reference.start] + text + replacement[reference.end :]


def _as_dollar(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    runs_on = _NAME.match(match.string, match.end())
    return f"${{{name}}}" if runs_on else f"${name}"
