"""CBOR of a file that is not trusted: its structure is walked and charged for first, then decoded by cbor2.

The walk refuses what no honest metadata needs (tags, keys that are no text, deep nesting) and bounds the memory that
decoding takes. RFC 8949, section 3.
"""

from __future__ import annotations

from typing import Final

from workbench.formats.limits import MAX_CBOR_DEPTH, max_memory

__all__ = ["CborProblem", "decode"]

_BREAK: Final = 0xFF
_ITEM, _ENTRY, _CONTAINER = 40, 110, 240
"""Bytes of memory that a number, an entry and a dict or list take, rounded up."""


class CborProblem(ValueError):
    """What is wrong with it, as the end of a sentence."""


def decode(raw: bytes) -> tuple[object, int, int]:
    """The first value in ``raw``, where it ends, and how many map entries were lost to an equal key before them."""
    end, n_entries = _walk(raw)
    import cbor2

    try:
        value: object = cbor2.loads(raw[:end])
    except MemoryError:
        raise
    except Exception as error:
        # The library raises more types than it documents, and its texts quote the file.
        raise CborProblem(f"it cannot be decoded ({type(error).__name__})") from None
    return value, end, n_entries - _count_entries(value)


def _count_entries(value: object) -> int:
    n, waiting = 0, [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            n += len(node)
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return n


def _walk(raw: bytes) -> tuple[int, int]:
    """Where the first value ends, and the number of entries of all maps in it."""
    size, budget = len(raw), max_memory(len(raw))
    at = used = n_entries = 0
    # A frame: items still to come (-1: until a break), whether it is a map, items seen, chunks of a string only of -
    stack: list[list[int]] = []
    while True:
        if at >= size:
            raise CborProblem("it ends within a value")
        first = raw[at]
        start = at
        at += 1
        major, info = first >> 5, first & 31
        frame = stack[-1] if stack else None
        if first == _BREAK:
            if frame is None or frame[0] != -1 or (frame[1] == 1 and frame[2] & 1):
                raise CborProblem(f"byte {start:,} of it ends a list that has not begun")
            stack.pop()
        else:
            length = info
            if 24 <= info <= 27:
                width = 1 << (info - 24)
                if at + width > size:
                    raise CborProblem("it ends within a value")
                length = int.from_bytes(raw[at : at + width], "big")
                at += width
            elif info in (28, 29, 30) or (info == 31 and major in (0, 1, 6, 7)):
                raise CborProblem(f"byte {start:,} of it begins no value")
            if frame is not None:
                if frame[3] and (major != frame[3] or info == 31):
                    raise CborProblem(f"byte {start:,} of it does not belong in a text")
                if frame[1] == 1 and not frame[2] & 1:
                    if major != 3:
                        raise CborProblem(f"byte {start:,} of it is a key that is no text")
                    n_entries += 1
                    used += _ENTRY
                frame[2] += 1
            used += _ITEM
            if major in (2, 3):
                if info == 31:
                    stack.append([-1, 0, 0, major])
                    continue
                if length > size - at:
                    raise CborProblem(f"the text at byte {start:,} of it should take {length:,} bytes")
                at += length
                used += 2 * length
            elif major in (4, 5):
                is_map = major == 5
                n = -1 if info == 31 else length << is_map
                if n > size - at:
                    raise CborProblem(f"the list at byte {start:,} of it should hold {length:,} values")
                used += _CONTAINER
                if n:
                    if len(stack) == MAX_CBOR_DEPTH:
                        raise CborProblem(f"it nests deeper than {MAX_CBOR_DEPTH} levels")
                    stack.append([n, int(is_map), 0, 0])
                    continue
            elif major == 6:
                raise CborProblem(f"byte {start:,} of it is a tag")
            elif major == 7 and info not in (20, 21, 22, 25, 26, 27):
                raise CborProblem(f"byte {start:,} of it is a value of an unknown kind")
        if used > budget:
            raise CborProblem(f"it would take more than {budget:,} bytes of memory")
        while stack and stack[-1][0] == stack[-1][2]:
            stack.pop()
        if not stack:
            return at, n_entries
