"""How a run over a pickle ends badly: what is wrong, in words, and the budget it must keep to."""

from __future__ import annotations

from struct import error as StructError
from typing import Final

from workbench.errors import OpenError
from workbench.formats.limits import max_memory, max_opcodes
from workbench.formats.pickle.builder import Fault
from workbench.formats.pickle.opcodes import NAMES

__all__ = ["broken", "check_budget", "why_of"]

_NODE_COST, _MEMO_COST, _SLOT_COST = 170, 130, 16
_WORDS: Final[dict[type[Exception], str]] = {
    IndexError: "the stack holds too few values",
    KeyError: "the memo holds nothing under that number",
    UnicodeDecodeError: "its text is not UTF-8",
}


def why_of(error: Exception, *, is_at_end: bool) -> tuple[str, str]:
    """What an exception of the machine means, and the code for it."""
    if isinstance(error, StructError):
        return "its operand is cut off", "cut-off"
    if isinstance(error, IndexError) and is_at_end:
        return "the pickle ends without a STOP", "cut-off"
    return _WORDS.get(type(error), str(error)), "broken-pickle"


def broken(why: str, code: str, name: str, entry: str, at: int, opcode: bytes) -> OpenError:
    """The error for a pickle that makes no sense from the opcode at byte `at` on; b"" for one behind the end."""
    shown = NAMES.get(opcode[0], f"0x{opcode[0]:02x}") if opcode else "the end"
    return OpenError(
        "The pickle in this file is cut off." if code == "cut-off" else "The pickle in this file is broken.",
        path=name,
        place=f"byte {at:,} of {entry}" if entry else f"byte {at:,}",
        cause=f"At {shown}, {why}.",
        next_step="Fetch the file again, or save it again with torch.save.",
        code=code,
    )


def check_budget(on_disk: int, n_opcodes: int, n_made: int, n_memo: int, n_slots: int) -> None:
    """Fault when work or memory is more than a pickle of so many bytes can need."""
    if n_opcodes > max_opcodes(on_disk):
        raise Fault(f"the pickle asks for more work than {on_disk:,} bytes can need")
    cost = _NODE_COST * n_made + _MEMO_COST * n_memo + _SLOT_COST * n_slots
    if cost > max_memory(on_disk):
        raise Fault(f"its objects would take more memory than {on_disk:,} bytes can need")
