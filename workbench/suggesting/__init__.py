"""Rules that the user did not have to write: towards a target, out of wrappers, from a selection of keys."""

from workbench.suggesting.align import Ambiguity
from workbench.suggesting.engine import Suggestion, Suggestions
from workbench.suggesting.from_keys import NoRule, rule_from
from workbench.suggesting.front import suggest
from workbench.suggesting.readings import Reading, readings
from workbench.suggesting.wrappers import wrapper_rules

__all__ = [
    "Ambiguity",
    "NoRule",
    "Reading",
    "Suggestion",
    "Suggestions",
    "readings",
    "rule_from",
    "suggest",
    "wrapper_rules",
]
