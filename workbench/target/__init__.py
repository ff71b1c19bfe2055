"""The target: the keys and shapes that a model wants, from a checkpoint, a list, or the Rust source of a Burn model."""

from workbench.target.entries import Entry, Kind, kind_of, unskipped
from workbench.target.target import Target

__all__ = ["Entry", "Kind", "Target", "kind_of", "unskipped"]
