"""What stands in one line of the table: its fields, and how keys are cut, marked and escaped for them."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from workbench.core.tensor import TensorRef
from workbench.errors import printable
from workbench.mapping import Plan
from workbench.mapping.marks import Part


class RowDict(TypedDict):
    """One line as the page gets it; the fields are described in widgets/wire.py."""

    i: int
    id: str
    kind: str
    depth: int
    open: bool
    key: str
    remapped: str
    note: str
    tag: str
    tag_title: str
    label: list[Part]
    target: list[Part]
    shape: str
    dtype: str
    size: str
    status: str
    status_text: str
    differs: str
    hit: bool
    reason: str
    aria: str


def classes(plan: Plan) -> dict[str, str]:
    """Classes of modules by key, as the keys of the plan stand: below its top-level key."""
    classes = plan.checkpoint.modules
    top = plan.mapping.top_level_key
    if top is None:
        return classes
    return {key[len(top) + 1 :]: path for key, path in classes.items() if key.startswith(f"{top}.")}


def tags_of(plan: Plan) -> dict[str, tuple[str, str]]:
    """A word on tensors that share their bytes with others, and which those are; by the tensor's key in the file."""
    tags: dict[str, tuple[str, str]] = {}
    for shared in plan.checkpoint.views:
        more = len(shared.tensors) - 1
        for n, tensor in enumerate(shared.tensors):
            other = shared.tensors[0 if n else 1].key
            others = other if more == 1 else f"{other} and {more - 1:,} more"
            how = "overlaps" if shared.overlapping else "lies in one storage with"
            tags[tensor.key] = ("view", f"{how} {others[:200]}")
    for group in plan.checkpoint.ties:
        for n, key in enumerate(group):
            other = group[0 if n else 1]
            others = other if len(group) == 2 else f"{other} and {len(group) - 2:,} more"
            tags[key] = (f"tied ×{len(group)}", f"the very same values as {others[:200]}")
    return tags


def find_marked(text: str, mark: str, terms: tuple[str, ...]) -> list[Part]:
    """`text` in pieces, those that match a term marked "find"; struck and new parts keep their mark."""
    part: Part = (text, mark)  # type: ignore[assignment]
    lowered = text.lower()
    if not terms or mark not in ("", "dim") or len(lowered) != len(text):
        return [part]
    covered = np.zeros(len(text), np.bool_)
    for term in terms:
        at = lowered.find(term)
        while at >= 0:
            covered[at : at + len(term)] = True
            at = lowered.find(term, at + 1)
    pieces: list[Part] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or covered[end] != covered[start]:
            pieces.append((text[start:end], "find" if covered[start] else part[1]))
            start = end
    return pieces or [part]


def cut(parts: tuple[Part, ...], shown: int) -> list[Part]:
    """`parts` without their first `shown` characters."""
    result: list[Part] = []
    for text, mark in parts:
        if shown < len(text):
            result.append((text[shown:], mark))
        shown = max(0, shown - len(text))
    return result


def dim(parts: tuple[Part, ...], n: int) -> list[Part]:
    """`parts` with the plain text among the first `n` characters marked "dim"."""
    result: list[Part] = []
    for text, mark in parts:
        if mark == "" and n > 0:
            result.append((text[:n], "dim"))
            if text[n:]:
                result.append((text[n:], ""))
        else:
            result.append((text, mark))
        n -= len(text)
    return result


def common_segments(prefix: str, key: str) -> int:
    """How many characters of whole segments `prefix` ("a.b.") and `key` begin with alike."""
    common = 0
    while (dot := prefix.find(".", common)) >= 0 and key[common : dot + 1] == prefix[common : dot + 1]:
        common = dot + 1
    return common


def escaped(text: str) -> str:
    return text if text.isprintable() else printable(text)


def aria(original: str, remapped: str, tensor: TensorRef, status: str, *, times: int = 1, differs: str = "") -> str:
    becomes = f", becomes {remapped}" if remapped != original else ""
    shape = " by ".join(str(size) for size in tensor.shape) if tensor.shape else "scalar"
    often = f", {times:,} times" if times > 1 else ""
    odd = f", {differs} differs" if differs in ("dtype", "shape") else ", only in this block" if differs else ""
    return escaped(f"{original}{becomes}{often}, {shape}, {tensor.dtype.name}, {status}{odd}")


def only_said(i: int, line_id: str, kind: str, depth: int, *, key: str, label: list[Part], aria: str) -> RowDict:
    """A line that says one thing only."""
    return RowDict(
        i=i,
        id=line_id,
        kind=kind,
        depth=depth,
        open=False,
        key=key,
        remapped="",
        note="",
        tag="",
        tag_title="",
        label=label,
        target=[],
        shape="",
        dtype="",
        size="",
        status="",
        status_text="",
        differs="",
        hit=False,
        reason="",
        aria=aria,
    )
