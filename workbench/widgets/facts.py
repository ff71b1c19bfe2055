"""What the screen says of a session: header, status line, rules and forms, as plain JSON values."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workbench import burn
from workbench.checkpoint import Checkpoint
from workbench.diagnosis import Explanation, headline
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Repair
from workbench.mapping import Plan, regex
from workbench.mapping.marks import changes
from workbench.session import Session
from workbench.widgets import exports
from workbench.widgets.target_facts import target_facts

Facts = dict[str, object]

NO_FINDINGS: Final[Facts] = {"revision": -1, "items": [], "n": 0, "banner": None}
"""The `findings` trait before there are any."""

ENDINGS: Final = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pt2", ".npz", ".bpk", ".mpk")
_MAX_FILES: Final = 100
_MAX_FINDINGS: Final = 300
_MAX_NAMED: Final = 12
_MAX_OFFERED: Final = 6
_MAX_LISTED: Final = 2_000
_GROUP_VALUES: Final = 4
_MAX_VALUE: Final = 60


def summary(session: Session) -> Facts:
    """The `summary` trait."""
    facts: Facts = {
        "state": "empty",
        "name": "",
        "path": "",
        "error": None,
        "folder": [],
        "folder_more": "",
        "target": None,
        "burn_choice": "",
        "burn_choices": [],
        "undo": session.undo_label,
        "redo": session.redo_label,
    }
    if session.error is not None:
        facts |= {
            "state": "error",
            "name": printable(Path(session.path or "").name, 200),
            "path": session.path or "",
            "error": session.error.as_dict(),
        }
    if session.plan is None:
        return facts | _checkpoints_here()
    return facts | _open(session, session.plan)


def _open(session: Session, plan: Plan) -> Facts:
    checkpoint, mapping = plan.checkpoint, plan.mapping
    counts = plan.counts
    return {
        "state": "open",
        "name": printable(checkpoint.name, 200),
        "path": printable(checkpoint.path, 1_000),
        "kind": checkpoint.kind,
        "n_tensors": len(checkpoint.tensors),
        "nbytes": checkpoint.nbytes,
        "dtypes": [{"dtype": name, "n_tensors": n, "nbytes": nbytes} for name, n, nbytes in plan.dtypes],
        "top_level_keys": [
            {"key": printable(top.key, 200), "n_tensors": top.n_tensors, "nbytes": top.nbytes}
            for top in checkpoint.top_level_keys
        ],
        "top_level_key": mapping.top_level_key,
        "counts": counts,
        "equation": {
            "found": len(checkpoint.tensors),
            "out": plan.n_out,
            "skipped": counts["skipped"],
            "collision": counts["collision"],
            "outside": len(plan.outside),
        },
        "n_collisions": len(plan.collisions),
        "blocked": exports.blocked(plan),
        "target": None if session.target is None else target_facts(plan.coverage(session.target)),
        "burn_choice": f"{mapping.burn or ''} {mapping.api or ''}".strip(),
        "burn_choices": list(_burn_choices(plan)),
        "burn": f"Burn {mapping.burn}, {plan.reader_api or 'no reader for this file'}" if mapping.burn else "",
        "reindex": "indices closed up" if plan.reindexes else "indices kept",
        "plan": {"number": session.plan_number, "ms": round(plan.seconds * 1_000)},
        "export": exports.choices(plan),
    }


def findings(session: Session) -> Facts:
    """The `findings` trait; `revision` is that of the session for which they hold."""
    items = [_finding(n, finding) for n, finding in enumerate(session.findings[:_MAX_FINDINGS])]
    return {"revision": session.revision, "items": items, "n": len(session.findings), "banner": _banner(session)}


def _banner(session: Session) -> Facts | None:
    """The finding that stands above the table."""
    said = None if session.checkpoint is None else headline(session.checkpoint, session.findings[:_MAX_FINDINGS])
    if said is None:
        return None
    return {
        "finding": said.number,
        "title": printable(said.title, 300),
        "text": printable(said.text, 1_000),
        "owner": printable(said.owner, 300),
        "danger": said.is_danger,
    }


def changed(checkpoint: Checkpoint) -> Facts:
    """The `changed` trait: nothing while the file is the one that was opened. `when` is "" where it is gone."""
    try:
        checkpoint.check_unchanged()
    except OpenError as error:
        path = error.path or checkpoint.path
        facts: Facts = {"name": printable(Path(path).name, 200), "when": "", "mtime": ""}
        try:
            status = os.stat(path)
        except OSError:
            return facts
        at = datetime.datetime.fromtimestamp(status.st_mtime)
        day = "" if at.date() == datetime.date.today() else f"on {at:%Y-%m-%d} "
        return facts | {"when": f"{day}at {at:%H:%M}", "mtime": str(status.st_mtime_ns)}
    return {}


def _burn_choices(plan: Plan) -> Iterator[Facts]:
    """Version and API, the newest first; the first API of a version is chosen without a word."""
    for version in reversed(burn.VERSIONS):
        apis = burn.apis_of(version)
        for n, api in enumerate(apis):
            store = burn.reader_for(version, plan.checkpoint.format, api).store
            reads = store or "export first"
            yield {"value": f"{version} {api}" if n else version, "words": f"For Burn {version} · {reads}"}
    yield {"value": "", "words": "No framework"}


def _finding(number: int, finding: Finding) -> Facts:
    return {
        "number": number,
        "code": finding.code,
        "severity": str(finding.severity),
        "place": printable(finding.place, 400),
        "text": printable(finding.text, 1_000),
        "next": printable(finding.next_step, 600),
        "rule": finding.rule,
        "repair": None if finding.repair is None else _repair(finding.repair),
    }


def _repair(repair: Repair) -> Facts:
    key = dict(repair.arguments).get("top_level_key")
    return {
        "label": printable(repair.label, 120),
        "do": repair.do,
        "top_level_key": key if isinstance(key, str) else None,
    }


def explanation(found: Explanation, revision: int) -> Facts:
    """The answer to a pasted error."""
    return {
        "revision": revision,
        "known": found.known,
        "title": printable(found.title, 400),
        "cause": printable(found.cause, 1_500),
        "wording": printable(found.wording, 200),
        "here": [
            {"name": printable(name, 200), "keys": [printable(key, 200) for key in keys[:4]], "n": len(keys)}
            for name, keys in found.here[:_MAX_NAMED]
        ],
        "n_here": len(found.here),
        "repairs": [_repair(repair) for repair in found.repairs[:_MAX_OFFERED]],
        "still_there": found.still_there,
    }


def rules(session: Session) -> list[Facts]:
    """The `rules` trait."""
    plan = session.plan
    if plan is None:
        return []
    facts: list[Facts] = []
    for index, rule in enumerate(plan.mapping.rules):
        hit = plan.hits(index)
        facts.append(
            {
                "pattern": rule.pattern,
                "replacement": rule.replacement,
                "enabled": rule.enabled,
                "n_keys": None if hit is None else int(hit.sum()),
            }
        )
    return facts


def groups(plan: Plan, index: int) -> Facts:
    """What the groups of a rule hold, and the first key it hits before and after."""
    rule = plan.mapping.rules[index]
    hit = plan.hits(index)
    if hit is None or not hit.any():
        return {"n_keys": 0, "n_hits": 0, "groups": [], "first_hit": None}
    before = regex.take(plan.keys_before(index), hit)
    first = before.head(1)
    left, right = changes(first[0], regex.replace_all(first, rule.pattern, rule.replacement)[0])
    return {
        "n_keys": len(before),
        "n_hits": regex.count_matches(before, rule.pattern),
        "groups": [
            {
                "name": group.name,
                "values": [printable(value, _MAX_VALUE) for value in group.values],
                "n_values": group.n_values,
            }
            for group in regex.groups(before, rule.pattern, _GROUP_VALUES)
        ],
        "first_hit": {
            "before": [(printable(text, 1_000), mark) for text, mark in left],
            "after": [(printable(text, 1_000), mark) for text, mark in right],
        },
    }


def _checkpoints_here() -> Facts:
    """Files in the current folder that look like checkpoints by name, and in words what is not listed of them."""
    found: list[tuple[str, int]] = []
    more = ""
    try:
        with os.scandir(".") as entries:
            for n, entry in enumerate(entries):
                if n >= _MAX_LISTED:
                    more = f"Only {_MAX_LISTED:,} entries of the folder were looked at. Type the path of another."
                    break
                if entry.name.lower().endswith(ENDINGS) and entry.is_file() and entry.name.isprintable():
                    found.append((entry.name, entry.stat().st_size))
    except OSError:
        pass
    if len(found) > _MAX_FILES:
        more = more or f"and {len(found) - _MAX_FILES:,} more. Type the path of one of them."
    listed = [{"path": name, "nbytes": size} for name, size in sorted(found)[:_MAX_FILES]]
    return {"folder": listed, "folder_more": more}
