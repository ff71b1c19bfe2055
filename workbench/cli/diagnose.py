"""`workbench diagnose`: what is the matter with a file, and what an error about it means."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from workbench.checkpoint import open_checkpoint
from workbench.cli.output import Printer, print_json
from workbench.core.text import bytes_text, count_text
from workbench.diagnosis import Explanation, explain, findings_of
from workbench.errors import WorkbenchError
from workbench.finding import Finding, Repair, Severity
from workbench.mapping import Mapping, Plan
from workbench.target import Target

_STYLES: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_MAX_ERROR: Final = 1 << 20


def run(
    file: Path,
    *,
    error: str | None,
    burn: str | None,
    mapping: Path | None,
    target: Path | None,
    deep: bool,
    as_json: bool,
) -> int:
    """Print it; 1 where a finding is an error, else 0. An error text that comes with a broken file is told first."""
    said = Mapping() if mapping is None else Mapping.load(mapping)
    if burn is not None:
        said = replace(said, burn=None if burn == "none" else burn, api=None)
    text = _error_text(error)
    out = Printer()
    try:
        checkpoint = open_checkpoint(file)
    except WorkbenchError:
        if text is not None and not as_json:
            _print_explanation(out, explain(text), str(file))
            out.line()
        raise
    wanted = None if target is None else Target.open(target, burn=said.burn)
    plan = said.plan(checkpoint, wanted)
    findings = findings_of(plan, deep=deep, progress=_progress() if deep else None)
    explanation = None if text is None else explain(text, plan=plan)
    if as_json:
        print_json(
            {
                "name": checkpoint.name,
                "burn": said.burn,
                "findings": [_finding_json(each) for each in findings],
                "explanation": None if explanation is None else explanation.as_dict(),
            }
        )
    else:
        _as_text(out, plan, findings, explanation, deep=deep)
    return int(any(each.severity is Severity.ERROR for each in findings))


def _error_text(error: str | None) -> str | None:
    if error != "-":
        return error
    return sys.stdin.buffer.read(_MAX_ERROR).decode("utf-8", "replace")


def _progress() -> Any:
    """A line on stderr that grows, on a terminal only."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        end = "\n" if done >= total else "\r"
        sys.stderr.write(f"reading values: {bytes_text(done)} of {bytes_text(total)} {end}")

    return show


def _as_text(
    out: Printer, plan: Plan, findings: tuple[Finding, ...], explanation: Explanation | None, *, deep: bool
) -> None:
    checkpoint = plan.checkpoint
    out.line(f"{checkpoint.name}: {checkpoint.kind}, {count_text(len(checkpoint.tensors), 'tensor')}", "bold")
    if explanation is not None:
        out.line()
        _print_explanation(out, explanation, checkpoint.path)
    out.line()
    if not findings:
        out.line("Nothing was found that stands in the way of loading it.")
    for each in findings:
        where = f" {each.place}:" if each.place and each.place != "the file" else ""
        out.line(f"{each.severity}:{where} {each.text} [{each.code}]", _STYLES[each.severity])
        if each.next_step:
            out.line(f"    next: {each.next_step}")
        if each.repair is not None:
            out.line(f"    repair: {_repair_text(each.repair, checkpoint.path)}")
    if not deep:
        out.line()
        out.line("Values were not read; --deep looks for NaN, infinity and tensors of zeros.", "dim")


def _print_explanation(out: Printer, said: Explanation, path: str) -> None:
    out.line(f"The error: {said.title}", "bold")
    out.line(f"    {said.cause}")
    if said.wording:
        out.line(f"    wording of: {said.wording}")
    for name, keys in said.here[:8]:
        shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4:,} more" if len(keys) > 4 else "")
        out.line(f"    {name} is here: {shown}" if keys != (name,) else f"    {name} is here")
    if len(said.here) > 8:
        out.line(f"    and {len(said.here) - 8:,} more names")
    for repair in said.repairs[:5]:
        out.line(f"    repair: {_repair_text(repair, path)}")
    still = {True: "The cause is still there.", False: "With the present choices this cause is gone.", None: ""}
    if still[said.still_there]:
        out.line(f"    {still[said.still_there]}")


def _repair_text(repair: Repair, path: str) -> str:
    """A repair, with the option of a command that does it where there is one."""
    arguments = dict(repair.arguments)
    option = ""
    if repair.do == "add-rule":
        option = f"--rule {_quoted(arguments['pattern'])} {_quoted(arguments['replacement'])}"
    elif repair.do == "set" and arguments.get("field") == "top_level_key" and arguments.get("value") is not None:
        option = f"--top-level-key {_quoted(arguments['value'])}"
    elif repair.do == "export":
        key = arguments.get("top_level_key")
        out = Path(path).with_suffix("").name + ".state_dict.safetensors"
        below = f" --top-level-key {_quoted(key)}" if key is not None else ""
        option = f"workbench fix {_quoted(path)} -o {_quoted(out)}{below}"
    return f"{repair.label} ({option})" if option else repair.label


def _quoted(text: object) -> str:
    import shlex

    return shlex.quote(str(text))


def _finding_json(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "place": finding.place,
        "message": finding.text,
        "next": finding.next_step,
        "keys": list(finding.keys),
        "repair": None if finding.repair is None else finding.repair.as_dict(),
    }
