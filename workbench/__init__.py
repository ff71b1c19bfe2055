"""See what is in a checkpoint, remap its keys, and export it, without torch.

>>> import workbench as wb
>>> wb.Mapping(rules=[wb.Rule(r"conv\\.(.*)", "$1")]).remap_keys(["conv.conv1.bias"])
['conv1.bias']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.checkpoint import Checkpoint
    from workbench.checkpoint import open_checkpoint as open
    from workbench.code import python_code, rules_from_code, rust_code
    from workbench.diagnosis import Explanation, diagnose, explain
    from workbench.errors import (
        CollisionError,
        ExportCancelled,
        ExportError,
        MappingError,
        NotACheckpointError,
        OpenError,
        RuleError,
        TensorError,
        UnknownKeyError,
        WorkbenchError,
    )
    from workbench.exporting import ConvertResult, ExportResult, FixResult, convert, export, fix, load_export
    from workbench.finding import Finding, Repair, Severity
    from workbench.mapping import (
        Cast,
        Collision,
        Coverage,
        Layout,
        Mapping,
        Pick,
        Plan,
        Row,
        Rule,
        Selection,
        Status,
        Step,
        Trace,
    )
    from workbench.session import Session
    from workbench.suggesting import Suggestions, suggest
    from workbench.target import Target
    from workbench.widgets import Workbench

__version__ = "0.1.0"

_HOMES = {
    "Cast": "mapping",
    "Checkpoint": "checkpoint",
    "Collision": "mapping",
    "CollisionError": "errors",
    "ConvertResult": "exporting",
    "Coverage": "mapping",
    "Explanation": "diagnosis",
    "ExportCancelled": "errors",
    "ExportError": "errors",
    "ExportResult": "exporting",
    "Finding": "finding",
    "FixResult": "exporting",
    "Layout": "mapping",
    "Mapping": "mapping",
    "MappingError": "errors",
    "NotACheckpointError": "errors",
    "OpenError": "errors",
    "Pick": "mapping",
    "Plan": "mapping",
    "Repair": "finding",
    "Row": "mapping",
    "Rule": "mapping",
    "RuleError": "errors",
    "Selection": "mapping",
    "Session": "session",
    "Severity": "finding",
    "Status": "mapping",
    "Step": "mapping",
    "Suggestions": "suggesting",
    "Target": "target",
    "TensorError": "errors",
    "Trace": "mapping",
    "UnknownKeyError": "errors",
    "Workbench": "widgets",
    "WorkbenchError": "errors",
    "convert": "exporting",
    "diagnose": "diagnosis",
    "explain": "diagnosis",
    "export": "exporting",
    "fix": "exporting",
    "load_export": "exporting",
    "open": "checkpoint",
    "python_code": "code",
    "rules_from_code": "code",
    "rust_code": "code",
    "suggest": "suggesting",
}

__all__ = [
    "Cast",
    "Checkpoint",
    "Collision",
    "CollisionError",
    "ConvertResult",
    "Coverage",
    "Explanation",
    "ExportCancelled",
    "ExportError",
    "ExportResult",
    "Finding",
    "FixResult",
    "Layout",
    "Mapping",
    "MappingError",
    "NotACheckpointError",
    "OpenError",
    "Pick",
    "Plan",
    "Repair",
    "Row",
    "Rule",
    "RuleError",
    "Selection",
    "Session",
    "Severity",
    "Status",
    "Step",
    "Suggestions",
    "Target",
    "TensorError",
    "Trace",
    "UnknownKeyError",
    "Workbench",
    "WorkbenchError",
    "convert",
    "diagnose",
    "explain",
    "export",
    "fix",
    "load_export",
    "open",
    "python_code",
    "rules_from_code",
    "rust_code",
    "suggest",
]


def __getattr__(name: str) -> object:
    """The public names, each room imported at first use: the command line starts without numpy or widgets."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value: object = getattr(import_module(f"workbench.{home}"), "open_checkpoint" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
