"""What the user decided, and what follows from it for one checkpoint."""

from workbench.mapping.casts import Cast
from workbench.mapping.collisions import Collision
from workbench.mapping.coverage import Coverage
from workbench.mapping.layout import Layout
from workbench.mapping.mapping import Mapping, Route
from workbench.mapping.plan import Plan
from workbench.mapping.rows import Row, Status
from workbench.mapping.rules import Rule
from workbench.mapping.selection import Pick, Selection
from workbench.mapping.trace import Step, Trace

__all__ = [
    "Cast",
    "Collision",
    "Coverage",
    "Layout",
    "Mapping",
    "Pick",
    "Plan",
    "Route",
    "Row",
    "Rule",
    "Selection",
    "Status",
    "Step",
    "Trace",
]
