"""Diagnosis: what is the matter with a file, in findings; and what an error text of another program means here."""

from workbench.diagnosis.explanation import Explanation, explain
from workbench.diagnosis.findings import diagnose, findings_of

__all__ = ["Explanation", "diagnose", "explain", "findings_of"]
