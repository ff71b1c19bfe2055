"""Exporting: a plan as files that other programs load, and those files as arrays again."""

from workbench.exporting.bundle import ExportResult, export, load_export, planned_files
from workbench.exporting.files import DEFAULT_FORMATS, FORMATS
from workbench.exporting.fixing import FixResult, StateDict, fix, state_dicts

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "ExportResult",
    "FixResult",
    "StateDict",
    "export",
    "fix",
    "load_export",
    "planned_files",
    "state_dicts",
]
