"""Runs: many entries of a state_dict taken at once by one pattern, where each opcode is the one torch.save writes.

The pattern spells an entry out, key to tensor, so that nothing in it is skipped; operands are then checked as columns:
lengths, text, memo numbers, what the memo holds where it is read. `machine.py` takes over at the first entry that does
not fit, and must come to the same tree, memo and findings when it takes all of them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import KeysView, Sequence
from itertools import repeat
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from workbench.core.tensor import DTYPES, Layout, Places, TensorRef, new_tensors
from workbench.core.tree import Dict

__all__ = ["Bulk", "Maker", "Memo", "Run", "take_run"]

_WINDOW: Final = 256 << 10
"""Bytes looked at together: it bounds what the pattern's groups take."""

_FEWEST: Final = 8
"""Entries that are worth the set-up."""

_GET: Final = rb"(?:h.|j....)"
_NUMBER: Final = rb"(?:K.|M..|J....)"
_SIZES: Final = rb"(?:\)|N\x85|NN\x86|NNN\x87|\(N{4,8}t)".replace(b"N", _NUMBER)
# Key and storage key are short here: a long text full of false ends must not be tried at each of them.
_ENTRY: Final = re.compile(
    rb"(X(....)([^\x00-\x1f]{0,255})r(....)"  # key
    rb"(G\(\(GG)"  # the function, "storage", the class of the storage
    rb"X(....)([^\x00-\x1f]{1,20})r(....)"  # key of the storage
    rb"(GN)tr(....)Q"  # location, number of elements
    rb"(NS)(?:r(....))?(S)(?:r(....))?\x89"  # offset, shape, strides
    rb"(G)\)Rr(....tr....Rr....))|.+"  # hooks; all that does not fit is one last match
    .replace(b"G", _GET).replace(b"N", _NUMBER).replace(b"S", _SIZES),
    re.DOTALL,
)  # fmt: skip
_THREE_PUTS: Final = np.dtype([("a", "<u4"), ("b_", "S2"), ("b", "<u4"), ("c_", "S2"), ("c", "<u4")])
_FIXED_OPCODES: Final = 17
"""Opcodes of an entry but for those that put into the memo and those of offset, shape and strides."""
_FIXED_NODES: Final = 9
_Positions = npt.NDArray[np.int64]
_READABLE: Final = frozenset(name for name, dtype in DTYPES.items() if dtype.numpy is not None)


class Bulk(Places, Protocol):
    """Storages in numbers."""

    def bulk(self, dtype_names: Sequence[str], keys: Sequence[str], numels: Sequence[int]) -> list[int]:
        """What `storage` takes for each of these, less than 0 where something stands against reading it."""
        ...


class Maker(Protocol):
    """What a run asks of the builder."""

    def is_tensor_function(self, node: object) -> bool:
        """Whether the node names the function whose call an entry ends with."""
        ...

    def is_hooks_class(self, node: object) -> bool:
        """Whether it names the class of the empty mapping that is its last argument."""
        ...

    def called(self, node: object, n: int) -> None:
        """The node was called ``n`` times."""
        ...

    def dtype_of_storage(self, node: object) -> str | None:
        """The dtype a storage class stands for."""
        ...

    @property
    def bulk(self) -> Bulk:
        """What persistent ids give, many at once."""
        ...

    def persistent(self, pid: object, at: int) -> object:
        """What one persistent id gives."""
        ...

    def tensor(self, node: object, dtype: None, offset: object, shape: object, strides: object) -> object:
        """What the call gives; no TensorRef when it is refused."""
        ...


class _Head(NamedTuple):
    function: object
    word: object
    kind: object
    dtype_name: str


class _View(NamedTuple):
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    n: int
    """Elements; -1 where the general way must look at the numbers."""
    last: int
    n_opcodes: int
    n_nodes: int


class Run(NamedTuple):
    """What the machine has to do for a run: push `items`, go to `end`, count."""

    items: list[object]
    end: int
    n_opcodes: int
    n_nodes: int
    slots: _Slots


