"""What is no tensor, as text a person can read: settings, numbers, objects with their attributes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from workbench.core.tensor import TensorRef
from workbench.core.text import shape_text
from workbench.core.tree import Dict, Name, Opaque, Set, brief, module_parts
from workbench.errors import printable

__all__ = ["numpy_scalar", "shown"]

_MAX_ITEMS: Final = 50
_SCALARS: Final = frozenset(
    {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.core._multiarray_umath.scalar"}
)
_CODES: Final = {
    "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?",
}  # fmt: skip

_Piece = tuple[bool, object]
"""Text to write (True), or a node to spell (False)."""


def shown(node: object, limit: int = 400) -> str:
    """A node of the tree on one printable line of at most ``limit`` characters, contents included.

    >>> shown(Opaque("argparse.Namespace", (), Dict([("lr", 0.1), ("layers", [2, 3])])))
    'Namespace(lr=0.1, layers=[2, 3])'
    """
    out: list[str] = []
    length = 0
    stack: list[_Piece] = [(False, node)]
    while stack and length <= limit:
        is_text, item = stack.pop()
        if is_text:
            assert isinstance(item, str)
            out.append(item)
            length += len(item)
            continue
        pieces = _spell(item, limit)
        if isinstance(pieces, str):
            out.append(pieces)
            length += len(pieces)
        else:
            stack.extend(reversed(pieces))
    text = "".join(out)
    return text if length <= limit and not stack else text[: limit - 1] + "…"


def _spell(node: object, limit: int) -> str | list[_Piece]:
    """A node as text, or as the pieces it is made of."""
    if isinstance(node, TensorRef):
        return f"tensor {node.dtype.name} {shape_text(node.shape)}"
    if isinstance(node, Dict):
        return _between("{", node.pairs, "}", len(node), ": ")
    if isinstance(node, Set):
        items: Iterable[tuple[object, object]] = ((None, item) for item in node.items)
        return _between("{", items, "}", len(node.items)) if node.items else f"{node.class_name}()"
    if isinstance(node, (list, tuple)):
        opening, closing = ("[", "]") if isinstance(node, list) else ("(", ",)" if len(node) == 1 else ")")
        return _between(opening, ((None, item) for item in node), closing, len(node))
    if isinstance(node, Opaque):
        return _object(node)
    if isinstance(node, str) and not isinstance(node, Name):
        return printable(repr(node[:limit])) + ("…" if len(node) > limit else "")
    return brief(node, 200)


def _object(node: Opaque) -> str | list[_Piece]:
    number = numpy_scalar(node)
    if number is not None:
        return repr(number)
    name = printable(node.class_path.rpartition(".")[2], 80)
    if module_parts(node) is not None:
        return f"{name} (a module)"
    if node.args is None and node.state is None and node.pairs is None and node.items is None:
        return printable(node.class_path, 200)
    state = node.state
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], Dict):
        # An object with __slots__: its dict, and its slots.
        state = Dict([*(state[0].pairs if isinstance(state[0], Dict) else ()), *state[1].pairs])
    parts: list[tuple[object, object]] = []
    if isinstance(node.args, (list, tuple)):
        parts += [(None, item) for item in node.args[: _MAX_ITEMS + 1]]
    if isinstance(node.kwargs, Dict):
        parts += [(Name(key), value) for key, value in node.kwargs.pairs if isinstance(key, str)]
    if isinstance(state, Dict):
        parts += [(Name(key) if isinstance(key, str) else key, value) for key, value in state.pairs]
    elif state is not None:
        parts.append((Name("state"), state))
    if node.items is not None:
        parts.append((None, node.items))
    if node.pairs is not None:
        parts.append((None, node.pairs))
    return _between(f"{name}(", iter(parts), ")", len(parts), "=")


def _between(
    opening: str, pairs: Iterable[tuple[object, object]], closing: str, n: int, joint: str = ""
) -> list[_Piece]:
    pieces: list[_Piece] = [(True, opening)]
    for i, (key, value) in enumerate(pairs):
        if i:
            pieces.append((True, ", "))
        if i == _MAX_ITEMS:
            pieces.append((True, f"… {n - i:,} more"))
            break
        if joint and key is not None:
            pieces += [(False, key), (True, joint)]
        elif joint == ": ":
            pieces.append((True, "None: "))
        pieces.append((False, value))
    pieces.append((True, closing))
    return pieces


def numpy_scalar(node: object) -> int | float | bool | None:
    """The number in a pickled numpy scalar, which is a call with a dtype and its bytes; None for anything else."""
    if not isinstance(node, Opaque) or node.class_path not in _SCALARS:
        return None
    args = node.args
    if not isinstance(args, tuple) or len(args) != 2 or not isinstance(args[0], Opaque) or type(args[1]) is not bytes:
        return None
    dtype = args[0]
    code = dtype.args[0] if isinstance(dtype.args, tuple) and dtype.args else None
    if dtype.class_path != "numpy.dtype" or type(code) is not str or code not in _CODES:
        return None
    big = isinstance(dtype.state, tuple) and len(dtype.state) > 1 and dtype.state[1] == ">"
    layout = (">" if big else "<") + _CODES[code]
    if struct.calcsize(layout) != len(args[1]):
        return None
    found: int | float | bool = struct.unpack(layout, args[1])[0]
    return found
