"""A plan as a Python program of its own."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.mapping import Plan

__all__ = ["loader_text", "python_code"]

_BODY = """
if plan.collisions:
    raise SystemExit(f"several tensors get one name: {plan.collisions}")

arrays = {}
for row in plan.rows:
    if row.status == "skipped":
        continue
    array = row.tensor.read()
    if row.layout == "transpose":
        array = array.T
    if row.cast:
        array = array.astype(row.cast)  # names such as bfloat16 are those of ml_dtypes
    arrays[row.target_key] = np.ascontiguousarray(array)
"""


def python_code(plan: Plan) -> str:
    """Python that reads the file of `plan` and leaves `arrays`, target key to numpy array, as the plan says.

    Every text of the user or the file is a literal.
    """
    mapped = plan.mapping.to_python(plan.checkpoint.path or "model.pt")
    return f"import ml_dtypes  # noqa: F401, makes bfloat16 known to numpy\nimport numpy as np\n{mapped}{_BODY}"


def loader_text() -> str:
    """The load.py of an export: a program of numpy alone, the same for each."""
    return resources.files("workbench.code").joinpath("bundle_loader.py").read_text(encoding="utf-8")
