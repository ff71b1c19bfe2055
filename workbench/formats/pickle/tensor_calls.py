"""The calls in a checkpoint's pickle that make tensors and arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeGuard

from workbench.core.tensor import DTYPES, MAX_RANK, UNKNOWN, DType, Storage, TensorRef, contiguous_strides
from workbench.core.tree import Name, Opaque, StorageNode, brief
from workbench.formats.pickle.feed import ByteRange
from workbench.formats.pickle.global_node import Global
from workbench.formats.pickle.numpy_nodes import numpy_array, numpy_scalar
from workbench.formats.pickle.plain_calls import REFUSED, Args

if TYPE_CHECKING:
    from workbench.formats.pickle.rebuild import TreeBuilder

__all__ = [
    "TENSOR_CALLS",
    "is_shape",
    "load_from_bytes",
    "rebuild_tensor_v2",
    "some_strides",
    "tensor_class",
    "unfit",
]

_MAX_SIZE: Final = 2**63 - 1


def some_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides for a tensor that has none: a shape with a 0 in it has no bound on their size."""
    return (0,) * len(shape) if 0 in shape else contiguous_strides(shape)


def is_shape(node: object) -> TypeGuard[tuple[int, ...]]:
    return type(node) is tuple and all(type(size) is int and 0 <= size <= _MAX_SIZE for size in node)


# Where the call of a tensor has its shape.
_SHAPE_AT: Final = {
    "torch._utils._rebuild_tensor": 2,
    "torch._utils._rebuild_tensor_v2": 2,
    "torch._utils._rebuild_tensor_v3": 2,
    "torch._utils._rebuild_qtensor": 2,
    "torch._utils._rebuild_meta_tensor_no_storage": 1,
    "torch._utils._rebuild_wrapper_subclass": 2,
}


def unfit(builder: TreeBuilder, function: Global, args: Args) -> TensorRef | None:
    """The tensor of a call that torch would not carry out, listed with the reason; None where none would come of it.

    Its shape is that of the call, and (0,) where the call has none.
    """
    path = function.class_path
    if path == "torch._utils._rebuild_sparse_tensor":
        parts = args[1] if len(args) == 2 and type(args[1]) is tuple else ()
        shape = parts[-2] if len(parts) >= 3 and type(parts[-1]) is bool else parts[-1] if parts else None
    elif path in _SHAPE_AT and not (args and type(args[0]) is TensorRef):
        at = _SHAPE_AT[path]
        shape = args[at] if len(args) > at else None
    else:
        return None
    dtype = next((found for found in map(_dtype, args[:7]) if found is not None), None)
    node = args[0] if args else None
    if dtype is None and type(node) is StorageNode:
        dtype = node.dtype or DTYPES["uint8"]
    builder.charge(len(shape) if type(shape) is tuple else 0)
    if not is_shape(shape):
        shape, reason = (0,), "its shape is no list of sizes"
    elif type(node) is not StorageNode and _SHAPE_AT.get(path) == 2 and not path.endswith("subclass"):
        reason = "its storage is none of the file's"
    elif math.prod(shape[:MAX_RANK]) >= 1 << 63:
        reason = "its shape has more elements than memory can address"
    else:
        reason = "the call that makes it has arguments torch does not take"
    return TensorRef("", (), dtype or UNKNOWN, shape, (0,) * len(shape), 0, Storage("none", 0, None), unreadable=reason)


def _rebuild_tensor(builder: TreeBuilder, args: Args) -> object:
    if len(args) != 4:
        return REFUSED
    return builder.tensor(args[0], None, args[1], args[2], args[3])


def rebuild_tensor_v2(builder: TreeBuilder, args: Args) -> object:
    if not 6 <= len(args) <= 7:
        return REFUSED
    return builder.tensor(args[0], None, args[1], args[2], args[3], args[6] if len(args) == 7 else None)


def _rebuild_tensor_v3(builder: TreeBuilder, args: Args) -> object:
    if not 7 <= len(args) <= 8:
        return REFUSED
    dtype = _dtype(args[6])
    if dtype is None:
        return REFUSED
    return builder.tensor(args[0], dtype, args[1], args[2], args[3], args[7] if len(args) == 8 else None)


def _dtype(node: object) -> DType | None:
    return DTYPES.get(node.removeprefix("torch.")) if type(node) is Name else None


