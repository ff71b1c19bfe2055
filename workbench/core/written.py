"""Written: how a file was written, where other readers stumble over it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """What the tree of a checkpoint does not show of its pickle and its container; empty where there is no pickle.

    `opcodes` and `called` tell where each came first, in bytes of the pickle; the few opcodes that every state_dict has
    are not among them. `called` are the names called by REDUCE, `made` those that made a tensor by NEWOBJ.
    """

    protocol: int = -1
    opcodes: dict[int, int] = field(default_factory=dict)
    called: dict[str, int] = field(default_factory=dict)
    made: tuple[str, ...] = ()
    attributes: tuple[object, ...] = ()
    """What the file sets on tensors, as nodes: the tree holds the tensors alone."""
    has_ordered_pairs: bool = False
    """OrderedDicts get their entries with the call, as Python 2 writes them."""
    first_entry: str = ""
    """The first name in the directory of a zip."""
    has_zip64: bool = False
    """A zip64 record stands beside an end record that has the numbers itself, as torch writes both."""
    is_checked: bool = True
    """The checksum of the pickle's entry in a zip is right; torch can be told to write none."""
    bool_spelling: str = ""
    """How a burnpack writes the dtype bool: "text" (Burn 0.19 and 0.20) or "map" (later ones)."""
    padding: int = 0
    """Bytes between the metadata of a burnpack and its data."""
