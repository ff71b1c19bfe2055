"""`workbench diagnose`: what is the matter with a file, and what an error about it means."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

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
    except WorkbenchError as fault:
        explanation = None if text is None else explain(text)
        if as_json:
            _print_findings(file.name, said, (_as_finding(fault),), explanation)
        elif explanation is not None:
            _print_explanation(out, explanation, str(file))
            out.line()
        raise
    wanted = None if target is None else Target.open(target, burn=said.burn)
    plan = said.plan(checkpoint, wanted)
    findings = findings_of(plan, deep=deep, progress=_progress() if deep else None)
    explanation = None if text is None else explain(text, plan=plan)
    if as_json:
        _print_findings(checkpoint.name, said, findings, explanation)
    else:
        _as_text(out, plan, findings, explanation, deep=deep)
    return int(any(each.severity is Severity.ERROR for each in findings))


def _as_finding(fault: WorkbenchError) -> Finding:
    """A file that cannot be opened, as the one finding on it."""
    text = " ".join(part for part in (fault.title, fault.cause) if part)
    return Finding(fault.code, Severity.ERROR, fault.place or "the file", text, fault.next_step)


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
    if not checkpoint.tensors:
        out.line("It holds no tensors: there is nothing to load.", "yellow")
    elif not findings:
        out.line("Nothing was found that stands in the way of loading it.")
    for each in findings:
        _print_finding(out, each, checkpoint.path)
    if not deep:
        out.line()
        out.line("Values were not read; --deep looks for NaN, infinity and tensors of zeros.", "dim")


def _print_finding(out: Printer, finding: Finding, path: str) -> None:
    where = f" {finding.place}:" if finding.place and finding.place != "the file" else ""
    out.line(f"{finding.severity}:{where} {finding.text} [{finding.code}]", _STYLES[finding.severity])
    if finding.next_step:
        out.line(f"    next: {finding.next_step}")
    if finding.repair is not None:
        out.line(f"    repair: {_repair_text(finding.repair, path)}")


def _print_findings(name: str, said: Mapping, findings: tuple[Finding, ...], explanation: Explanation | None) -> None:
    print_json(
        {
            "name": name,
            "burn": said.burn,
            "findings": [_finding_json(each) for each in findings],
            "explanation": None if explanation is None else explanation.as_dict(),
        }
    )


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
    elif repair.do == "add-rules":
        pairs = cast(Sequence[tuple[str, str]], arguments["rules"])
        option = " ".join(f"--rule {_quoted(pattern)} {_quoted(replacement)}" for pattern, replacement in pairs)
    elif repair.do == "set" and arguments.get("field") == "top_level_key" and arguments.get("value") is not None:
        option = f"--top-level-key {_quoted(arguments['value'])}"
    elif repair.do == "fold":
        option = "workbench export or fix, with --fold"
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