def _rebuild_parameter(builder: TreeBuilder, args: Args) -> object:
    if len(args) not in (3, 4) or type(args[0]) is not TensorRef:
        return REFUSED
    if len(args) == 4:
        builder.drop(args[3])
    return args[0]


def _rebuild_from_type(builder: TreeBuilder, args: Args) -> object:
    if len(args) != 4 or type(args[0]) is not Global or type(args[2]) is not tuple:
        return REFUSED
    inner = args[0]
    # One level: the function inside must be one that makes a tensor by itself.
    if inner.handler is None or inner.handler is _rebuild_from_type:
        return REFUSED
    inner.n_called += 1
    made = inner.handler(builder, args[2])
    if made is REFUSED:
        made = unfit(builder, inner, args[2])
    builder.drop(args[3])
    return made if type(made) is TensorRef else REFUSED


def _rebuild_qtensor(builder: TreeBuilder, args: Args) -> object:
    if len(args) != 7 or type(args[0]) is not StorageNode or args[0].dtype is None:
        return REFUSED
    return builder.tensor(
        args[0], None, args[1], args[2], args[3], unreadable="it is quantised, and that is not read yet"
    )


def _rebuild_sparse(builder: TreeBuilder, args: Args) -> object:
    if len(args) != 2 or type(args[1]) is not tuple:
        return REFUSED
    parts = args[1]
    layout = brief(args[0]).removeprefix("torch.")
    at = {3: 1, 4: 2 if type(parts[2]) is TensorRef else 1}.get(len(parts)) if len(parts) in (3, 4) else None
    if at is None or type(parts[at]) is not TensorRef:
        return REFUSED
    values = parts[at]
    assert isinstance(values, TensorRef)
    return builder.listed(values.dtype, parts[at + 1], f"it is sparse ({layout}), and that is not read yet")


def _rebuild_meta(builder: TreeBuilder, args: Args) -> object:
    dtype = _dtype(args[0]) if len(args) == 4 else None
    if dtype is None:
        return REFUSED
    return builder.listed(dtype, args[1], "it is a meta tensor: the file holds its shape but no values")


def _rebuild_wrapper(builder: TreeBuilder, args: Args) -> object:
    dtype = _dtype(args[1]) if len(args) == 8 else None
    if dtype is None:
        return REFUSED
    return builder.listed(dtype, args[2], f"it is a wrapper ({brief(args[0], 60)}) whose values its class would make")


def tensor_class(builder: TreeBuilder, args: Args) -> object:
    """Parameter and Variable of PyTorch before 0.4 are made around their tensor."""
    if args and type(args[0]) is TensorRef and len(args) <= 2:
        return args[0]
    return Opaque("torch.nn.parameter.Parameter", args)


def load_from_bytes(builder: TreeBuilder, args: Args) -> object:
    if len(args) != 1 or not isinstance(args[0], (bytes, ByteRange)):
        return REFUSED
    return builder.load_nested(args[0])


def _reconstruct(builder: TreeBuilder, args: Args) -> object:
    if not builder.arrays or len(args) != 3 or type(args[0]) is not Global or args[0].class_path != "numpy.ndarray":
        return Opaque("numpy.ndarray", args)
    return builder.new_array()


def _frombuffer(builder: TreeBuilder, args: Args) -> object:
    if not builder.arrays:
        return Opaque("numpy.ndarray", args)
    if len(args) != 4:
        return REFUSED
    made = numpy_array(builder.home, args[1], args[2], args[3] == "F", args[0], f"array/at {builder.at}")
    return REFUSED if made is None else made


def _scalar(builder: TreeBuilder, args: Args) -> object:
    value = numpy_scalar(*args) if len(args) == 2 else None
    return Opaque("numpy.core.multiarray.scalar", args) if value is None else value


TENSOR_CALLS: Final[dict[str, Callable[[TreeBuilder, Args], object]]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch._tensor._rebuild_from_type": _rebuild_from_type,
    "torch.tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.tensor._rebuild_from_type": _rebuild_from_type,
    "torch._utils._rebuild_qtensor": _rebuild_qtensor,
    "torch._utils._rebuild_sparse_tensor": _rebuild_sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _rebuild_meta,
    "torch._utils._rebuild_wrapper_subclass": _rebuild_wrapper,
    "torch.nn.parameter.Parameter": tensor_class,
    "torch.autograd.variable.Variable": tensor_class,
    "torch.storage._load_from_bytes": load_from_bytes,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
}
