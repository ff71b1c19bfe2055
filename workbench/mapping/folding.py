"""Folding: a parameter that is stored as the parts it is computed from, and what it is as one plain tensor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal

from workbench.core import sharing
from workbench.core.computed import computed
from workbench.core.tensor import TensorRef
from workbench.core.text import listed_text
from workbench.errors import printable
from workbench.mapping.folded_values import masked, spectral_normed, weight_normed

__all__ = ["Fold", "Folded", "Kind", "fold", "parametrised"]

Kind = Literal["weight_norm", "spectral_norm", "pruning", "parametrization"]

_FLOATS: Final = frozenset({"float16", "bfloat16", "float32", "float64"})
_MASKS: Final = _FLOATS | {"bool", "uint8", "int8", "int16", "int32", "int64"}
_NEW: Final = "parametrizations."
_IN_LIST: Final = re.compile(r"(?:(.*?)\.)?parametrizations\.([^.]+)\.(.+)", re.DOTALL)
_MAX_PASSES: Final = 4
_BUFFERS: Final = frozenset({"running_mean", "running_var", "num_batches_tracked"})


@dataclass(frozen=True, slots=True)
class Fold:
    """A parameter in parts. `rows` are those of its parts: first the one whose place the parameter takes.

    `name` is its key, `module` that of its module; `refusal` is a clause that says why it stays in parts, "" where it
    can be folded. `removal` is how PyTorch takes the parametrisation off. `dims` are the dimensions that a
    spectral_norm may be along.
    """

    kind: Kind
    name: str
    rows: tuple[int, ...]
    refusal: str = ""
    dims: tuple[int, ...] = ()
    is_new: bool = False

    @property
    def module(self) -> str:
        """The key of the module, "" for the root."""
        return self.name.rpartition(".")[0]

    @property
    def removal(self) -> str:
        """The line of Python that folds it where the model's classes are at hand."""
        leaf = f'"{printable(self.name.rpartition(".")[2], 60)}"'
        if self.is_new:
            return f"torch.nn.utils.parametrize.remove_parametrizations(module, {leaf})"
        if self.kind == "pruning":
            return f"torch.nn.utils.prune.remove(module, {leaf})"
        said = "" if leaf == '"weight"' else f", {leaf}"
        return f"torch.nn.utils.remove_{self.kind}(module{said})"

    def made(self, parts: Sequence[TensorRef]) -> TensorRef:
        """The parameter from its parts, in the order of `rows`, in the place of the first. Nothing is read yet."""
        first, second = parts[0], parts[1]
        words = f"folded from {listed_text([part.key for part in parts])}"
        if self.kind == "weight_norm":
            return computed(first, tuple(parts), words, partial(weight_normed, second, first))
        if self.kind == "spectral_norm":
            return computed(first, tuple(parts), words, partial(spectral_normed, first, second, parts[2], self.dims))
        return computed(first, tuple(parts), words, partial(masked, first, second))


@dataclass(frozen=True, slots=True)
class Folded:
    """Keys and tensors after folding, row by row as before it.

    `parts` are the rows of the parameters made, each with the keys of all its parts; `gone` the rows of the other
    parts, each with the row of the parameter it is in; `refused` what stays in parts.
    """

    keys: tuple[str, ...]
    tensors: tuple[TensorRef, ...]
    parts: dict[int, tuple[str, ...]] = field(default_factory=dict)
    gone: dict[int, int] = field(default_factory=dict)
    refused: tuple[Fold, ...] = ()

    def in_order(self) -> list[int]:
        """The rows that are left, in the order in which a state_dict() without the parametrisations has them.

        PyTorch puts a parameter behind the others of its module, and the parts of a `parametrizations` behind its
        children. Buffers of the module cannot be told from parameters; those of norms are known by name.
        """
        moved: dict[str, list[int]] = {}
        for row in sorted(self.parts):
            if _IN_LIST.fullmatch(self.parts[row][0]) is not None:
                moved.setdefault(self.keys[row].rpartition(".")[0], []).append(row)
        late = {row for rows in moved.values() for row in rows}
        kept = [row for row in range(len(self.keys)) if row not in self.gone and row not in late]
        if not moved:
            return kept
        last: dict[str, int] = {}
        for row in kept:
            module, _, leaf = self.keys[row].rpartition(".")
            if module in moved and leaf not in _BUFFERS:
                last[module] = row
        behind = {row: moved[module] for module, row in last.items()}
        ahead: dict[int, list[int]] = {}
        for module in moved.keys() - last.keys():
            prefix = f"{module}." if module else ""
            inside = (row for row in kept if self.keys[row].startswith(prefix))
            ahead.setdefault(min([*inside, *moved[module]]), []).extend(moved[module])
        order: list[int] = []
        for row in range(len(self.keys)):
            order += ahead.get(row, ())
            if row not in self.gone and row not in late:
                order.append(row)
            order += behind.get(row, ())
        return order


