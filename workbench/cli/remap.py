"""`workbench remap`: which key becomes which, before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer, print_json
from workbench.core.text import count_text, shape_text
from workbench.mapping import Collision, Mapping, Plan, Row, Rule


@dataclass(frozen=True, slots=True)
class Decisions:
    """The options of a command that decide on keys; None is what was not said."""

    rules: Sequence[tuple[str, str]]
    mapping: Path | None
    top_level_key: str | None
    reindex: bool | None
    burn: str | None


def decide(said: Decisions) -> Mapping:
    """The mapping file, if there is one, then the rules given after it; the other options outrank the file's."""
    mapping = Mapping() if said.mapping is None else Mapping.load(said.mapping)
    if said.rules:
        mapping = mapping.with_rules([*mapping.rules, *(Rule(*rule) for rule in said.rules)])
    if said.top_level_key is not None:
        mapping = replace(mapping, top_level_key=said.top_level_key)
    if said.reindex is not None:
        mapping = replace(mapping, reindex=said.reindex)
    if said.burn is not None:
        mapping = replace(mapping, burn=None if said.burn == "none" else said.burn)
    return mapping


def run(file: Path, said: Decisions, *, as_json: bool) -> int:
    """Print the plan; 1 where two tensors claim one name, else 0."""
    # The decisions first: a wrong pattern should not wait for a large file.
    mapping = decide(said)
    plan = mapping.plan(open_checkpoint(file))
    if as_json:
        print_json(_as_json(plan))
    else:
        _as_text(Printer(), plan)
    return int(bool(plan.collisions))


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


def _as_json(plan: Plan) -> dict[str, object]:
    mapping = plan.mapping
    return {
        "name": plan.checkpoint.name,
        "format": plan.checkpoint.format,
        "burn": None if mapping.burn is None else {"version": mapping.burn, "api": plan.reader_api},
        "top_level_key": mapping.top_level_key,
        "rules": mapping.to_json()["rules"],
        "reindexed": plan.reindexes,
        "entries": [_entry(row) for row in plan.rows],
        "collisions": [
            {"remapped": found.remapped, "originals": list(found.originals), "kind": found.kind}
            for found in plan.collisions
        ],
        "counts": {**plan.counts, "out": plan.n_out, "outside": len(plan.outside)},
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
    if row.reason:
        entry["reason"] = row.reason
    return entry


def _as_text(out: Printer, plan: Plan) -> None:
    mapping = plan.mapping
    burn = f"Burn {mapping.burn}, {plan.reader_api}" if mapping.burn is not None else "no framework"
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
                    f"{row.status}: {row.reason}" if row.reason else str(row.status),
                )
                for row in plan.rows
            ),
            ("", "green", "cyan", "dim", "dim", ""),
        )
    out.line()
    out.line(equation(plan))
    for collision in plan.collisions:
        out.line(f"collision: {_words(collision)}", "red")


def _words(collision: Collision) -> str:
    if collision.kind == "prefix":
        below = ", ".join(collision.originals[1:])
        return f"{collision.remapped} is a tensor ({collision.originals[0]}) and has names below it ({below})"
    return f"{collision.remapped} is claimed by {', '.join(collision.originals)}"
