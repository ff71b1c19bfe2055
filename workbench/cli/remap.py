"""`workbench remap`: which key becomes which, before anything is written."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer, print_json
from workbench.core.text import count_text, listed_text, shape_text
from workbench.errors import MappingError
from workbench.finding import Finding, Severity
from workbench.mapping import Collision, Mapping, Pick, Plan, Row, Rule, Selection, Trace
from workbench.mapping.casts import float_casts

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.mapping.coverage import Coverage
    from workbench.target import Target

_MAX_HINTS: Final = 50
_STYLES: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


@dataclass(frozen=True, slots=True)
class Decisions:
    """The options of a command that decide on keys; None, or nothing in a list, is what was not said."""

    rules: Sequence[tuple[str, str]]
    mapping: Path | None
    top_level_key: str | None
    reindex: bool | None
    burn: str | None
    api: str | None = None
    route: str | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    keep_indices: Sequence[str] = ()
    fold: bool | None = None
    cast: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `workbench remap` is to print, beside the plan or in its place."""

    as_json: bool = False
    upto: int | None = None
    trace: str | None = None
    debug: bool = False
    code: str | None = None
    save: Path | None = None
    target: Path | None = None
    suggest: bool = False


def decide(said: Decisions) -> Mapping:
    """The mapping file, if there is one, then the rules given after it; the other options outrank the file's."""
    mapping = Mapping() if said.mapping is None else Mapping.load(said.mapping)
    changes: dict[str, Any] = {}
    if said.rules:
        changes["rules"] = [*mapping.rules, *(Rule(*rule) for rule in said.rules)]
    if said.include or said.exclude:
        changes["selection"] = Selection(
            (*mapping.selection.include, *(Pick("regex", pattern) for pattern in said.include)),
            (*mapping.selection.exclude, *(Pick("regex", pattern) for pattern in said.exclude)),
        )
    if said.keep_indices:
        changes["keep_indices"] = (*mapping.keep_indices, *said.keep_indices)
    if said.burn is not None:
        # Another Burn need not have the API that the file chose.
        changes |= {"burn": None if said.burn == "none" else said.burn, "api": None}
    for name in ("top_level_key", "reindex", "api"):
        if (value := getattr(said, name)) is not None:
            changes[name] = value
    mapping = replace(mapping, **changes)
    if said.fold is not None:
        mapping = mapping.with_fold(said.fold)
    route: dict[str, Any] = {} if said.route is None else {"route": said.route}
    return replace(mapping, **route)


def casted(mapping: Mapping, dtype: str | None, checkpoint: Checkpoint) -> Mapping:
    """`mapping` with a cast of each float dtype that the file has; the same one where no dtype was said."""
    if dtype is None:
        return mapping
    names = dict.fromkeys(tensor.dtype.name for tensor in checkpoint.tensors)
    return replace(mapping, casts=float_casts(mapping.casts, dtype, names))


def run(file: Path, said: Decisions, wanted: Wanted) -> int:
    """Print the plan, or what is wanted of it; 1 where a lint is an error (as two tensors of one name), else 0."""
    # The decisions first: a wrong pattern should not wait for a large file.
    mapping = decide(said)
    if wanted.upto is not None and not 0 <= wanted.upto <= len(mapping.rules):
        raise MappingError(
            f"There are no {wanted.upto:,} rules to stop after.",
            cause=f"The mapping has {count_text(len(mapping.rules), 'rule')}.",
            next_step="Give a smaller number to --upto.",
            code="upto",
        )
    checkpoint = open_checkpoint(file)
    mapping = casted(mapping, said.cast, checkpoint)
    plan = mapping.plan(checkpoint, _target(wanted, mapping))
    if wanted.save is not None:
        _save(mapping, wanted.save)
    if wanted.upto is not None:
        plan = plan.upto(wanted.upto)
    findings = plan.lints
    out = Printer()
    code = _code(plan, wanted.code)
    suggestions = _suggestions(plan) if wanted.suggest else None
    if wanted.as_json:
        facts = _as_json(plan, findings)
        if plan.target is not None:
            before = plan.coverage()
            after = before if suggestions is None else _after(plan, suggestions).coverage()
            facts["coverage"] = coverage_json(after)
            if suggestions is not None:
                facts["coverage_before"] = coverage_json(before)
        if suggestions is not None:
            facts["suggested"] = [_suggestion_json(rule, gains) for rule, gains in suggestions]
        if wanted.trace is not None:
            facts["trace"] = _trace_json(plan.trace(wanted.trace))
        if wanted.debug:
            facts["debug"] = plan.debug()
        if code is not None:
            facts["code"] = code
        print_json(facts)
    elif code is not None:
        out.text(code)
    elif wanted.debug:
        out.text(plan.debug())
    elif wanted.trace is not None:
        for line in str(plan.trace(wanted.trace)).split("\n"):
            out.line(line)
    else:
        _as_text(out, plan, findings)
        if plan.target is not None:
            _coverage_text(out, plan.coverage(), "coverage")
        if suggestions is not None:
            _suggestions_text(out, plan, suggestions)
        if wanted.save is not None:
            out.line(f"saved: {wanted.save}")
    return int(bool(plan.collisions) or any(finding.severity is Severity.ERROR for finding in findings))