def fold(keys: Sequence[str], tensors: Sequence[TensorRef], modules: Mapping[str, str]) -> Folded:
    """All that can be folded, folded; parts that are parameters in parts themselves (a pruned `weight_v`) as well.

    `modules` are the classes of the modules of a model that was saved whole, by key in the file.
    """
    names, made = list(keys), list(tensors)
    parts: dict[int, tuple[str, ...]] = {}
    into: dict[int, int] = {}
    group_of: dict[int, int] | None = None
    known: dict[tuple[object, ...], TensorRef] = {}
    refused: list[Fold] = []
    for _ in range(_MAX_PASSES):
        shown = ["" if row in into else name for row, name in enumerate(names)] if into else names
        found = list(parametrised(shown, made, modules))
        refused = [each for each in found if each.refusal]
        good = [each for each in found if not each.refusal]
        if not good:
            break
        if group_of is None:
            # Parts that are one in memory give weights that are one.
            group_of = {id(tensor): n for n, group in enumerate(sharing.ties(tensors)) for tensor in group}
        for each in good:
            mine = [made[row] for row in each.rows]
            view = (each.kind, each.dims, *(group_of.get(id(part), ("alone", id(part))) for part in mine))
            again = known.get(view)
            tensor = again or known.setdefault(view, each.made(mine))
            row = each.rows[0]
            parts[row] = tuple(dict.fromkeys(key for part in each.rows for key in parts.get(part, (keys[part],))))
            names[row] = each.name
            made[row] = tensor if again is None else replace(tensor, key=mine[0].key, path=mine[0].path)
            for part in each.rows[1:]:
                into[part] = row
                parts.pop(part, None)
    gone: dict[int, int] = {}
    for part, row in into.items():
        while row in into:
            row = into[row]
        gone[part] = row
    return Folded(tuple(names), tuple(made), parts, gone, tuple(refused))


def parametrised(keys: Sequence[str], tensors: Sequence[TensorRef], modules: Mapping[str, str]) -> Iterator[Fold]:
    """The parameters of these keys that are stored in parts, by names and shapes; no value is read.

    Names that only look alike, or shapes that no parametrisation of PyTorch has, are none.
    """
    rows: dict[str, int] | None = None
    lists: dict[tuple[str, str], dict[str, int]] = {}
    for row, key in enumerate(keys):
        if _NEW in key and (match := _IN_LIST.fullmatch(key)) is not None:
            lists.setdefault((match[1] or "", match[2]), {})[match[3]] = row
        elif key.endswith(("_v", "_orig")):
            if rows is None:
                rows = {name: n for n, name in enumerate(keys) if name}
            each = _old(key, row, rows, tensors, modules)
            if each is not None:
                yield each
    if lists:
        rows = rows if rows is not None else {name: n for n, name in enumerate(keys) if name}
        for (module, leaf), members in lists.items():
            yield _new(f"{module}.{leaf}" if module else leaf, members, rows, tensors)


def _old(
    key: str, row: int, rows: Mapping[str, int], tensors: Sequence[TensorRef], modules: Mapping[str, str]
) -> Fold | None:
    """What hooks leave: `weight_g` and `weight_v`, `weight_orig` with `weight_u` and `weight_v` or `weight_mask`."""
    name = key.removesuffix("_v") if key.endswith("_v") else key.removesuffix("_orig")
    if not name or name.endswith("."):
        return None
    if key.endswith("_v"):
        g = rows.get(f"{name}_g")
        if g is None or f"{name}_orig" in rows or not _fits_norm(name, tensors[g].shape, tensors[row].shape):
            return None
        return _checked(Fold("weight_norm", name, (row, g)), rows, tensors)
    mask, u, v = (rows.get(f"{name}_{part}") for part in ("mask", "u", "v"))
    if mask is not None and u is None:
        if tensors[mask].shape != tensors[row].shape:
            return None
        return _checked(Fold("pruning", name, (row, mask)), rows, tensors)
    if u is None:
        return None
    if mask is not None:
        return Fold("spectral_norm", name, (row, u, mask), "it is pruned and has a spectral_norm at once")
    if v is None:
        if len(tensors[u].shape) != 1 or tensors[u].shape[0] not in tensors[row].shape[:2]:
            return None
        return Fold("spectral_norm", name, (row, u), "its `_v` is not in the file, as before PyTorch 1.1")
    dims = _dims(tensors[row].shape, tensors[u].shape, tensors[v].shape)
    if not dims:
        return None
    if len(dims) > 1:
        kind = modules.get(tensors[row].key.rpartition(".")[0], "")
        told = int("ConvTranspose" in kind)
        if kind.startswith("torch.nn.") and told in dims:
            dims = (told,)
    return _checked(Fold("spectral_norm", name, (row, u, v), dims=dims), rows, tensors)


