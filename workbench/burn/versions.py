"""The table of burn-store's readers. Each fact was seen by running the crate of that version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_VERSION: Final = "0.22"


@dataclass(frozen=True, slots=True)
class Reader:
    """How one store of one Burn version names the tensors of a file.

    `closes_gaps`: it renumbers the indices of lists by itself (``map_indices_contiguous``).
    `dot_is_root`: a name that starts with a dot counts its first index together with the indices at the root
    (burn-store 0.22.1 joins the prefix of both to the empty text; 0.21.0 keeps ``.`` and the empty text apart).
    """

    api: str
    closes_gaps: bool
    dot_is_root: bool


_TABLE: Final[dict[tuple[str, str], Reader]] = {
    ("0.21", "torch-zip"): Reader("PytorchStore", closes_gaps=True, dot_is_root=False),
    ("0.21", "safetensors"): Reader("SafetensorsStore", closes_gaps=False, dot_is_root=False),
    ("0.22", "torch-zip"): Reader("PytorchStore", closes_gaps=True, dot_is_root=True),
    ("0.22", "safetensors"): Reader("SafetensorsStore", closes_gaps=False, dot_is_root=True),
    ("0.23", "torch-zip"): Reader("PytorchStore", closes_gaps=True, dot_is_root=True),
    ("0.23", "safetensors"): Reader("SafetensorsStore", closes_gaps=False, dot_is_root=True),
}

VERSIONS: Final = tuple(sorted({version for version, _ in _TABLE}))


def reader_for(version: str, container: str) -> Reader:
    """The store of Burn `version` that fits a `container` (a checkpoint's `format`). Raises KeyError."""
    return _TABLE[version, container]
