"""Names that an error asks for, looked up in the keys of a file, and what would bring the keys there."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from workbench.diagnosis.case import Case, named
from workbench.errors import WorkbenchError, printable
from workbench.finding import Repair

__all__ = ["Found", "add_rule", "look_up", "look_up_field"]

_MAX_WANTED = 2000
_MAX_SUGGESTED = 20_000
_OTHER_NAME = {"gamma": "weight", "beta": "bias"}
_VARIANT = re.compile(r"[A-Z]\w*[a-z]\w*")


@dataclass(frozen=True, slots=True)
class Found:
    """Keys of the file for each name asked for, what stands between the two, in words, and repairs for it.

    `there` are the names asked for that the keys have by now.
    """

    here: tuple[tuple[str, tuple[str, ...]], ...]
    text: str = ""
    repairs: tuple[Repair, ...] = ()
    there: frozenset[str] = frozenset()


def look_up(case: Case, wanted: Sequence[str]) -> Found:
    """Full names, such as those of missing parameters."""
    asked = list(dict.fromkeys(wanted))[:_MAX_WANTED]
    spellings: dict[str, str] = {}
    for name in asked:
        for spelling in reversed(_spellings(name)):
            spellings[spelling] = name
    found: dict[str, list[str]] = {}
    prefixes: Counter[str] = Counter()
    there: set[str] = set()
    for row, key in enumerate(case.plan.remapped):
        if not case.plan.selected[row]:
            continue
        at = 0
        while True:
            name = spellings.get(key[at:], "")
            if name:
                found.setdefault(name, []).append(case.plan.originals[row])
                if at == 0:
                    there.add(name)
                else:
                    prefixes[key[:at]] += 1
                break
            at = key.find(".", at) + 1
            if not at:
                break
    here = tuple((name, tuple(found[name][:20])) for name in asked if name in found)
    gone = frozenset(there)
    if len(gone) == len(asked):
        return Found(here, "All names that it asks for are among the keys now.", (), gone)
    parts = _in_parts(case, [name for name in asked if name not in gone])
    if parts:
        said = f"The file has them in parts: {named([key for keys in parts.values() for key in keys])}."
        return Found((*here, *parts.items()), said, (Repair.make("Fold into weight", "fold"),), gone)
    if prefixes:
        prefix, n = prefixes.most_common(1)[0]
        if 2 * n >= len(asked) - len(gone):
            return Found(here, _has_prefix(prefix, n, len(asked)), _take_off(case, prefix), gone)
    lacking = _lacks_prefix(case, asked)
    if lacking:
        text = f"The file has the same names without `{printable(lacking, 80)}` in front."
        return Found(here, text, (add_rule(case, "^", lacking.replace("$", "$$")),), gone)
    return _suggested(case, [name for name in asked if name not in gone], here, gone)


def _in_parts(case: Case, wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The names that folding would give, with the keys of their parts, where these are at least half of `wanted`."""
    folded = case.plan.update(replace(case.mapping, fold=True))
    names = set(wanted)
    found = {name: keys for row, keys in folded.folded.items() if (name := folded.remapped[row]) in names}
    return found if 2 * len(found) >= len(names) else {}


def look_up_field(case: Case, name: str) -> Found:
    """One segment, as burn-import names the field it misses."""
    found: list[str] = []
    prefixes: Counter[str] = Counter()
    for row, key in enumerate(case.plan.remapped):
        if not case.plan.selected[row]:
            continue
        segments = key.split(".")
        if name in segments:
            found.append(case.plan.originals[row])
            prefixes[".".join(segments[: segments.index(name)])] += 1
    here = ((name, tuple(found[:20])),) if found else ()
    if prefixes.get(""):
        return Found(here, f"`{printable(name, 60)}` is at the root of the keys now.", (), frozenset((name,)))
    if prefixes:
        prefix, n = prefixes.most_common(1)[0]
        prefix += "."
        if 2 * n <= len(found):
            places = f"{len(prefixes):,} places, `{printable(prefix, 80)}` among them"
            return Found(here, f"`{printable(name, 60)}` stands below {places}: no one prefix leads to the root.")
        return Found(here, _has_prefix(prefix, n, len(found)), _take_off(case, prefix))
    heads = list(dict.fromkeys(key.partition(".")[0] for key in case.plan.remapped))
    near = difflib.get_close_matches(name, heads[:5000], n=3)
    what = f"; near it are {', '.join(f'`{printable(each, 60)}`' for each in near)}" if near else ""
    repairs: tuple[Repair, ...] = ()
    if len(near) == 1 or (near and difflib.SequenceMatcher(None, near[0], name).ratio() > 0.8):
        repairs = (add_rule(case, rf"^{re.escape(near[0])}\.", f"{name.replace('$', '$$')}."),)
    return Found((), f"No key of the file has a part `{printable(name, 60)}`{what}.", repairs)


