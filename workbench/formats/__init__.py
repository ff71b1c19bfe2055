"""The file formats, each told by content: `read` opens a source with the first that knows it."""

from __future__ import annotations

from typing import Final, Protocol

from workbench.core import collector
from workbench.core.source import ByteSource
from workbench.errors import OpenError
from workbench.formats import burnpack, mpk, npz, plain_pickle, safetensors, torch_legacy, torch_tar, torch_zip
from workbench.formats.contents import Contents
from workbench.formats.what_is_it import what_is_it

__all__ = ["FORMATS", "Contents", "Format", "read"]


class Format(Protocol):
    """One module per format."""

    @property
    def name(self) -> str:
        """Its name in `Contents.format`."""
        ...

    def sniff(self, source: ByteSource) -> bool:
        """Whether the first bytes are this format's."""
        ...

    def read(self, source: ByteSource) -> Contents:
        """Everything but tensor bytes."""
        ...


FORMATS: Final[tuple[Format, ...]] = (npz, burnpack, mpk, torch_zip, safetensors, torch_legacy, torch_tar, plain_pickle)
"""In the order in which they are tried."""


def read(source: ByteSource) -> Contents:
    """What the file holds. OpenError or NotACheckpointError when it is broken or something else."""
    with collector.paused():
        for known in FORMATS:
            if known.sniff(source):
                try:
                    return known.read(source)
                except OpenError as error:
                    error.path = error.path or source.path or source.name
                    raise
    raise what_is_it(source)