class Memo(dict[int, object]):
    """The memo of a pickle with runs in it: what they put there is made when it is read."""

    def __init__(self, before: dict[int, object]) -> None:
        super().__init__(before)
        self._runs: list[_Slots] = []
        self._begins: list[int] = []
        self._end = 0
        self._n_put = 0

    @property
    def n_slots(self) -> int:
        """Numbers in use, those of runs included; one put anew counts twice."""
        return super().__len__() + self._n_put

    def add(self, run: _Slots) -> None:
        """Have the numbers of a run, all of them free and larger than those of the runs before."""
        self._runs.append(run)
        self._begins.append(run.first)
        self._end = run.end
        self._n_put += run.end - run.first

    def is_free(self, first: int, end: int) -> bool:
        """Whether nothing stands from ``first`` to ``end``, and no run behind."""
        return first >= self._end and _is_free(self.keys(), first, end)

    def __missing__(self, slot: int) -> object:
        i = bisect_right(self._begins, slot) - 1
        if i < 0 or slot >= self._runs[i].end:
            raise KeyError(slot)
        made = self._runs[i].value(slot)
        self[slot] = made
        self._n_put -= 1
        return made

    def __len__(self) -> int:
        """The exact number of them, for MEMOIZE: everything is made."""
        runs, self._runs, self._begins, self._n_put = self._runs, [], [], 0
        for run in runs:
            for slot in range(run.first, run.end):
                if slot not in self:
                    self[slot] = run.value(slot)
        return super().__len__()


class _Slots:
    """The memo numbers of one run: entry by entry key, storage key, id, shape, strides, hooks, arguments, tensor."""

    __slots__ = ("_begins", "_data", "_firsts", "_heads", "_locations", "_made", "_maker", "_tensors", "end", "first")

    def __init__(
        self,
        data: bytes,
        begins: _Positions,
        firsts: _Positions,
        end: int,
        heads: dict[bytes, _Head],
        locations: dict[bytes, tuple[object, int]],
        tensors: list[TensorRef],
        maker: Maker,
    ) -> None:
        self._data = data
        self._begins = begins
        self._firsts = firsts
        self._heads = heads
        self._locations = locations
        self._tensors = tensors
        self._maker = maker
        self._made: dict[int, object] = {}
        self.first = int(firsts[0])
        self.end = end

    def value(self, slot: int) -> object:
        """What the machine would have put under that number, whatever stands there by now."""
        made = self._made.get(slot)
        if made is None:
            made = self._made[slot] = self._make(slot)
        return made

    def _make(self, slot: int) -> object:
        i = int(np.searchsorted(self._firsts, slot, "right")) - 1
        first = int(self._firsts[i])
        match = _ENTRY.match(self._data, int(self._begins[i]))
        assert match is not None
        key, head, storage_key, location, place, put_shape, strides, put_strides = match.group(
            3, 5, 7, 9, 11, 12, 13, 14
        )
        names = ["key", "storage key", "id", "shape", "strides", "hooks", "arguments", "tensor"]
        if not put_strides:
            names.remove("strides")
        if not put_shape:
            names.remove("shape")
        slots = {name: first + j for j, name in enumerate(names)}
        what = names[slot - first]
        if what == "key":
            return key.decode()
        if what == "storage key":
            return storage_key.decode()
        if what == "tensor":
            return self._tensors[i]
        if what == "hooks":
            return Dict(class_name="OrderedDict")
        view = _view(place, strides)
        if what == "shape":
            return view.shape
        if what == "strides":
            return view.strides
        known, (where, numel) = self._heads[head], self._locations[location]
        if what == "id":
            return known.word, known.kind, self.value(slots["storage key"]), where, numel
        node = self._maker.persistent(("storage", known.kind, storage_key.decode(), where, numel), 0)
        shape = self.value(slots["shape"]) if put_shape else view.shape
        steps = self.value(slots["strides"]) if put_strides else view.strides
        return node, view.offset, shape, steps, False, self.value(slots["hooks"])


