"""A name of the file as a node of the tree, and what the storage classes among them stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.core.tree import Opaque
from workbench.formats.pickle.names import Effect, storage_dtype

if TYPE_CHECKING:
    from workbench.formats.pickle.rebuild import TreeBuilder

__all__ = ["Global", "storage_class"]


class Global(Opaque):
    """A name of the file. ``handler`` is ours for it, by exact name, or None."""

    __slots__ = ("effect", "handler", "n_called")

    def __init__(self, class_path: str, effect: Effect) -> None:
        super().__init__(class_path)
        self.effect = effect
        self.handler: Callable[[TreeBuilder, tuple[object, ...]], object] | None = None
        self.n_called = 0


def storage_class(node: object) -> str | None:
    """The dtype a storage class stands for ("" for plain bytes), None when the node is no such class."""
    return storage_dtype(node.class_path) if type(node) is Global else None
