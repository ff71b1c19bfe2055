"""Diagnosis: what is the matter with a file, in findings; and what an error text of another program means here."""

from workbench.diagnosis.explanation import Explanation, explain
from workbench.diagnosis.findings import diagnose, findings_of
from workbench.diagnosis.headline import Headline, headline

__all__ = ["Explanation", "Headline", "diagnose", "explain", "findings_of", "headline"]
