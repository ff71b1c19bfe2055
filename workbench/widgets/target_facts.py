"""What the screen says of the target: how much of it is filled, and each list with what may be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from workbench.core.text import count_text, shape_text
from workbench.errors import printable
from workbench.mapping import Coverage
from workbench.suggesting import Suggestions

Facts = dict[str, object]

_MOST: Final = 40
_MAX_KEY: Final = 400


def target_facts(coverage: Coverage) -> Facts:
    """The `target` of the summary."""
    return {
        "name": printable(coverage.target.origin, 200),
        "percent": coverage.percent,
        "at_least": coverage.is_at_least,
        "ok": coverage.complete,
        "text": f"{len(coverage.applied):,} of {coverage.n_total:,} target keys are applied.",
        "verdict": printable(coverage.verdict, 600),
        "n_applied": len(coverage.applied),
        "n_mismatched": len(coverage.mismatched) + len(coverage.errors),
        "n_missing": len(coverage.missing),
        "lists": [_missing(coverage), _mismatched(coverage), _unused(coverage)],
    }


def _list(what: str, n: int, words: str, items: Sequence[Facts]) -> Facts:
    return {"what": what, "n": n, "words": words, "items": list(items)}


def _item(key: str, shape: tuple[int, ...] | None, note: str = "", action: str = "") -> Facts:
    shown = "" if shape is None else shape_text(shape)
    return {"key": printable(key, _MAX_KEY), "shape": shown, "note": printable(note, 600), "action": action}


def _missing(coverage: Coverage) -> Facts:
    items = []
    for path in coverage.missing[:_MOST]:
        near = coverage.did_you_mean(path)
        note = ""
        if near is not None:
            others = f", as likely as {near.n_alike} others" if near.n_alike else ""
            note = f"did you mean {near.name}, unused, {near.fit}{others}"
        action = "Make a rule" if near is not None and not near.n_alike else ""
        items.append(_item(path, coverage.target.by_path[path].shape, note, action))
    return _list("missing", len(coverage.missing), count_text(len(coverage.missing), "target key"), items)


def _mismatched(coverage: Coverage) -> Facts:
    problems = (*coverage.mismatched, *coverage.errors)
    items = [_item(problem.path, problem.wanted, problem.text, "Skip it") for problem in problems[:_MOST]]
    return _list("mismatched", len(problems), f"{len(problems):,}", items)


def _unused(coverage: Coverage) -> Facts:
    plan, n = coverage.plan, len(coverage.unused)
    items = [_item(coverage.names[row], plan.tensors[row].shape, "", "Skip it") for row in coverage.unused_rows[:_MOST]]
    return _list("unused", n, f"{count_text(n, 'tensor')}; never fails a load", items)


def offers(found: Suggestions) -> Facts:
    """The answer to `suggest`."""
    return {
        "title": f"{count_text(len(found.rules), 'rule')}: "
        f"from {found.coverage_before:,} to {found.coverage_after:,} of {found.total:,} applied",
        "rules": [
            {
                "pattern": each.rule.pattern,
                "replacement": each.rule.replacement,
                "words": printable(f"+{each.gains:,}" + (f"; {each.ambiguous[0]}" if each.ambiguous else ""), 300),
            }
            for each in found.rules
        ],
        "ambiguous": [
            *([printable(f"{found.note}.", 600)] if found.note else []),
            *(
                printable(f"Left open: {each.key} could be {', '.join(each.candidates[:4])}.", 600)
                for each in found.ambiguous[:_MOST]
            ),
        ],
    }
