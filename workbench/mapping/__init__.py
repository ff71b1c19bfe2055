"""What the user decided, and what follows from it for one checkpoint."""

from workbench.mapping.collisions import Collision
from workbench.mapping.mapping import Mapping
from workbench.mapping.plan import Plan, Row, Status
from workbench.mapping.rules import Rule

__all__ = ["Collision", "Mapping", "Plan", "Row", "Rule", "Status"]
