"""What burn-import prints when it is asked to (``with_debug_print``), word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.burn import sight
from workbench.formats.burn_dtypes import BURN_NAMES

if TYPE_CHECKING:
    from workbench.mapping.plan import Plan

__all__ = ["debug_print"]


def debug_print(plan: Plan) -> str:
    """The print of the plan's version: after the rules, before the indices, by the bytes of new and old key.

    Nothing where no reader of that version opens the file. Of tensors with one new key burn-import prints the shape
    of an arbitrary one, this each one's own. Versions without the print get that of burn-import, with what they see.
    """
    plan, reader = plan.unfolded, plan.reader
    shown: set[int] | None = None
    if reader.version:
        if not reader.store:
            return ""
        seen = sight(reader, plan.checkpoint, plan.mapping.top_level_key)
        if seen.refused:
            return ""
        pairs = zip(seen.tensors, seen.seen, strict=True)
        shown = {id(tensor) for tensor, fate in pairs if fate.state != "lost"}
    lines = ["Debug information of keys and tensor shapes:", "---"]
    for row in sorted(range(len(plan)), key=lambda row: (plan.after_rules[row], plan.originals[row])):
        tensor = plan.tensors[row]
        if shown is not None and id(tensor) not in shown:
            continue
        old, new = plan.originals[row], plan.after_rules[row]
        lines += [f"Original Key: {old}", f"Remapped Key: {new}"] if old != new else [f"Key: {old}"]
        dtype = tensor.dtype.name
        lines += [f"Shape: {list(tensor.shape)}", f"Dtype: {BURN_NAMES.get(dtype, dtype)}", "---"]
    return "\n".join(lines) + "\n"
