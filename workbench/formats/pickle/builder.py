"""What a machine asks of the builder it is handed, and how both say that a pickle is wrong."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Builder", "Fault"]


class Builder(Protocol):
    """Decides what names, calls and persistent ids become. Positions are byte offsets, for findings."""

    def name(self, module: object, name: object, at: int) -> object:
        """The node for a GLOBAL; both parts are text when the file is honest."""
        ...

    def extension(self, code: int, at: int) -> object:
        """The node for a name out of the extension registry."""
        ...

    def call(self, function: object, args: object, at: int, opcode: str, kwargs: object = None) -> object:
        """The node for what calling ``function`` would give."""
        ...

    def build(self, node: object, state: object, at: int) -> None:
        """Record ``state`` on ``node``."""
        ...

    def persistent(self, pid: object, at: int) -> object:
        """The node for a persistent id."""
        ...


class Fault(Exception):
    """What is wrong at the opcode being read; the machine adds the place."""