def _save(mapping: Mapping, path: Path) -> None:
    """Write it as `path`. Raises `MappingError` where something else stands there, such as the checkpoint."""
    if os.path.lexists(path):
        try:
            Mapping.load(path)
        except MappingError as error:
            raise MappingError(
                "This is no mapping that could be replaced.",
                path=str(path),
                cause="Nothing was changed.",
                next_step="Give another name to --save.",
                code="save-replaces-other",
            ) from error
    mapping.save(path)


def _target(wanted: Wanted, mapping: Mapping) -> Target | None:
    if wanted.target is None:
        return None
    from workbench.target import Target

    return Target.open(wanted.target, burn=mapping.burn)


def _code(plan: Plan, language: str | None) -> str | None:
    if language is None:
        return None
    from workbench.code import python_code, rust_code

    return rust_code(plan) if language == "rust" else python_code(plan)


def _suggestions(plan: Plan) -> list[tuple[Rule, int]]:
    """Rules towards the target, each with its gain; without a target those that take wrappers off."""
    from workbench.suggesting import suggest, wrapper_rules

    if plan.target is not None:
        return [(each.rule, each.gains) for each in suggest(plan, plan.target).rules]
    return [(each.rule, each.gains) for each in wrapper_rules(plan.after_rules)]


def _after(plan: Plan, suggestions: Sequence[tuple[Rule, int]]) -> Plan:
    return plan.update(plan.mapping.with_rules([*plan.mapping.rules, *(rule for rule, _ in suggestions)]))


def _suggestion_json(rule: Rule, gains: int) -> dict[str, object]:
    return {"pattern": rule.pattern, "replacement": rule.replacement, "gains": gains}


def coverage_json(coverage: Coverage) -> dict[str, object]:
    """What of the target is filled, for programs."""
    return {
        "applied": list(coverage.applied),
        "missing": list(coverage.missing),
        "unused": list(coverage.unused),
        "mismatched": [problem.path for problem in coverage.mismatched],
        "skipped": list(coverage.skipped),
        "errors": [problem.path for problem in coverage.errors],
        "problems": [
            {
                "path": problem.path,
                "key": problem.key,
                "what": problem.what,
                "found": list(problem.found),
                "wanted": None if problem.wanted is None else list(problem.wanted),
                "fits_after_transpose": problem.fits_after_transpose,
                "text": problem.text,
            }
            for problem in coverage.problems
        ],
        "total": coverage.n_total,
        "percent": coverage.percent,
        "summary": coverage.summary,
        "verdict": coverage.verdict,
    }


def _trace_json(trace: Trace) -> dict[str, object]:
    steps = [
        {"rule": step.rule, "what": step.what, "before": step.before, "after": step.after, "note": step.note}
        for step in trace.steps
    ]
    return {"original": trace.original, "final": trace.final, "steps": steps}


def _coverage_text(out: Printer, coverage: Coverage, title: str) -> None:
    out.line(f"{title}: {coverage.summary}", "bold")
    out.line(coverage.verdict)
    for name, paths in (("missing", coverage.missing), ("unused", coverage.unused), ("skipped", coverage.skipped)):
        for path in paths:
            near = coverage.did_you_mean(path) if name == "missing" and len(paths) <= _MAX_HINTS else None
            out.line(f"  {name}: {path}" + (f" (did you mean {near.name}?)" if near is not None else ""))
    for problem in coverage.problems:
        fits = ", fits after transpose" if problem.fits_after_transpose else ""
        out.line(f"  {problem.what}: {problem.path}: {problem.text}{fits}")


def _suggestions_text(out: Printer, plan: Plan, suggestions: Sequence[tuple[Rule, int]]) -> None:
    out.line()
    out.line("suggested rules:" if suggestions else "no rules to suggest", "bold")
    for rule, gains in suggestions:
        quoted = f"--rule {shlex.quote(rule.pattern)} {shlex.quote(rule.replacement)}"
        out.line(f"  {quoted}  ({count_text(gains, 'tensor')})")
    if suggestions and plan.target is not None:
        out.line(f"  with them: {_after(plan, suggestions).coverage().summary}")


