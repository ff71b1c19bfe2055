"""The element types of Burn as its files spell them: a text, or since 0.21 a map for those with variants."""

from __future__ import annotations

from typing import Final

from workbench.core.tensor import DTYPES, DType

__all__ = ["BURN_NAMES", "burn_dtype"]

_NAMES: Final = {
    "F64": "float64",
    "F32": "float32",
    "Flex32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "Bool": "bool",
}
BURN_NAMES: Final = {ours: theirs for theirs, ours in _NAMES.items() if theirs != "Flex32"}
"""What Burn calls a dtype, by its torch name."""

_WIDE_BOOL: Final = DType("bool32", 32, None)
_QUANTISED: Final = DType("qfloat", 0, None)


def burn_dtype(written: object) -> tuple[DType, str] | None:
    """Our dtype and why it cannot be read ("" if it can); None when Burn has no such type."""
    if isinstance(written, str):
        known = _NAMES.get(written)
        return (DTYPES[known], "") if known else None
    if not isinstance(written, dict) or len(written) != 1:
        return None
    ((kind, variant),) = written.items()
    if variant is None and kind in _NAMES:
        return DTYPES[_NAMES[kind]], ""
    if kind == "Bool" and variant in ("Native", "U8"):
        return DTYPES["bool"], ""
    if kind == "Bool" and variant == "U32":
        return _WIDE_BOOL, "it holds truth values of four bytes each"
    if kind == "QFloat":
        return _QUANTISED, "it is quantised by Burn"
    return None
