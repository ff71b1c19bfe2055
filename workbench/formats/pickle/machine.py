"""Machine: reads one pickle opcode by opcode and builds inert nodes. It calls nothing and imports nothing.

What a call would build is decided by the `Builder` it is handed; README.md beside this file tells the rules.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import repeat
from typing import Final, NoReturn

from workbench.core.tree import Dict, Opaque, Set
from workbench.formats.limits import MAX_PICKLE
from workbench.formats.pickle.builder import Builder, Fault
from workbench.formats.pickle.faults import broken, check_budget, why_of
from workbench.formats.pickle.feed import LAZY_BYTES, ByteRange, Feed, bytes_needed
from workbench.formats.pickle.operands import decimal, decimal_fraction, memo_number, python2_text, quoted
from workbench.formats.pickle.runs import Memo, Run

__all__ = ["Machine", "TakeRun"]

_u16: Final = struct.Struct("<H").unpack_from
_u32: Final = struct.Struct("<I").unpack_from
_i32: Final = struct.Struct("<i").unpack_from
_u64: Final = struct.Struct("<Q").unpack_from
_f64: Final = struct.Struct(">d").unpack_from

_CHECK_EVERY: Final = 50_000

TakeRun = Callable[[bytes, int, dict[int, object]], tuple[Run | None, int]]


class Machine:
    """One run over one pickle. ``end`` is the byte after STOP once ``run`` has returned.

    With a ``feed``, ``data`` is empty and comes window by window from ``begin`` on; every position is then one of the
    source. ``made`` counts the nodes of other pickles that share this one's budget. ``take_run`` takes many entries of
    a state_dict at once (see runs.py); without it every opcode is gone through, to the same result.
    """

    def __init__(
        self,
        data: bytes,
        builder: Builder,
        *,
        begin: int = 0,
        on_disk: int | None = None,
        name: str = "",
        entry: str = "",
        feed: Feed | None = None,
        made: int = 0,
        take_run: TakeRun | None = None,
    ) -> None:
        self._data = data
        self._builder = builder
        self._feed = feed
        self._lazy = feed is not None and feed.lazy
        # Position of `data` in the source, and how many bytes have come from there.
        self._base = begin if feed is not None else 0
        self._fed = 0
        self._begin = begin - self._base
        self._on_disk = len(data) if on_disk is None and feed is None else on_disk
        self._name = name
        self._entry = entry
        self._stack: list[object] = []
        self._marked: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._frame_begin = self._frame_end = begin
        self._n_opcodes = 0
        self._made = made
        self._take_run = take_run
        self.end = begin
        self.protocol = 0
        self.opcodes: dict[int, int] = {}
        """Where each of the rarer opcodes came first."""

    @property
    def made(self) -> int:
        """Nodes made so far, those it was told of included."""
        return self._made

    def run(self) -> object:
        """The root node. OpenError with the byte offset where opcodes and data stop making sense."""
        while True:
            try:
                return self._run()
            except (Fault, struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
                if not self._refill():
                    self._fail(*why_of(error, is_at_end=self.end - self._base >= len(self._data)))

    def _refill(self) -> bool:
        """Move the window on where only its end stopped an opcode: none changes anything before it has its operand."""
        feed = self._feed
        if feed is None:
            return False
        at, left = self.end - self._base, feed.end - self.end
        needed = bytes_needed(self._data, at, left, lazy=self._lazy)
        if at + needed <= len(self._data) or needed > left:
            return False
        seen = self._base + len(self._data)
        if needed > MAX_PICKLE or self._fed > MAX_PICKLE:
            self._fail(f"the pickle is longer than {MAX_PICKLE:,} bytes, the limit", "too-big")
        self._data = feed.window(self.end, needed)
        self._base, self._begin = self.end, 0
        self._fed += self._base + len(self._data) - max(seen, self._base)
        return True

    def _fail(self, why: str, code: str = "broken-pickle") -> NoReturn:
        rest = self._data[self.end - self._base :][:1]
        raise broken(why, code, self._name, self._entry, self.end, rest) from None

    def _check_budget(self, n_opcodes: int) -> None:
        on_disk = self._fed if self._on_disk is None else self._on_disk
        slots = len(self._stack) + sum(map(len, self._marked[:1000])) + 8 * len(self._marked)
        n_memo = self._memo.n_slots if isinstance(self._memo, Memo) else len(self._memo)
        check_budget(on_disk, n_opcodes, self._made, n_memo, slots)

    def _run(self) -> object:
        data, memo, marked, builder = self._data, self._memo, self._marked, self._builder
        call, persistent = builder.call, builder.persistent
        size = len(data)
        stack = self._stack
        push, pop = stack.append, stack.pop
        base, pos = self._base, self._begin
        n_opcodes, made = self._n_opcodes, 0
        at = pos
        ticks = repeat(None, 0)
        take_run = self._take_run
        look_at = 0
        try:
            while True:
                self._stack, self._made = stack, self._made + made
                made = 0
                self._check_budget(n_opcodes)
                n_opcodes += _CHECK_EVERY
                ticks = repeat(None, _CHECK_EVERY)
                for _ in ticks:
                    at = pos
                    op = data[pos]
                    pos += 1
                    if op == 0x71:  # BINPUT
                        memo[data[pos]] = stack[-1]
                        pos += 1
                    elif op == 0x72:  # LONG_BINPUT
                        memo[_u32(data, pos)[0]] = stack[-1]
                        pos += 4
                    elif op == 0x68:  # BINGET
                        push(memo[data[pos]])
                        pos += 1
                    elif op == 0x58:  # BINUNICODE
                        begin = pos + 4
                        pos = begin + _u32(data, pos)[0]
                        if pos > size:
                            raise Fault("its text is longer than what is left")
                        # After a key, its number, and a function: the start of a persistent id.
                        if (
                            take_run is not None
                            and at >= look_at
                            and (data[pos + 7 : pos + 9] == b"((" or data[pos + 10 : pos + 12] == b"((")
                        ):
                            run, look_at = take_run(data, at, memo)
                            if run is not None:
                                self._memo = memo = memo if isinstance(memo, Memo) else Memo(memo)
                                memo.add(run.slots)
                                stack.extend(run.items)
                                at = pos = run.end
                                made += run.n_nodes
                                n_opcodes += run.n_opcodes - ticks.__length_hint__() - 1
                                ticks = repeat(None, 0)
                                break
                        try:
                            push(data[begin:pos].decode())
                        except UnicodeDecodeError:
                            push(data[begin:pos].decode("utf-8", "surrogatepass"))
                    elif op == 0x4B:  # BININT1
                        push(data[pos])
                        pos += 1
                    elif op == 0x28:  # MARK
                        marked.append(stack)
                        stack = []
                        push, pop = stack.append, stack.pop
                    elif op == 0x74:  # TUPLE
                        made += 1
                        items = tuple(stack)
                        stack = marked.pop()
                        push, pop = stack.append, stack.pop
                        push(items)
                    elif op == 0x52:  # REDUCE
                        made += 2
                        args = pop()
                        stack[-1] = call(stack[-1], args, at + base, "REDUCE")
                    elif op == 0x94:  # MEMOIZE
                        memo[len(memo)] = stack[-1]
                    elif op == 0x6A:  # LONG_BINGET
                        push(memo[_u32(data, pos)[0]])
                        pos += 4
                    elif op == 0x86:  # TUPLE2
                        made += 1
                        last = pop()
                        stack[-1] = (stack[-1], last)
                    elif op == 0x85:  # TUPLE1
                        made += 1
                        stack[-1] = (stack[-1],)
                    elif op == 0x29:  # EMPTY_TUPLE
                        push(())
                    elif op == 0x89:  # NEWFALSE
                        push(False)
                    elif op == 0x51:  # BINPERSID
                        made += 3
                        stack[-1] = persistent(stack[-1], at + base)
                    elif op == 0x8C:  # SHORT_BINUNICODE
                        begin = pos + 1
                        pos = begin + data[pos]
                        if pos > size:
                            raise Fault("its text is longer than what is left")
                        push(data[begin:pos].decode("utf-8", "surrogatepass"))
                    elif op == 0x4D:  # BININT2
                        push(_u16(data, pos)[0])
                        pos += 2
                    elif op == 0x4A:  # BININT
                        push(_i32(data, pos)[0])
                        pos += 4
                    elif op == 0x87:  # TUPLE3
                        made += 1
                        last = pop()
                        middle = pop()
                        stack[-1] = (stack[-1], middle, last)
                    elif op == 0x4E:  # NONE
                        push(None)
                    elif op == 0x88:  # NEWTRUE
                        push(True)
                    elif op == 0x7D:  # EMPTY_DICT
                        made += 1
                        push(Dict())
                    elif op == 0x5D:  # EMPTY_LIST
                        made += 1
                        push([])
                    elif op == 0x47:  # BINFLOAT
                        push(_f64(data, pos)[0])
                        pos += 8
                    elif op == 0x2E:  # STOP
                        if marked or len(stack) != 1:
                            raise Fault("the stack should hold one value at the end")
                        self._close_frame(pos + base)
                        at = pos
                        return stack[0]
                    else:
                        self._stack = stack
                        pos = self._rare(op, pos, at + base)
                        stack = self._stack
                        push, pop = stack.append, stack.pop
        finally:
            self.end = at + base
            self._stack = stack
            self._made += made
            self._n_opcodes = n_opcodes - ticks.__length_hint__()

    # The opcodes below are rare, or hide a loop of their own; each takes and returns a position.

    def _rare(self, op: int, pos: int, at: int) -> int:
        handler = _RARE.get(op)
        if handler is None:
            raise Fault("this is no opcode of any protocol")
        if op not in self.opcodes:
            self.opcodes[op] = at
        return handler(self, pos, at)

    def _pop_mark(self) -> list[object]:
        items = self._stack
        if not self._marked:
            raise Fault("no MARK stands before it")
        self._stack = self._marked.pop()
        return items

    def _sized(self, begin: int, n: int) -> int:
        end = begin + n
        if end > len(self._data) or n < 0:
            raise Fault(f"its {n:,} bytes are more than the {self._size() - begin:,} left")
        return end

    def _size(self) -> int:
        """Bytes from the start of the window to the end of everything."""
        return len(self._data) if self._feed is None else self._feed.end - self._base

    def _line(self, pos: int) -> tuple[bytes, int]:
        end = self._data.find(b"\n", pos)
        if end < 0:
            raise Fault("its line has no end")
        return self._data[pos:end], end + 1

    def _close_frame(self, pos: int) -> None:
        if self._frame_end > pos:
            raise Fault("its frame promises more bytes than there are opcodes")

    def _proto(self, pos: int, at: int) -> int:
        if self._data[pos] > 5:
            raise Fault(f"protocol {self._data[pos]} is not known (0 to 5 are)")
        self.protocol = self._data[pos]
        return pos + 1

    def _frame(self, pos: int, at: int) -> int:
        self._close_frame(at)
        (n,) = _u64(self._data, pos)
        if pos + 8 + n > self._size():
            raise Fault(f"its {n:,} bytes are more than the {self._size() - pos - 8:,} left")
        self._frame_end = pos + 8 + n + self._base
        return pos + 8

    def _pop_one(self, pos: int, at: int) -> int:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()
        return pos

    def _pop_to_mark(self, pos: int, at: int) -> int:
        self._pop_mark()
        return pos

    def _dup(self, pos: int, at: int) -> int:
        self._stack.append(self._stack[-1])
        return pos

    def _setitem(self, pos: int, at: int) -> int:
        value = self._stack.pop()
        key = self._stack.pop()
        self._set_entries(self._stack[-1], [key, value])
        return pos

    def _setitems(self, pos: int, at: int) -> int:
        items = self._pop_mark()
        if len(items) % 2:
            raise Fault("a key has no value")
        self._set_entries(self._stack[-1], items)
        return pos

    def _set_entries(self, node: object, items: list[object]) -> None:
        if isinstance(node, Opaque):
            if node.pairs is None:
                node.pairs = Dict()
            node = node.pairs
        if not isinstance(node, Dict):
            raise Fault("entries are set on something that is no mapping")
        self._made += len(items) // 2
        node._put(items)

    def _append(self, pos: int, at: int) -> int:
        self._add_items([self._stack.pop()])
        return pos

    def _appends(self, pos: int, at: int) -> int:
        self._add_items(self._pop_mark())
        return pos

    def _add_items(self, items: list[object]) -> None:
        node = self._stack[-1]
        if isinstance(node, Opaque):
            if node.items is None:
                node.items = []
            node = node.items
        if not isinstance(node, list):
            raise Fault("items are added to something that is no list")
        node.extend(items)

    def _additems(self, pos: int, at: int) -> int:
        items = self._pop_mark()
        node = self._stack[-1]
        if not isinstance(node, Set):
            raise Fault("items are added to something that is no set")
        node.items.extend(items)
        return pos

    def _collect(self, make: Callable[[list[object]], object]) -> None:
        self._made += 1
        items = self._pop_mark()
        self._stack.append(make(items))

    def _list(self, pos: int, at: int) -> int:
        self._collect(list)
        return pos

    def _dict(self, pos: int, at: int) -> int:
        items = self._pop_mark()
        if len(items) % 2:
            raise Fault("a key has no value")
        node = Dict()
        self._stack.append(node)
        self._set_entries(node, items)
        return pos

    def _empty_set(self, pos: int, at: int) -> int:
        self._made += 1
        self._stack.append(Set([]))
        return pos

    def _frozenset(self, pos: int, at: int) -> int:
        self._collect(lambda items: Set(list(items), "frozenset"))
        return pos

    def _long1(self, pos: int, at: int) -> int:
        end = self._sized(pos + 1, self._data[pos])
        self._stack.append(int.from_bytes(self._data[pos + 1 : end], "little", signed=True))
        return end

    def _long4(self, pos: int, at: int) -> int:
        (n,) = _i32(self._data, pos)
        end = self._sized(pos + 4, n)
        self._stack.append(int.from_bytes(self._data[pos + 4 : end], "little", signed=True))
        return end

    def _int(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._stack.append(line == b"01" if line in (b"00", b"01") else decimal(line))
        return end

    def _long(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._stack.append(decimal(line.removesuffix(b"L")))
        return end

    def _float(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._stack.append(decimal_fraction(line))
        return end

    def _string(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._stack.append(quoted(line))
        return end

    def _binstring(self, pos: int, at: int) -> int:
        (n,) = _i32(self._data, pos)
        end = self._sized(pos + 4, n)
        self._stack.append(python2_text(self._data[pos + 4 : end]))
        return end

    def _short_binstring(self, pos: int, at: int) -> int:
        end = self._sized(pos + 1, self._data[pos])
        self._stack.append(python2_text(self._data[pos + 1 : end]))
        return end

    def _unicode(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._stack.append(line.decode("raw-unicode-escape"))
        return end

    def _binunicode8(self, pos: int, at: int) -> int:
        end = self._sized(pos + 8, _u64(self._data, pos)[0])
        self._stack.append(self._data[pos + 8 : end].decode("utf-8", "surrogatepass"))
        return end

    def _short_binbytes(self, pos: int, at: int) -> int:
        return self._byte_string(pos + 1, self._data[pos])

    def _binbytes(self, pos: int, at: int) -> int:
        return self._byte_string(pos + 4, _u32(self._data, pos)[0])

    def _binbytes8(self, pos: int, at: int) -> int:
        return self._byte_string(pos + 8, _u64(self._data, pos)[0])

    def _byte_string(self, begin: int, n: int) -> int:
        if self._lazy and n >= LAZY_BYTES and self._feed is not None:
            if begin + n > self._size():
                raise Fault(f"its {n:,} bytes are more than the {self._size() - begin:,} left")
            self._made += 2
            self._stack.append(ByteRange(self._feed.source, begin + self._base, n))
            return begin + n
        end = self._sized(begin, n)
        self._stack.append(self._data[begin:end])
        return end

    def _buffer(self, pos: int, at: int) -> int:
        raise Fault("it asks for a buffer from outside the pickle, and there is none")

    def _put(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._memo[memo_number(line)] = self._stack[-1]
        return end

    def _get(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._stack.append(self._memo[memo_number(line)])
        return end

    def _global(self, pos: int, at: int) -> int:
        module, pos = self._line(pos)
        name, pos = self._line(pos)
        self._made += 1
        self._stack.append(self._builder.name(module.decode(), name.decode(), at))
        return pos

    def _stack_global(self, pos: int, at: int) -> int:
        self._made += 1
        name = self._stack.pop()
        module = self._stack.pop()
        self._stack.append(self._builder.name(module, name, at))
        return pos

    def _inst(self, pos: int, at: int) -> int:
        module, pos = self._line(pos)
        name, pos = self._line(pos)
        args = tuple(self._pop_mark())
        self._made += 2
        function = self._builder.name(module.decode(), name.decode(), at)
        self._stack.append(self._builder.call(function, args, at, "INST"))
        return pos

    def _obj(self, pos: int, at: int) -> int:
        items = self._pop_mark()
        if not items:
            raise Fault("no class stands after its MARK")
        self._made += 2
        self._stack.append(self._builder.call(items[0], tuple(items[1:]), at, "OBJ"))
        return pos

    def _newobj(self, pos: int, at: int) -> int:
        args = self._stack.pop()
        self._made += 2
        self._stack[-1] = self._builder.call(self._stack[-1], args, at, "NEWOBJ")
        return pos

    def _newobj_ex(self, pos: int, at: int) -> int:
        kwargs = self._stack.pop()
        args = self._stack.pop()
        self._made += 2
        self._stack[-1] = self._builder.call(self._stack[-1], args, at, "NEWOBJ_EX", kwargs)
        return pos

    def _build(self, pos: int, at: int) -> int:
        state = self._stack.pop()
        self._builder.build(self._stack[-1], state, at)
        return pos

    def _persid(self, pos: int, at: int) -> int:
        line, end = self._line(pos)
        self._made += 3
        self._stack.append(self._builder.persistent(python2_text(line), at))
        return end

    def _ext1(self, pos: int, at: int) -> int:
        return self._extension(self._data[pos], pos + 1, at)

    def _ext2(self, pos: int, at: int) -> int:
        return self._extension(_u16(self._data, pos)[0], pos + 2, at)

    def _ext4(self, pos: int, at: int) -> int:
        return self._extension(_i32(self._data, pos)[0], pos + 4, at)

    def _extension(self, code: int, pos: int, at: int) -> int:
        self._made += 1
        self._stack.append(self._builder.extension(code, at))
        return pos


_RARE: Final[dict[int, Callable[[Machine, int, int], int]]] = {
    0x30: Machine._pop_one,
    0x31: Machine._pop_to_mark,
    0x32: Machine._dup,
    0x42: Machine._binbytes,
    0x43: Machine._short_binbytes,
    0x46: Machine._float,
    0x49: Machine._int,
    0x4C: Machine._long,
    0x50: Machine._persid,
    0x53: Machine._string,
    0x54: Machine._binstring,
    0x55: Machine._short_binstring,
    0x56: Machine._unicode,
    0x61: Machine._append,
    0x62: Machine._build,
    0x63: Machine._global,
    0x64: Machine._dict,
    0x65: Machine._appends,
    0x67: Machine._get,
    0x69: Machine._inst,
    0x6C: Machine._list,
    0x6F: Machine._obj,
    0x70: Machine._put,
    0x73: Machine._setitem,
    0x75: Machine._setitems,
    0x80: Machine._proto,
    0x81: Machine._newobj,
    0x82: Machine._ext1,
    0x83: Machine._ext2,
    0x84: Machine._ext4,
    0x8A: Machine._long1,
    0x8B: Machine._long4,
    0x8D: Machine._binunicode8,
    0x8E: Machine._binbytes8,
    0x8F: Machine._empty_set,
    0x90: Machine._additems,
    0x91: Machine._frozenset,
    0x92: Machine._newobj_ex,
    0x93: Machine._stack_global,
    0x95: Machine._frame,
    0x96: Machine._binbytes8,
    0x97: Machine._buffer,
    0x98: Machine._buffer,
}