def equation(plan: Plan) -> str:
    """Tensors in = tensors out + skipped, and the other places where a tensor may be."""
    counts = plan.counts
    found = counts["all"] + len(plan.outside)
    parts = [f"{plan.n_out:,} out", f"{counts['skipped']:,} skipped"]
    if counts["collision"]:
        parts.append(f"{counts['collision']:,} in collision")
    if plan.outside:
        parts.append(f"{len(plan.outside):,} outside {plan.mapping.top_level_key}")
    return f"{found:,} in = {' + '.join(parts)}"


def _as_json(plan: Plan, findings: Sequence[Finding]) -> dict[str, object]:
    mapping = plan.mapping
    decided = mapping.to_json()
    return {
        "name": plan.checkpoint.name,
        "format": plan.checkpoint.format,
        "burn": _burn_json(plan),
        "route": mapping.route,
        "top_level_key": mapping.top_level_key,
        "selection": decided["selection"],
        "rules": decided["rules"],
        "reindexed": plan.reindexes,
        "entries": [_entry(row) for row in plan.rows],
        "collisions": [
            {"remapped": found.remapped, "originals": list(found.originals), "kind": found.kind}
            for found in plan.collisions
        ],
        "counts": {**plan.counts, "out": plan.n_out, "outside": len(plan.outside)},
        "lints": [_finding(finding) for finding in findings],
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "rule": finding.rule,
        "place": finding.place,
        "text": finding.text,
        "next": finding.next_step,
        "keys": list(finding.keys),
        "repair": None if finding.repair is None else finding.repair.as_dict(),
    }


def _burn_json(plan: Plan) -> dict[str, object] | None:
    """`api` is the name of the store, as it always was here; `reads_with` is what `--api` and mapping.json call API."""
    if plan.mapping.burn is None:
        return None
    return {
        "version": plan.mapping.burn,
        "api": plan.reader_api,
        "store": plan.reader_api,
        "reads_with": plan.reader.api,
    }


def _entry(row: Row) -> dict[str, object]:
    entry: dict[str, object] = {
        "original": row.original,
        "remapped": row.remapped,
        "shape": list(row.tensor.shape),
        "dtype": row.tensor.dtype.name,
        "rules": list(row.rules),
        "status": str(row.status),
    }
    for name, value in (("reason", row.reason), ("layout", row.layout), ("cast", row.cast)):
        if value:
            entry[name] = value
    if row.folded_from:
        entry["folded_from"] = list(row.folded_from)
    if row.target_key != row.remapped:
        entry["target_key"] = row.target_key
    return entry


def _status(row: Row) -> str:
    said = row.reason or (f"folded from {listed_text(row.folded_from)}" if row.folded_from else "")
    return f"{row.status}: {said}" if said else str(row.status)


def _as_text(out: Printer, plan: Plan, findings: Sequence[Finding]) -> None:
    mapping = plan.mapping
    burn = "no framework"
    if mapping.burn is not None:
        burn = f"Burn {mapping.burn}, {plan.reader_api or 'no reader for this file'}"
    indices = "indices closed up" if plan.reindexes else "indices kept"
    rules = count_text(sum(rule.enabled for rule in mapping.rules), "rule")
    out.line(f"{plan.checkpoint.name}: {rules}, {burn}, {indices}", "bold")
    if len(plan):
        out.line()
        out.table(
            ("original", "remapped", "rules", "shape", "dtype", "status"),
            (
                (
                    row.original,
                    f"→ {row.remapped}",
                    " ".join(str(n + 1) for n in row.rules) or "-",
                    shape_text(row.tensor.shape),
                    row.tensor.dtype.name,
                    _status(row),
                )
                for row in plan.rows
            ),
            ("", "green", "cyan", "dim", "dim", ""),
        )
    out.line()
    out.line(equation(plan))
    for collision in plan.collisions:
        out.line(f"collision: {_words(collision)}", "red")
    for finding in findings:
        out.line(f"{finding.severity}, {finding.place}: {finding.text} [{finding.code}]", _STYLES[finding.severity])
        if finding.next_step:
            out.line(f"  {finding.next_step}")


def _words(collision: Collision) -> str:
    if collision.kind == "prefix":
        below = ", ".join(collision.originals[1:])
        return f"{collision.remapped} is a tensor ({collision.originals[0]}) and has names below it ({below})"
    return f"{collision.remapped} is claimed by {', '.join(collision.originals)}"
