"""TreeBuilder: what the names and calls of a checkpoint's pickle become. The few calls that make tensors are read by
our own code; every other one becomes an Opaque, and a finding says what it would have done."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from workbench.core.source import ByteSource
from workbench.core.tensor import DTYPES, MAX_RANK, DType, Storage, TensorRef
from workbench.core.tree import Dict, Name, Opaque, StorageNode, brief
from workbench.core.written import Written
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.limits import MAX_FREE_WORK, MAX_GLOBALS
from workbench.formats.pickle.builder import Fault
from workbench.formats.pickle.feed import ByteRange
from workbench.formats.pickle.global_node import Global, storage_class
from workbench.formats.pickle.machine import Machine, TakeRun
from workbench.formats.pickle.names import DTYPE_NAMES, Effect, Kind, classify, computed
from workbench.formats.pickle.numpy_nodes import empty_array, fill_array, spoil_array
from workbench.formats.pickle.plain_calls import PLAIN_CALLS, REFUSED, Args, ordered_dict
from workbench.formats.pickle.runs import Bulk, Run, take_run
from workbench.formats.pickle.tensor_calls import (
    TENSOR_CALLS,
    is_shape,
    load_from_bytes,
    rebuild_tensor_v2,
    some_strides,
    tensor_class,
    unfit,
)

__all__ = ["TreeBuilder"]

_ALIASES: Final = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "short": "int16",
    "int": "int32",
    "long": "int64",
    "chalf": "complex32",
    "cfloat": "complex64",
    "cdouble": "complex128",
}
_MAX_SIZE: Final = 2**63 - 1


class _Call:
    """Calls of one name, for one finding."""

    __slots__ = ("at", "n", "opcode", "shown")

    def __init__(self, at: int, opcode: str, shown: str) -> None:
        self.at = at
        self.opcode = opcode
        self.shown = shown
        self.n = 1


class NestedBudget:
    """What the pickles inside a pickle have used together."""

    __slots__ = ("depth", "made", "n_bytes")

    def __init__(self) -> None:
        self.depth = self.made = self.n_bytes = 0


class TreeBuilder:
    """Builds the tree of one entry; ``storages`` turns a persistent id into its node, or None when it is none.

    ``arrays``: numpy's arrays are tensors of this file, not objects beside them. ``nested`` reads the bytes that
    ``torch.storage._load_from_bytes`` is called with; ``home`` is the file, for what is held in memory.
    ``bulk`` gives the same storages, but many at once: with it, runs of entries are taken.
    """

    def __init__(
        self,
        storages: Callable[[object], object],
        entry: str,
        *,
        arrays: bool = False,
        nested: Nested | None = None,
        home: ByteSource | None = None,
        bulk: Bulk | None = None,
    ) -> None:
        self._storages = storages
        self._bulk = bulk
        self._entry = entry
        self._nested = nested
        self.nested = NestedBudget()
        self.arrays = arrays
        self.home = home
        self.at = 0
        self._work = 0
        self._arrays: dict[int, TensorRef] = {}
        self._names: dict[tuple[str, str], object] = {}
        self._first: dict[str, tuple[int, Effect]] = {}
        self._calls: dict[str, _Call] = {}
        self._odd: dict[str, tuple[int, int]] = {}
        self._protocol = -1
        self._opcodes: dict[int, int] = {}
        self._reduced: dict[str, int] = {}
        self._made: dict[str, None] = {}
        self._attributes: list[object] = []
        self._has_ordered_pairs = False

    # What the machine asks.

    def name(self, module: object, name: object, at: int) -> object:
        """The one node of that name."""
        if type(module) is not str or type(name) is not str:
            return self._computed(f"{brief(module, 60)}.{brief(name, 60)}", at)
        known = self._names.get((module, name))
        if known is not None:
            return known
        if len(self._names) >= MAX_GLOBALS:
            raise Fault(f"the pickle names more than {MAX_GLOBALS:,} classes and functions")
        node = self._new_name(module, name, at)
        self._names[module, name] = node
        return node

    def _new_name(self, module: str, name: str, at: int) -> object:
        effect = classify(module, name)
        path = f"{module}.{name}"
        if effect.kind is Kind.NEEDED and module == "torch" and name in DTYPE_NAMES:
            return Name(f"torch.{_ALIASES.get(name, name)}")
        if effect.kind is Kind.NEEDED and module == "torch" and name[:1].islower() and name not in ("device",):
            return Name(path)
        node = Global(path, effect)
        node.handler = _HANDLERS.get(path)
        if node.handler is load_from_bytes and self._nested is None:
            node.handler = None
        if effect.kind is not Kind.NEEDED:
            self._first.setdefault(path, (at, effect))
        return node

    def _computed(self, shown: str, at: int) -> Global:
        effect = computed()
        self._first.setdefault(shown, (at, effect))
        return Global(shown, effect)

    def extension(self, code: int, at: int) -> object:
        """Names by number are never needed for a checkpoint."""
        return self._computed(f"extension {code}", at)

    def call(self, function: object, args: object, at: int, opcode: str, kwargs: object = None) -> object:
        """A tensor, a plain value or an Opaque."""
        if type(function) is Global:
            function.n_called += 1
            handler = function.handler
            if opcode == "REDUCE":
                self._reduced.setdefault(function.class_path, at)
            elif handler is tensor_class:
                self._made[function.class_path] = None
            if handler is not None and type(args) is tuple:
                if opcode == "REDUCE" or (opcode == "NEWOBJ" and handler in (ordered_dict, tensor_class)):
                    self.at = at
                    value = handler(self, args)
                    if value is not REFUSED:
                        return value
                self._note_odd(f"calls `{function.class_path}` with arguments it does not take", at)
                listed = unfit(self, function, args)
                if listed is not None:
                    return listed
            path = function.class_path
            if function.effect.kind is not Kind.NEEDED:
                self._log(path, args, at, opcode)
            elif handler is None and path not in _QUIET:
                self._note_odd(f"calls `{path}`, which is kept as text here", at)
            return Opaque(path, args, kwargs=kwargs)
        shown = f"({brief(function)})"
        self._first.setdefault(shown, (at, computed()))
        self._log(shown, args, at, opcode)
        return Opaque(shown, args, kwargs=kwargs)

    def build(self, node: object, state: object, at: int) -> None:
        """Recorded on objects and mappings; on anything else only a finding tells of it."""
        if type(node) is Opaque:
            node.state = state
        elif type(node) is Dict:
            node.attributes = state
        elif type(node) is Global:
            self._first.setdefault(node.class_path, (at, node.effect))
            self._log(node.class_path, (state,), at, "BUILD")
        elif type(node) is TensorRef and id(node) in self._arrays:
            if not fill_array(node, self.home, state, f"array/{len(self._arrays)}"):
                spoil_array(node)
                self._note_odd("gives an array a state that numpy does not take", at)
        elif type(node) is TensorRef and type(state) is tuple and len(state) == 3:
            pass  # A Variable or Parameter of PyTorch before 0.4: requires_grad, volatile, hooks.
        else:
            self.at = at
            self.charge(16)
            self._note_odd(f"sets attributes on a {brief(node)}", at)

    def new_array(self) -> TensorRef:
        """An array that waits for its state."""
        array = empty_array()
        self._arrays[id(array)] = array
        return array

    def load_nested(self, raw: bytes | ByteRange) -> object:
        """What the bytes inside the pickle hold."""
        return REFUSED if self._nested is None else self._nested(self, raw, self.at)

    def persistent(self, pid: object, at: int) -> object:
        """The storage behind the id, or an Opaque."""
        node = self._storages(pid)
        if node is not None:
            return node
        self._note_odd("refers to something outside it in a way no torch.save does", at)
        return Opaque("persistent id", (pid,))

    # What runs ask.

    @property
    def take_run(self) -> TakeRun | None:
        """Runs of entries, where storages can be had by their keys."""
        return None if self._bulk is None else self._take_run

    def _take_run(self, data: bytes, at: int, memo: dict[int, object]) -> tuple[Run | None, int]:
        return take_run(data, at, memo, self)

    def is_tensor_function(self, node: object) -> bool:
        """Whether it is the function that almost every tensor is made by."""
        return type(node) is Global and node.handler is rebuild_tensor_v2

    def is_hooks_class(self, node: object) -> bool:
        """Whether it is OrderedDict."""
        return type(node) is Global and node.handler is ordered_dict

    def called(self, node: object, n: int) -> None:
        """Count calls of a name."""
        assert type(node) is Global
        node.n_called += n
        self._reduced.setdefault(node.class_path, 0)

    def dtype_of_storage(self, node: object) -> str | None:
        """As `storage_class`."""
        return storage_class(node)

    @property
    def bulk(self) -> Bulk:
        """What gives storages in numbers."""
        assert self._bulk is not None
        return self._bulk

    def read_by(self, machine: Machine) -> None:
        """Remember what a machine met that has read for this builder."""
        self._protocol = max(self._protocol, machine.protocol)
        self._opcodes = machine.opcodes | self._opcodes

    def written(self, first_entry: str = "") -> Written:
        """How the pickles that were read for this builder are written."""
        return Written(
            self._protocol,
            self._opcodes,
            self._reduced,
            tuple(self._made),
            tuple(self._attributes),
            self._has_ordered_pairs,
            first_entry,
        )

    def drop(self, attributes: object) -> None:
        """Keep what is set on a tensor apart from the tree."""
        self._attributes.append(attributes)

    def note_ordered_pairs(self) -> None:
        """Remember that an OrderedDict got its entries with the call."""
        self._has_ordered_pairs = True

    # Findings.

    def add_dangers(self, error: OpenError) -> OpenError:
        """The error, which also tells of a dangerous name that stood before the break."""
        dangers = self.dangers()
        if dangers:
            error.cause += (
                f" Before that byte it names `{printable(dangers[0], 80)}`, which loading it elsewhere could call;"
                " nothing was run here."
            )
        return error

    def _log(self, path: str, args: object, at: int, opcode: str) -> None:
        known = self._calls.get(path)
        if known is None:
            items = args if isinstance(args, tuple) else (args,)
            shown = ", ".join(brief(item, 40) for item in items[:4]) + (", .." if len(items) > 4 else "")
            self._calls[path] = _Call(at, opcode, shown if len(shown) <= 80 else shown[:79] + "…")
        else:
            known.n += 1

    def _note_odd(self, what: str, at: int) -> None:
        first, n = self._odd.get(what, (at, 0))
        self._odd[what] = (first, n + 1)

    def note(self, what: str, at: int) -> None:
        """Say something about the pickle as a whole; the entry's name goes before it."""
        self._note_odd(what.rstrip("."), at)

    def dangers(self) -> list[str]:
        """The names met so far whose call would do harm."""
        return [path for path, (_, effect) in self._first.items() if effect.kind is Kind.DANGEROUS]

    def kinds(self) -> dict[str, str]:
        """What each name of the pickle is, in the order of their first mention."""
        kinds = {f"{module}.{name}": str(classify(module, name).kind) for module, name in self._names}
        return kinds | {path: str(effect.kind) for path, (_, effect) in self._first.items()}

    def findings(self) -> list[Finding]:
        """One finding per name and effect, in file order; harmless classes share one."""
        found: list[tuple[int, Finding]] = []
        inert: list[tuple[int, str]] = []
        for path, (at, effect) in self._first.items():
            call = self._calls.get(path)
            if effect.kind is Kind.INERT:
                inert.append((at, path))
                continue
            shown = brief(Name(path), 200)
            place = f"byte {call.at if call else at:,} of {self._entry}"
            if effect.kind is Kind.DANGEROUS:
                what = f"would call `{shown}({call.shown})`" if call else f"names `{shown}`, without calling it"
                times = f", {call.n:,} times" if call and call.n > 1 else ""
                text = f"{self._entry} {what}{times} when unpickled: it {effect.words}. Nothing was run here."
                severity = Severity.ERROR if call else Severity.WARNING
                step = (
                    "Do not load this file with torch.load(weights_only=False) or pickle; "
                    "its tensors can be inspected and exported from here."
                )
                found.append((at, Finding(effect.code, severity, place, text, step)))
            else:
                use = f"would call `{shown}({call.shown})`" if call else f"names `{shown}`"
                text = f"{self._entry} {use}: it {effect.words}. It is kept as text."
                found.append((at, Finding(effect.code, Severity.WARNING, place, text)))
        if inert:
            names = ", ".join(f"`{brief(Name(path), 100)}`" for _, path in inert[:8])
            more = f" and {len(inert) - 8:,} more" if len(inert) > 8 else ""
            text = f"{self._entry} names {names}{more}: objects beside the tensors, kept as text."
            found.append(
                (inert[0][0], Finding("inert-names", Severity.NOTE, f"byte {inert[0][0]:,} of {self._entry}", text))
            )
        for what, (at, n) in self._odd.items():
            times = f", {n:,} times" if n > 1 else ""
            place = f"byte {at:,} of {self._entry}"
            found.append((at, Finding("odd-pickle", Severity.WARNING, place, f"{self._entry} {what}{times}.")))
        return [finding for _, finding in sorted(found, key=lambda item: item[0])]

    # Tensors.

    def tensor(
        self,
        node: object,
        dtype: DType | None,
        offset: object,
        shape: object,
        strides: object,
        metadata: object = None,
        unreadable: str = "",
    ) -> object:
        """A view of a storage, checked before numpy sees a number; `REFUSED` when it has no shape at all."""
        if type(shape) is not tuple or type(node) is not StorageNode:
            return REFUSED
        if len(shape) > MAX_RANK:
            return self._of_high_rank(node, dtype, shape, unreadable)
        n = 1
        clean = False
        last = 0
        if type(strides) is tuple and len(strides) == len(shape) and type(offset) is int:
            clean = 0 <= offset <= _MAX_SIZE
            last = offset
            for size, stride in zip(shape, strides):  # noqa: B905
                if type(size) is not int or not 0 <= size <= _MAX_SIZE:
                    return REFUSED
                if type(stride) is not int or not 0 <= stride <= _MAX_SIZE:
                    clean = False
                    break
                n *= size
                last += (size - 1) * stride
        if not clean:
            if not is_shape(shape):
                return REFUSED
            unreadable = unreadable or "its strides or offset are no counts of elements"
            strides, offset = some_strides(shape), 0
            n, last = math.prod(shape), -1
        numel = node.numel
        if dtype is None:
            dtype = node.dtype or DTYPES["uint8"]
        elif node.dtype is not dtype:
            numel = numel * (node.dtype.itemsize if node.dtype else 1) // dtype.itemsize
        if not unreadable:
            unreadable = node.problem
        if not unreadable and n and last >= numel:
            node.reach = max(node.reach, last + 1) if dtype is node.dtype else node.reach
            unreadable = f"it needs element {last:,} of storage {node.storage.id}, which has {numel:,} of {dtype.name}"
        if n.bit_length() > 63 or n * dtype.itemsize > _MAX_SIZE:
            return REFUSED
        unreadable = unreadable or dtype.lacks_numpy
        conj = neg = False
        if type(metadata) is Dict:
            conj, neg = metadata.get("conj") is True, metadata.get("neg") is True
            kind = dtype.numpy.kind if dtype.numpy is not None else ""
            if (conj and kind != "c") or (neg and kind in "b"):
                unreadable = unreadable or f"it asks to conjugate or negate {dtype.name}"
        swap = node.big_endian and node.dtype is not None and dtype.itemsize > 1
        assert type(strides) is tuple
        assert type(offset) is int
        return TensorRef("", (), dtype, shape, strides, offset, node.storage, swap, conj, neg, unreadable)

    def _of_high_rank(self, node: StorageNode, dtype: DType | None, shape: Args, unreadable: str) -> object:
        """Listed, never read; the product stops where it overflows, and each call is charged for its shape."""
        self.charge(16 * len(shape))
        dtype = dtype or node.dtype or DTYPES["uint8"]
        if not is_shape(shape):
            return REFUSED
        n = 0 if 0 in shape else 1
        for size in shape:
            n *= size
            if n * dtype.itemsize > _MAX_SIZE:
                return REFUSED
        unreadable = unreadable or f"it has {len(shape):,} dimensions, numpy takes {MAX_RANK}"
        return TensorRef("", (), dtype, shape, (0,) * len(shape), 0, node.storage, unreadable=unreadable)

    def charge(self, n: int) -> None:
        """Count work on values that a call walks or copies. Each took a byte once; a memo may hand it out for ever."""
        self._work += n
        if self._work > MAX_FREE_WORK + self.at:
            raise Fault("its calls walk the same large values again and again, more than its bytes can need")

    def listed(self, dtype: DType, shape: object, reason: str) -> object:
        """A tensor of a kind that has no plain values in the file: shape and dtype are shown, reading is refused."""
        nowhere = Storage("none", 0, None)
        if type(shape) is tuple and len(shape) > MAX_RANK:
            return self._of_high_rank(StorageNode(nowhere, dtype, 0), dtype, shape, reason)
        if not is_shape(shape) or math.prod(shape) * dtype.itemsize > _MAX_SIZE:
            return REFUSED
        return TensorRef("", (), dtype, shape, some_strides(shape), 0, nowhere, unreadable=reason)


Nested = Callable[[TreeBuilder, "bytes | ByteRange", int], object]
"""Reads bytes inside a pickle: the builder around them, the bytes, the position of the call."""


_QUIET: Final = frozenset({"numpy.dtype", "numpy.ndarray"})

_HANDLERS: Final[dict[str, Callable[[TreeBuilder, Args], object]]] = {**PLAIN_CALLS, **TENSOR_CALLS}
