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


_PYTORCH: Final = ("torch-zip", "torch-legacy", "torch-tar", "pickle")
_TABLE: Final[dict[tuple[str, str], Reader]] = {
    (version, container): Reader(api, closes_gaps=closes_gaps, dot_is_root=dot_is_root)
    for version, dot_is_root in (("0.21", False), ("0.22", True), ("0.23", True))
    for containers, api, closes_gaps in (
        (_PYTORCH, "PytorchStore", True),
        (("safetensors",), "SafetensorsStore", False),
        (("burnpack",), "BurnpackStore", False),
    )
    for container in containers
}

VERSIONS: Final = tuple(sorted({version for version, _ in _TABLE}))


def reader_for(version: str, container: str) -> Reader:
    """The store of Burn `version` that fits a `container` (a checkpoint's `format`).

    One without a name where that version has no store for it: such a file is for `export` first.
    Raises KeyError for a version that is not in `VERSIONS`.
    """
    if version not in VERSIONS:
        raise KeyError(version)
    dot_is_root = _TABLE[version, "torch-zip"].dot_is_root
    return _TABLE.get((version, container), Reader("", closes_gaps=False, dot_is_root=dot_is_root))
