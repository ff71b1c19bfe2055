"""What the table shows: a pure function of a plan and a view (arrangement, folds, filter). Knows no widget."""

from workbench.rows.inspector import inspected
from workbench.rows.table import Table
from workbench.rows.view import ARRANGEMENTS, CHIPS, View

__all__ = ["ARRANGEMENTS", "CHIPS", "Table", "View", "inspected"]