def take_run(data: bytes, at: int, memo: dict[int, object], maker: Maker) -> tuple[Run | None, int]:
    """The run of entries whose first key stands at ``at``, if there is one, and where to look for the next."""
    found: list[tuple[bytes, ...]] = _ENTRY.findall(data, at, min(at + _WINDOW, len(data)))
    if found and not found[-1][0]:
        found.pop()
    while len(found) >= _FEWEST:
        run = _checked(data, at, found, memo, maker)
        if run is not None:
            return run, run.end
        del found[len(found) // 2 :]
    return None, at + sum(len(entry[0]) for entry in found)


def _checked(data: bytes, at: int, found: list[tuple[bytes, ...]], memo: dict[int, object], maker: Maker) -> Run | None:
    """The run of exactly these entries, None when something about one of them is not as it should be."""
    columns: list[_Column] = list(zip(*found, strict=True))
    (whole, key_size, key, put0, head, storage_size, storage_key, put1, location, put2) = columns[:10]
    (place, put3, strides, put4, hooks, ends) = columns[10:]
    # Memo numbers: one after the other, free before, and none of them read in the run itself.
    first = int.from_bytes(put0[0], "little")
    firsts = _put_in_order(first, (put0, put1, put2), put3, put4, ends)
    end = 0 if firsts is None else int(firsts[-1])
    if (
        firsts is None
        or end > 1 << 32
        or not (memo.is_free(first, end) if isinstance(memo, Memo) else _is_free(memo.keys(), first, end))
    ):
        return None
    # Texts: as long as they say, and UTF-8.
    if b"".join(key_size) != _sizes(key) or b"".join(storage_size) != _sizes(storage_key):
        return None
    try:
        keys, storage_keys = _decoded(key), _decoded(storage_key)
        heads = {each: _head(each, first, memo, maker) for each in set(head)}
        locations = {each: _location(each, first, memo) for each in set(location)}
        classes = [memo[_free_slot(each, 0, first)[0]] for each in set(hooks)]
    except (UnicodeDecodeError, LookupError):
        return None
    if not all(map(maker.is_hooks_class, classes)):
        return None
    names = {each: made.dtype_name for each, made in heads.items()}
    dtype_names = list(map(names.__getitem__, head))
    numels = [locations[each][1] for each in location]
    numbers = maker.bulk.bulk(dtype_names, storage_keys, numels)
    views: dict[tuple[bytes, bytes], _View] = {}
    layouts: list[Layout] = []
    add = layouts.append
    others: list[int] = []
    n_opcodes = n_nodes = 0
    laid = zip(place, strides, strict=True)
    for number, dtype_name, numel, layout in zip(numbers, dtype_names, numels, laid, strict=True):
        view = views.get(layout)
        if view is None:
            view = views[layout] = _view(*layout)
        offset, shape, steps, n, last, some_opcodes, some_nodes = view
        n_opcodes += some_opcodes
        n_nodes += some_nodes
        if number < 0 or not 0 <= n <= numel or last >= numel or dtype_name not in _READABLE:
            others.append(len(layouts))
        add((DTYPES[dtype_name], shape, steps, offset, ""))
    tensors = new_tensors(repeat("", len(found)), repeat(()), layouts, maker.bulk, numbers)
    for i in others:
        node = maker.persistent(
            ("storage", heads[head[i]].kind, storage_keys[i], locations[location[i]][0], numels[i]), 0
        )
        _, shape, steps, offset, _ = layouts[i]
        made = maker.tensor(node, None, offset, shape, steps)
        if type(made) is not TensorRef:
            return None
        tensors[i] = made
    for each, n_calls in _counts(head).items():
        maker.called(heads[each].function, n_calls)
    for each, n_calls in _counts(hooks).items():
        maker.called(memo[_free_slot(each, 0, first)[0]], n_calls)
    begins = np.empty(len(found) + 1, np.int64)
    begins[0] = at
    np.cumsum(np.fromiter(map(len, whole), np.int64, len(found)), out=begins[1:])
    begins[1:] += at
    items: list[object] = [None] * (2 * len(found))
    items[::2] = keys
    items[1::2] = tensors
    slots = _Slots(data, begins, firsts[:-1], end, heads, locations, tensors, maker)
    n_opcodes += _FIXED_OPCODES * len(found) + end - first
    return Run(items, int(begins[-1]), n_opcodes, n_nodes + _FIXED_NODES * len(found), slots)


_Column = tuple[bytes, ...]


def _put_in_order(
    first: int, always: tuple[_Column, ...], shapes: _Column, strides: _Column, ends: _Column
) -> _Positions | None:
    """The first memo number of each entry and the one after all, when every number is the one before it plus one."""
    n = len(ends)
    # Those of shape and strides are not there where these are empty.
    some = [np.fromiter(map(len, column), np.int64, n) // 4 for column in (shapes, strides)]
    firsts = np.zeros(n + 1, np.int64)
    np.cumsum(6 + some[0] + some[1], out=firsts[1:])
    firsts += first
    at = firsts[:-1]
    if any((_put(column) != at + i).any() for i, column in enumerate(always)):
        return None
    at = at + 3
    for column, is_there in zip((shapes, strides), some, strict=True):
        if (_put(column) != at[is_there == 1]).any():
            return None
        at = at + is_there
    three = np.frombuffer(b"".join(ends), _THREE_PUTS)
    if any((three[name] != at + i).any() for i, name in enumerate("abc")):
        return None
    return firsts


def _put(column: _Column) -> npt.NDArray[np.uint32]:
    return np.frombuffer(b"".join(column), "<u4")


def _is_free(used: KeysView[int], first: int, end: int) -> bool:
    between = range(first, end)
    return used.isdisjoint(between) if len(used) > len(between) else not any(map(between.__contains__, used))


def _counts(column: tuple[bytes, ...]) -> dict[bytes, int]:
    return {each: column.count(each) for each in set(column)}


def _sizes(texts: tuple[bytes, ...]) -> bytes:
    return np.fromiter(map(len, texts), "<u4", len(texts)).tobytes()


def _decoded(texts: tuple[bytes, ...]) -> list[str]:
    """The texts, which hold no line ends."""
    return b"\n".join(texts).decode().split("\n")


def _free_slot(code: bytes, at: int, first: int) -> tuple[int, int]:
    """The number that the BINGET or LONG_BINGET at ``at`` reads, which lies before the run, and where it ends."""
    end = at + (2 if code[at] == 0x68 else 5)
    slot = int.from_bytes(code[at + 1 : end], "little")
    if slot >= first:
        raise LookupError
    return slot, end


def _head(code: bytes, first: int, memo: dict[int, object], maker: Maker) -> _Head:
    function_slot, at = _free_slot(code, 0, first)
    word_slot, at = _free_slot(code, at + 2, first)
    kind_slot, _ = _free_slot(code, at, first)
    function, word, kind = memo[function_slot], memo[word_slot], memo[kind_slot]
    dtype_name = maker.dtype_of_storage(kind)
    if not dtype_name or word != "storage" or not isinstance(word, str) or not maker.is_tensor_function(function):
        raise LookupError
    return _Head(function, word, kind, dtype_name)


def _location(code: bytes, first: int, memo: dict[int, object]) -> tuple[object, int]:
    slot, at = _free_slot(code, 0, first)
    where = memo[slot]
    (numel,), _ = _numbers(code[at:])
    if not isinstance(where, str) or numel < 0:
        raise LookupError
    return where, numel


def _numbers(code: bytes) -> tuple[list[int], int]:
    """The integers of some opcodes, and how many opcodes these are."""
    found, at, n = [], 0, 0
    while at < len(code):
        op = code[at]
        n += 1
        size = {0x4B: 1, 0x4D: 2, 0x4A: 4}.get(op, 0)
        if size:
            found.append(int.from_bytes(code[at + 1 : at + 1 + size], "little", signed=size == 4))
        at += 1 + size
    return found, n


def _view(place: bytes, steps: bytes) -> _View:
    (offset, *sizes), n_place = _numbers(place)
    strides, n_steps = _numbers(steps)
    n, last = 1, offset
    if len(sizes) != len(strides) or min((offset, *sizes, *strides)) < 0:
        n = -1
    else:
        for size, stride in zip(sizes, strides, strict=True):
            n *= size
            last += (size - 1) * stride
    n_nodes = bool(sizes) + bool(strides)
    return _View(offset, tuple(sizes), tuple(strides), n, last, n_place + n_steps, n_nodes)
