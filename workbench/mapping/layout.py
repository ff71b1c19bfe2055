"""Layout: what an adapter from PyTorch to Burn changes in tensors of modules whose type is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from workbench.errors import MappingError, printable

if TYPE_CHECKING:
    from workbench.burn import Reader

__all__ = ["Adapter", "Layout", "Operation", "type_of_class"]

Operation = Literal["", "transpose", "rename gamma/beta"]

_LEAVES: Final = {"weight": "gamma", "bias": "beta"}
_NORMS: Final = frozenset({"BatchNorm", "LayerNorm", "GroupNorm", "RmsNorm", "InstanceNorm"})
"""Burn's modules whose parameters are named gamma and beta."""

_CLASSES: Final = {
    "Linear": "Linear",
    "NonDynamicallyQuantizableLinear": "Linear",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "BatchNorm3d": "BatchNorm",
    "SyncBatchNorm": "BatchNorm",
    "LayerNorm": "LayerNorm",
    "GroupNorm": "GroupNorm",
    "RMSNorm": "RmsNorm",
    "InstanceNorm1d": "InstanceNorm",
    "InstanceNorm2d": "InstanceNorm",
    "InstanceNorm3d": "InstanceNorm",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Whether layouts are adapted (None: as the reader does by itself), and the types of modules that the user marked.

    `modules` are pairs of a module's path in the remapped keys and its Burn type ("encoder.fc", "Linear"). A mark
    outranks the target and the file. Raises `MappingError` where a path is marked twice.
    """

    adapt: bool | None = None
    modules: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.adapt is not None and not isinstance(self.adapt, bool):
            raise TypeError(f"Layout: adapt must be bool or None, not {self.adapt!r}")
        pairs = tuple((path, kind) for path, kind in self.modules)
        if not all(isinstance(text, str) for pair in pairs for text in pair):
            raise TypeError(f"Layout: modules must be pairs of texts, not {self.modules!r}")
        paths = [path for path, _ in pairs]
        if len(set(paths)) < len(paths):
            twice = next(path for n, path in enumerate(paths) if path in paths[:n])
            raise MappingError(
                f"The module {printable(repr(twice), 80)} is marked twice.",
                next_step="Keep one of the marks.",
                code="module-marked-twice",
            )
        object.__setattr__(self, "modules", pairs)

    def marked(self, path: str, kind: str | None) -> Layout:
        """With the module at `path` marked as `kind`; None takes the mark away."""
        kept = tuple(pair for pair in self.modules if pair[0] != path)
        return Layout(self.adapt, kept if kind is None else (*kept, (path, kind)))


def type_of_class(class_path: str) -> str:
    """The Burn module that a class of torch.nn becomes; "" for every other class.

    >>> type_of_class("torch.nn.modules.batchnorm.BatchNorm2d")
    'BatchNorm'
    """
    package, _, name = class_path.rpartition(".")
    return _CLASSES.get(name, "") if package.startswith("torch.nn.") else ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is adapted: by the reader on the original route, by the export on the other."""

    transposes: bool
    renames: frozenset[str]

    @classmethod
    def of(cls, layout: Layout, reader: Reader, route: str) -> Adapter:
        if route == "exported":
            return cls(True, _NORMS) if layout.adapt else _NOTHING
        wanted = reader.adapter_by_default if layout.adapt is None else layout.adapt
        return cls(reader.transposes_linear, reader.renames_norms) if wanted and reader.can_adapt else _NOTHING

    def __bool__(self) -> bool:
        return self.transposes or bool(self.renames)

    def change(self, key: str, rank: int, type_of: Callable[[str], str]) -> tuple[Operation, str]:
        """What happens to the tensor `key` with `rank` dimensions, and the key that the target has for it."""
        module, _, leaf = key.rpartition(".")
        if leaf not in _LEAVES:
            return "", key
        kind = type_of(module)
        if kind in self.renames and (kind, leaf) != ("RmsNorm", "bias"):
            return "rename gamma/beta", f"{module}.{_LEAVES[leaf]}" if module else _LEAVES[leaf]
        if kind == "Linear" and leaf == "weight" and rank == 2 and self.transposes:
            return "transpose", key
        return "", key


_NOTHING: Final = Adapter(False, frozenset())
