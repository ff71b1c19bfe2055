"""What every format hands back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from workbench.core.tensor import TensorRef
from workbench.core.tree import opaque_with_tensors, walk
from workbench.errors import printable
from workbench.finding import Finding, Severity

__all__ = ["Contents", "findings_of_tree", "fingerprint", "table"]


@dataclass(frozen=True, slots=True)
class Contents:
    """A file, opened: its tree, its tensors in file order, and what its reader noticed."""

    format: str
    tree: object = field(repr=False)
    tensors: tuple[TensorRef, ...] = field(repr=False)
    findings: tuple[Finding, ...]
    metadata: dict[str, str]
    fingerprint: str


def fingerprint(*parts: bytes) -> str:
    """One name for the metadata bytes of a file: ``sha256:`` and 64 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def table(tree: object) -> tuple[TensorRef, ...]:
    """The tensors of a tree with their joined keys, in file order."""
    return tuple(
        TensorRef(
            ".".join(map(str, path)),
            path,
            of.dtype,
            of.shape,
            of.strides,
            of.offset,
            of.storage,
            of.byteswap,
            of.conj,
            of.neg,
            of.unreadable,
        )
        for path, of in walk(tree)
    )


def findings_of_tree(tree: object) -> list[Finding]:
    """Tensors that sit in plain attributes or other people's objects, so that no state_dict() names them."""
    found = []
    for owner, n in opaque_with_tensors(tree):
        what = "1 tensor" if n == 1 else f"{n:,} tensors"
        name = printable(owner.class_path, 120)
        found.append(
            Finding(
                "tensors-in-object",
                Severity.NOTE,
                f"object `{name}`",
                f"An object `{name}` holds {what} in its attributes or arguments that no state_dict() names; "
                f"{'it is' if n == 1 else 'they are'} not listed.",
            )
        )
    return found
