"""The calls in a checkpoint's pickle that make plain values: mappings, sets, bytes, sizes, devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from workbench.core.tree import Dict, Name, Set, brief
from workbench.formats.pickle.feed import ByteRange

if TYPE_CHECKING:
    from workbench.formats.pickle.rebuild import TreeBuilder

__all__ = ["PLAIN_CALLS", "REFUSED", "Args", "ordered_dict"]

REFUSED: Final = object()
"""What a call gives when it does not take the arguments it has."""

Args = tuple[object, ...]


def ordered_dict(builder: TreeBuilder, args: Args) -> object:
    """A mapping, empty or of a list of pairs."""
    if not args:
        return Dict(class_name="OrderedDict")
    # Python 2 wrote the pairs as a list of lists.
    if len(args) != 1 or type(args[0]) is not list:
        return REFUSED
    builder.charge(16 * len(args[0]))
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in args[0]):
        return REFUSED
    builder.note_ordered_pairs()
    return Dict(args[0], class_name="OrderedDict")


def _default_dict(builder: TreeBuilder, args: Args) -> object:
    return Dict(class_name="defaultdict") if len(args) <= 1 else REFUSED


def _set(builder: TreeBuilder, args: Args) -> object:
    if not args:
        return Set([])
    if len(args) != 1 or not isinstance(args[0], (list, tuple)):
        return REFUSED
    builder.charge(len(args[0]))
    return Set(list(args[0]))


def _frozenset(builder: TreeBuilder, args: Args) -> object:
    made = _set(builder, args)
    return Set(made.items, "frozenset") if type(made) is Set else made


def _encode(builder: TreeBuilder, args: Args) -> object:
    if len(args) != 2 or type(args[0]) is not str or args[1] not in ("latin1", "latin-1"):
        return REFUSED
    builder.charge(len(args[0]) // 8)
    try:
        return args[0].encode("latin-1")
    except UnicodeEncodeError:
        return REFUSED


def _bytearray(builder: TreeBuilder, args: Args) -> object:
    if not args:
        return b""
    if len(args) == 2 and type(args[0]) is str:
        return _encode(builder, args)
    return args[0] if len(args) == 1 and type(args[0]) in (bytes, ByteRange) else REFUSED


def _bytes(builder: TreeBuilder, args: Args) -> object:
    return REFUSED if args else b""


def _complex(builder: TreeBuilder, args: Args) -> object:
    real, imag = args if len(args) == 2 else (None, None)
    return complex(real, imag) if type(real) is float and type(imag) is float else REFUSED


def _size(builder: TreeBuilder, args: Args) -> object:
    if len(args) != 1 or not isinstance(args[0], (list, tuple)):
        return REFUSED
    builder.charge(len(args[0]))
    return tuple(args[0])


def _device(builder: TreeBuilder, args: Args) -> object:
    if not 1 <= len(args) <= 2 or type(args[0]) is not str or not all(type(part) is int for part in args[1:]):
        return REFUSED
    return Name(":".join(brief(Name(part) if type(part) is str else part) for part in args))


def _layout(builder: TreeBuilder, args: Args) -> object:
    return Name(args[0]) if len(args) == 1 and type(args[0]) is str else REFUSED


PLAIN_CALLS: Final[dict[str, Callable[[TreeBuilder, Args], object]]] = {
    "torch.serialization._get_layout": _layout,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": ordered_dict,
    "collections.defaultdict": _default_dict,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "builtins.frozenset": _frozenset,
    "__builtin__.frozenset": _frozenset,
    "builtins.bytearray": _bytearray,
    "__builtin__.bytearray": _bytearray,
    "builtins.bytes": _bytes,
    "__builtin__.bytes": _bytes,
    "builtins.complex": _complex,
    "__builtin__.complex": _complex,
    "_codecs.encode": _encode,
}
