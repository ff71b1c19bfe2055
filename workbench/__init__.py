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
    from workbench.errors import (
        CollisionError,
        ExportError,
        MappingError,
        NotACheckpointError,
        OpenError,
        RuleError,
        TensorError,
        UnknownKeyError,
        WorkbenchError,
    )
    from workbench.exporting import ExportResult, export, load_export
    from workbench.finding import Finding, Severity
    from workbench.mapping import Collision, Mapping, Plan, Row, Rule, Status
    from workbench.session import Session
    from workbench.widgets import Workbench

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "checkpoint",
    "Collision": "mapping",
    "CollisionError": "errors",
    "ExportError": "errors",
    "ExportResult": "exporting",
    "Finding": "finding",
    "Mapping": "mapping",
    "MappingError": "errors",
    "NotACheckpointError": "errors",
    "OpenError": "errors",
    "Plan": "mapping",
    "Row": "mapping",
    "Rule": "mapping",
    "RuleError": "errors",
    "Session": "session",
    "Severity": "finding",
    "Status": "mapping",
    "TensorError": "errors",
    "UnknownKeyError": "errors",
    "Workbench": "widgets",
    "WorkbenchError": "errors",
    "export": "exporting",
    "load_export": "exporting",
    "open": "checkpoint",
}

__all__ = [
    "Checkpoint",
    "Collision",
    "CollisionError",
    "ExportError",
    "ExportResult",
    "Finding",
    "Mapping",
    "MappingError",
    "NotACheckpointError",
    "OpenError",
    "Plan",
    "Row",
    "Rule",
    "RuleError",
    "Session",
    "Severity",
    "Status",
    "TensorError",
    "UnknownKeyError",
    "Workbench",
    "WorkbenchError",
    "export",
    "load_export",
    "open",
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
