"""What PyTorch computes a parametrised weight as: in float64, a slab at a time, rounded once to the dtype stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from workbench.core.tensor import CHUNK, TensorRef
from workbench.errors import TensorError, printable

__all__ = ["masked", "spectral_normed", "weight_normed"]

Array = npt.NDArray[Any]

_CERTAIN: Final = 0.99
_OTHER: Final = 0.9


def weight_normed(g: TensorRef, v: TensorRef) -> Array:
    """v · (g / |v|), the norm over all dimensions in which `g` has size 1. A norm of zero gives NaN, as in PyTorch.

    `v` is (d0, …), `g` has one dimension of `v` and is 1 in the others, or is a scalar.
    """
    values = v.read()
    scale = g.read().astype(np.float64)
    scale = scale.reshape(scale.shape or (1,) * values.ndim)
    axes = tuple(axis for axis, size in enumerate(scale.shape) if size == 1)
    squares = np.zeros(scale.shape)
    with np.errstate(all="ignore"):
        for rows in _slabs(values):
            part = np.square(values[rows].astype(np.float64)).sum(axis=axes, keepdims=True)
            if 0 in axes:
                squares += part
            else:
                squares[rows] = part
        scale = scale / np.sqrt(squares)
        for rows in _slabs(values):
            factor = scale if 0 in axes else scale[rows]
            values[rows] = (values[rows].astype(np.float64) * factor).astype(values.dtype)
    return values


def spectral_normed(weight: TensorRef, u: TensorRef, v: TensorRef, dims: Sequence[int]) -> Array:
    """weight / σ with σ = u · (W v), where W is `weight` (d0, …) as a matrix whose rows are one of its dimensions.

    `dims` are those that u (d,) and v (the others together,) fit. Of several it is the one in which W v points along
    u, as power iteration leaves it; TensorError where that holds for none or for two that differ.
    """
    values = weight.read()
    left, right = u.read().astype(np.float64), v.read().astype(np.float64)
    with np.errstate(all="ignore"):
        found = [(dim, *_sigma(values, left, right, dim)) for dim in dims]
        sigma = found[0][1] if len(found) == 1 else _decided(weight, found)
        for rows in _slabs(values):
            values[rows] = (values[rows].astype(np.float64) / sigma).astype(values.dtype)
    return values


def masked(orig: TensorRef, mask: TensorRef) -> Array:
    """orig · mask, in the dtype of `orig`, as pruning computes it; both have one shape."""
    values = orig.read()
    with np.errstate(all="ignore"):
        product: Array = mask.read().astype(values.dtype) * values
    return product


def _sigma(values: Array, left: Array, right: Array, dim: int) -> tuple[float, float]:
    """σ, and the cosine of the angle between u and W v."""
    turned = np.moveaxis(values, dim, 0)
    product = np.concatenate(
        [turned[rows].astype(np.float64).reshape(-1, right.size) @ right for rows in _slabs(turned)]
    )
    sigma = float(left @ product)
    norms = float(np.linalg.norm(left) * np.linalg.norm(product))
    return sigma, sigma / norms if norms else float("nan")


def _decided(weight: TensorRef, found: list[tuple[int, float, float]]) -> float:
    ranked = sorted(found, key=lambda each: -each[2] if each[2] == each[2] else 2.0)
    (dim, sigma, best), (other, also, second) = ranked[:2]
    if best >= _CERTAIN and second <= _OTHER:
        return sigma
    if all(abs(each[1] - sigma) <= 1e-12 * abs(sigma) for each in ranked):
        return sigma
    raise TensorError(
        f"{printable(weight.key, 200)!r} cannot be folded: u and v of its spectral_norm fit dimension {dim} as well as "
        f"{other}, and σ would be {sigma:.6g} or {also:.6g}.",
        cause="Nothing in the file says which one it was, and the values do not tell.",
        next_step="Take it off in PyTorch (torch.nn.utils.remove_spectral_norm), or leave this tensor out.",
        code="fold-undecided",
    )


def _slabs(values: Array) -> Iterator[slice]:
    """The first dimension in steps whose float64 takes about CHUNK bytes."""
    n = values.shape[0]
    each = max(1, values.size // max(n, 1) * 8)
    step = max(1, CHUNK // each)
    for at in range(0, n, step):
        yield slice(at, at + step)
