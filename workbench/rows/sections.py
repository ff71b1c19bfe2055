"""What stands below the tensors of a plan and is not exported: the rest of the file, tensors beside, values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.core.entries import MAX_VALUES
from workbench.core.tensor import TensorRef
from workbench.core.text import bytes_text, count_text, shape_text
from workbench.mapping import Plan


@dataclass(frozen=True, slots=True)
class Section:
    """The head of a group of extra lines."""

    title: str
    shape: str
    size: str
    n: int


@dataclass(frozen=True, slots=True)
class Extra:
    """One line below a head. `text` stands where a tensor has its remapped key."""

    key: str
    text: str
    shape: str
    dtype: str
    size: str
    status: str
    reason: str = ""

    @property
    def searched(self) -> str:
        """What a text to find is sought in."""
        return f"{self.key}\n{self.text}".lower()


def extras(plan: Plan) -> tuple[Section | Extra, ...]:
    """All extra lines in order, each head before its own."""
    return (*_outside(plan), *_beside(plan), *_values(plan), *_names(plan))


def _outside(plan: Plan) -> Iterator[Section | Extra]:
    if plan.outside:
        yield _head("Rest of the file, not exported", plan.outside)
        for tensor in plan.outside:
            yield _tensor(tensor, "outside")


def _beside(plan: Plan) -> Iterator[Section | Extra]:
    """Tensors that no state_dict() names: listed, so that nobody looks for them in vain."""
    beside = plan.checkpoint.beside
    if beside:
        yield _head("Beside the state_dict, not exported", tuple(each.tensor for each in beside))
        for each in beside:
            yield _tensor(each.tensor, "outside", each.reason)


def _values(plan: Plan) -> Iterator[Section | Extra]:
    values = plan.checkpoint.other_values
    if not values:
        return
    n = count_text(len(values), "value") if len(values) < MAX_VALUES else f"the first {MAX_VALUES:,} values"
    yield Section("Values of the file, not exported", n, "", len(values))
    for value in values:
        yield Extra(value.key, value.text, "", value.type_name, "", "value")


def _names(plan: Plan) -> Iterator[Section | Extra]:
    """The classes and functions that loading the file elsewhere would look up, the worst first.

    A file that names only what tensors need has nothing to tell here.
    """
    names = plan.checkpoint.names
    if any(kind != "needed for tensors" for kind in names.values()):
        yield Section("What the pickle names, none of it run", count_text(len(names), "name"), "", len(names))
        for kind in ("dangerous", "unknown", "inert", "needed for tensors"):
            for name in names:
                if names[name] == kind:
                    yield Extra(name, kind, "", "", "", "value")


def _head(title: str, tensors: tuple[TensorRef, ...]) -> Section:
    size = bytes_text(sum(tensor.nbytes for tensor in tensors))
    return Section(title, count_text(len(tensors), "tensor"), size, len(tensors))


def _tensor(tensor: TensorRef, status: str, reason: str = "") -> Extra:
    size = bytes_text(tensor.nbytes)
    return Extra(tensor.key, reason, shape_text(tensor.shape), tensor.dtype.name, size, status, reason)


def extra_name(n: int) -> str:
    """What a view calls the n-th of the extras among what is open."""
    return f"#{n}"