def _new(name: str, members: Mapping[str, int], rows: Mapping[str, int], tensors: Sequence[TensorRef]) -> Fold:
    """What `torch.nn.utils.parametrize` leaves: a list of parametrisations below the name of the parameter."""
    names = frozenset(members)
    if names == {"original0", "original1"}:
        g, v = members["original0"], members["original1"]
        if _fits_norm("weight", tensors[g].shape, tensors[v].shape):
            return _checked(Fold("weight_norm", name, (v, g), is_new=True), rows, tensors)
        why = "its two parts have not the shapes of a weight_norm"
    elif names == {"original", "0._u", "0._v"}:
        parts = tuple(members[part] for part in ("original", "0._u", "0._v"))
        dims = _dims(*(tensors[part].shape for part in parts))
        if dims:
            return _checked(Fold("spectral_norm", name, parts, dims=dims, is_new=True), rows, tensors)
        why = "its parts have not the shapes of a spectral_norm"
    elif names == {"original", "0.base"}:
        why = "it is an orthogonal parametrization, which only PyTorch computes"
    elif "original" not in names and "original0" not in names:
        why = "what it is computed from is not in the file"
    else:
        others = sorted(names - {"original", "original0", "original1"})
        said = f" ({', '.join(printable(other, 40) for other in others[:3])})" if others else ""
        why = f"its parametrization{said} is not one that is known here"
    return Fold("parametrization", name, tuple(members.values()), why, is_new=True)


def _checked(found: Fold, rows: Mapping[str, int], tensors: Sequence[TensorRef]) -> Fold:
    """With the reason, if there is one, why parts of the right names and shapes cannot be folded."""
    why = ""
    parts = [tensors[row] for row in found.rows]
    unread = next((part for part in parts if part.unreadable), None)
    dtypes = list(dict.fromkeys(part.dtype.name for part in parts))
    if found.name in rows:
        why = "there is a tensor of that name as well"
    elif unread is not None:
        why = f"`{printable(unread.key, 80)}` cannot be read: {unread.unreadable}"
    elif parts[0].dtype.name not in _FLOATS:
        why = f"it is {parts[0].dtype.name}"
    elif found.kind == "pruning":
        why = "" if dtypes[-1] in _MASKS else f"its mask is {dtypes[-1]}"
    elif len(dtypes) > 1:
        why = f"its parts are of different dtypes ({', '.join(dtypes)})"
    return Fold(found.kind, found.name, found.rows, why, found.dims, found.is_new)


def _fits_norm(name: str, g: tuple[int, ...], v: tuple[int, ...]) -> bool:
    """Whether `g` may be the norm of `v` along one dimension or, where the name leaves no doubt, over all of it."""
    if not v or 0 in v:
        return False
    if not g or len(v) == 1:
        # Two vectors, or a vector and a number, may well be something else.
        return name.rpartition(".")[2].startswith(("weight", "bias")) and g in ((), v)
    return len(g) == len(v) and any(
        g == tuple(size if axis == dim else 1 for axis, size in enumerate(v)) for dim in range(len(v))
    )


def _dims(weight: tuple[int, ...], u: tuple[int, ...], v: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions of `weight` that may be the rows of the matrix that `u` and `v` belong to."""
    if len(weight) < 2 or len(u) != 1 or len(v) != 1 or 0 in weight:
        return ()
    n = 1
    for size in weight:
        n *= size
    return tuple(dim for dim, size in enumerate(weight) if size == u[0] and n // size == v[0])
