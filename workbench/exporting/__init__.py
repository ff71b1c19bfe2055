"""Exporting: a plan as files that other programs load, and those files as arrays again."""

from workbench.exporting.bundle import ExportResult, export, load_export, planned_files

__all__ = ["ExportResult", "export", "load_export", "planned_files"]
