"""`workbench inspect`: what is in a file."""

from __future__ import annotations

from pathlib import Path

from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.cli.output import Printer, print_json
from workbench.core.tensor import TensorRef
from workbench.core.text import bytes_text, count_text, shape_text
from workbench.finding import Finding, Severity

_KINDS = {"needed": "needed for tensors", "inert": "inert", "unknown": "unknown", "dangerous": "dangerous"}
_VALUES_SHOWN = 20


def run(file: Path, *, top_level_key: str | None, as_json: bool) -> int:
    """Print it; 1 where a finding is an error, else 0."""
    checkpoint = open_checkpoint(file)
    tensors = checkpoint.under(top_level_key)
    if as_json:
        print_json(_as_json(checkpoint, tensors, top_level_key))
    else:
        _as_text(Printer(), checkpoint, tensors, top_level_key)
    return int(any(finding.severity == Severity.ERROR for finding in checkpoint.findings))


def finding_json(finding: Finding) -> dict[str, str]:
    """A finding as JSON fields."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "place": finding.place,
        "text": finding.text,
        "next": finding.next_step,
    }


def print_findings(out: Printer, findings: tuple[Finding, ...]) -> None:
    """A line per finding: severity, place, what, what to do, code."""
    if findings:
        out.line()
    for finding in findings:
        where = f"{finding.place}: " if finding.place else ""
        after = f" {finding.next_step}" if finding.next_step else ""
        style = {Severity.ERROR: "red", Severity.WARNING: "yellow"}.get(finding.severity, "")
        out.line(f"{finding.severity}: {where}{finding.text}{after} [{finding.code}]", style)


def _as_json(
    checkpoint: Checkpoint, tensors: tuple[tuple[str, TensorRef], ...], top_level_key: str | None
) -> dict[str, object]:
    rows = []
    for key, tensor in tensors:
        row: dict[str, object] = {
            "key": key,
            "shape": list(tensor.shape),
            "dtype": tensor.dtype.name,
            "nbytes": tensor.nbytes,
        }
        if tensor.unreadable:
            row["unreadable"] = tensor.unreadable
        rows.append(row)
    return {
        "name": checkpoint.name,
        "format": checkpoint.format,
        "kind": checkpoint.kind,
        "size": checkpoint.size,
        "fingerprint": checkpoint.fingerprint,
        "metadata": dict(checkpoint.metadata),
        "n_tensors": len(tensors),
        "nbytes": sum(tensor.nbytes for _, tensor in tensors),
        "top_level_key": top_level_key,
        "top_level_keys": [
            {"key": entry.key, "n_tensors": entry.n_tensors, "nbytes": entry.nbytes}
            for entry in checkpoint.top_level_keys
        ],
        "tensors": rows,
        "n_parameters": sum(tensor.n_elements for _, tensor in tensors),
        "ties": [list(group) for group in checkpoint.ties],
        "beside": [
            {
                "key": each.tensor.key,
                "shape": list(each.tensor.shape),
                "dtype": each.tensor.dtype.name,
                "nbytes": each.tensor.nbytes,
                "reason": each.reason,
            }
            for each in checkpoint.beside
        ],
        "modules": checkpoint.modules,
        "values": [
            {"key": value.key, "value": value.text, "type": value.type_name} for value in checkpoint.other_values
        ],
        "globals": {
            kind: [name for name, its in checkpoint.names.items() if its == words] for kind, words in _KINDS.items()
        },
        "findings": [finding_json(finding) for finding in checkpoint.findings],
    }


def _as_text(
    out: Printer,
    checkpoint: Checkpoint,
    tensors: tuple[tuple[str, TensorRef], ...],
    top_level_key: str | None,
) -> None:
    nbytes = sum(tensor.nbytes for _, tensor in tensors)
    under = f" under {top_level_key}" if top_level_key is not None else ""
    found = f"{count_text(len(tensors), 'tensor')}, {bytes_text(nbytes)}{under}"
    out.line(f"{checkpoint.name}: {checkpoint.kind}, {found}", "bold")
    if checkpoint.metadata:
        out.line("metadata: " + ", ".join(f"{key}={value}" for key, value in checkpoint.metadata.items()))
    if checkpoint.top_level_keys and top_level_key is None:
        keys = ", ".join(
            f"{entry.key} ({count_text(entry.n_tensors, 'tensor')}, {bytes_text(entry.nbytes)})"
            for entry in checkpoint.top_level_keys
        )
        out.line(f"top-level keys: {keys}")
    if tensors:
        out.line()
        out.table(
            ("key", "shape", "dtype", "size"),
            ((key, shape_text(tensor.shape), tensor.dtype.name, bytes_text(tensor.nbytes)) for key, tensor in tensors),
            ("", "cyan", "", "dim"),
        )
    unreadable = [(key, tensor.unreadable) for key, tensor in tensors if tensor.unreadable]
    if unreadable:
        out.line()
    for key, reason in unreadable:
        out.line(f"unreadable: {key}: {reason}", "yellow")
    _print_others(out, checkpoint)
    print_findings(out, checkpoint.findings)


def _print_others(out: Printer, checkpoint: Checkpoint) -> None:
    """Ties and values; tensors beside the state_dict are findings."""
    if checkpoint.ties or checkpoint.other_values:
        out.line()
    for group in checkpoint.ties[:_VALUES_SHOWN]:
        out.line(f"tied: {', '.join(group[:8])}{f' and {len(group) - 8:,} more' if len(group) > 8 else ''}")
    for value in checkpoint.other_values[:_VALUES_SHOWN]:
        out.line(f"value: {value.key} = {value.text}", "dim")
    more = len(checkpoint.other_values) - _VALUES_SHOWN
    if more > 0:
        out.line(f"and {count_text(more, 'more value')}; --json lists them", "dim")