def add_rule(case: Case, pattern: str, replacement: str) -> Repair:
    """One more rule, behind those that are there."""
    label = f"Add rule `{printable(pattern, 80)}` → {printable(replacement, 80) or 'nothing'}"
    n = len(case.mapping.rules)
    return Repair.make(label, "add-rule", at=n, pattern=pattern, replacement=replacement)


def _spellings(name: str) -> list[str]:
    """How a file of PyTorch may write a name of Burn: norms, and no variants of enums."""
    spellings = [name]
    head, dot, leaf = name.rpartition(".")
    if leaf in _OTHER_NAME:
        spellings.append(f"{head}{dot}{_OTHER_NAME[leaf]}")
    for each in list(spellings):
        bare = ".".join(segment for segment in each.split(".") if not _VARIANT.fullmatch(segment))
        if bare and bare != each:
            spellings.append(bare)
    return spellings


def _has_prefix(prefix: str, n: int, of: int) -> str:
    share = "They are" if n == of else f"{n:,} of {of:,} are"
    return f"{share} in the file with `{printable(prefix, 80)}` in front."


def _take_off(case: Case, prefix: str) -> tuple[Repair, ...]:
    bare = prefix.removesuffix(".")
    repairs = [add_rule(case, "^" + re.escape(prefix), "")]
    if case.mapping.top_level_key is None and any(each.key == bare for each in case.checkpoint.top_level_keys):
        repairs.insert(0, Repair.make(f"Take {printable(bare, 60)}", "set", field="top_level_key", value=bare))
    return tuple(repairs)


def _lacks_prefix(case: Case, asked: Sequence[str]) -> str:
    known = set(case.plan.remapped)
    counts: Counter[str] = Counter()
    for name in asked:
        at = name.find(".") + 1
        while at:
            if any(spelling in known for spelling in _spellings(name[at:])):
                counts[name[:at]] += 1
                break
            at = name.find(".", at) + 1
    if not counts:
        return ""
    prefix, n = counts.most_common(1)[0]
    return prefix if 2 * n >= len(asked) else ""


def _suggested(
    case: Case, asked: Sequence[str], here: tuple[tuple[str, tuple[str, ...]], ...], there: frozenset[str]
) -> Found:
    """Rules towards the names, where no prefix explains them."""
    if not asked or len(case.plan) > _MAX_SUGGESTED:
        return Found(here, "", (), there)
    from workbench.suggesting import suggest
    from workbench.target import Target

    try:
        found = suggest(case.plan, Target.from_keys(asked))
    except (WorkbenchError, ValueError):
        return Found(here, "", (), there)
    n = len(case.mapping.rules)
    repairs = tuple(
        Repair.make(
            f"Add rule `{each.rule.pattern}` → {each.rule.replacement or 'nothing'}",
            "add-rule",
            at=n + place,
            pattern=each.rule.pattern,
            replacement=each.rule.replacement,
        )
        for place, each in enumerate(found.rules[:5])
    )
    if not repairs:
        return Found(here, "Nothing in the file is called like them.", (), there)
    examples = [pair for each in found.rules for pair in each.examples[:1]][:3]
    said = ", ".join(f"`{printable(old, 60)}` → `{printable(new, 60)}`" for old, new in examples)
    return Found(here, f"The file has them under other names: {said}.", repairs, there)
