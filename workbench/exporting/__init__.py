"""Exporting: a plan as files that other programs load, and those files as arrays again."""

from workbench.exporting.bundle import ExportResult, export
from workbench.exporting.converting import ConvertResult, convert
from workbench.exporting.fixing import FixResult, StateDict, fix, state_dicts
from workbench.exporting.loading import load_export
from workbench.exporting.planned import PlannedFile, planned_files
from workbench.writing.files import DEFAULT_FORMATS, FORMATS, TEXTS

__all__ = [
    "DEFAULT_FORMATS",
    "FORMATS",
    "TEXTS",
    "ConvertResult",
    "ExportResult",
    "FixResult",
    "PlannedFile",
    "StateDict",
    "convert",
    "export",
    "fix",
    "load_export",
    "planned_files",
    "state_dicts",
]
