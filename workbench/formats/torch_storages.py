"""What all zips of PyTorch share: storages behind persistent ids, and one entry run as a pickle."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from workbench.core.source import ByteSource
from workbench.core.tensor import DTYPES, DType, Storage, new_storage
from workbench.core.tree import StorageNode
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.pickle.global_node import Global, storage_class
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.names import storage_dtype
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.zip_columns import NOWHERE
from workbench.formats.zip_directory import Entry, ZipDirectory

__all__ = ["CXX_STORAGES", "Storages", "byte_order", "needed", "run_pickle", "text_of"]

_MAX_STORAGE_FINDINGS: Final = 20
_MAX_NUMEL: Final = 1 << 60

_ITEM_SIZES: Final = {"": 1} | {dtype.name: dtype.itemsize for dtype in DTYPES.values()}

_Wanted = tuple[str, str, int]
"""A storage by dtype ("" for plain bytes), key and number of elements."""

# Python knows no storage classes for these dtypes and writes UntypedStorage; the pickler in C++ makes up names.
CXX_STORAGES: Final = {
    f"torch.{written}Storage": dtype_name
    for written, dtype_name in {
        "UInt16": "uint16",
        "UInt32": "uint32",
        "UInt64": "uint64",
        "ComplexHalf": "complex32",
        "Float8_e4m3fn": "float8_e4m3fn",
        "Float8_e4m3fnuz": "float8_e4m3fnuz",
        "Float8_e5m2": "float8_e5m2",
        "Float8_e5m2fnuz": "float8_e5m2fnuz",
        "Float8_e8m0fnu": "float8_e8m0fnu",
        "Float4_e2m1fn_x2": "float4_e2m1fn_x2",
        "Bits8": "bits8",
        "Bits16": "bits16",
        "Bits1x8": "bits1x8",
        "Bits2x4": "bits2x4",
        "Bits4x2": "bits4x2",
    }.items()
}
"""Dtype by storage class, as TorchScript writes it."""

# Protocol 0 has persistent ids as text only, and torch lets Python print the tuple.
_ID_AS_TEXT: Final = re.compile(
    r"\('storage', <class '([\w.]{1,80})'>, '(\w{1,40})', '[\w:]{1,40}', ([0-9]{1,18})\)", re.ASCII
)


def needed(directory: ZipDirectory, entry_name: str) -> Entry:
    """The entry of that name, which must be there; OpenError where it is there twice."""
    if directory.is_repeated(entry_name):
        raise OpenError(
            f"The zip holds {printable(entry_name, 120)} twice; readers disagree which of them counts.",
            path=directory.source.path or directory.source.name,
            place=f"entry {printable(entry_name, 120)}",
            next_step="Ask the file's author for a clean copy.",
            code="repeated-entry",
        )
    entry = directory.find(entry_name)
    assert entry is not None
    return entry


def text_of(directory: ZipDirectory, entry_name: str) -> str | None:
    """A short record as text, None when there is none, "?" for one that is too long."""
    entry = directory.find(entry_name)
    if entry is None:
        return None
    needed(directory, entry_name)
    return directory.read(entry)[:64].decode("ascii", "replace") if entry.size <= 64 else "?"


def byte_order(directory: ZipDirectory, root: str) -> str | None:
    """``little``, ``big``, or None where the file does not say. OpenError for anything else."""
    found = text_of(directory, f"{root}byteorder")
    if found not in (None, "little", "big"):
        raise OpenError(
            f"Its byte order is {printable(repr(found), 40)}, which is neither little nor big.",
            path=directory.source.path or directory.source.name,
            place=f"entry {printable(root, 80)}byteorder",
            next_step="Save it again with torch.save.",
            code="byteorder",
        )
    return found


def run_pickle(directory: ZipDirectory, data: bytes, builder: TreeBuilder, entry: Entry) -> object:
    """The tree of a pickle; what it would have called is in the builder's findings, also behind its end."""
    where = directory.source.path or directory.source.name
    machine = Machine(data, builder, on_disk=entry.packed, name=where, entry=entry.place, take_run=builder.take_run)
    try:
        tree = machine.run()
    except OpenError as error:
        dangers = builder.dangers()
        if dangers:
            error.cause += (
                f" Before that byte it names `{printable(dangers[0], 80)}`, which loading it elsewhere could call;"
                " nothing was run here."
            )
        raise
    builder.read_by(machine)
    rest = len(data) - machine.end
    if rest:
        before = set(builder.dangers())
        _walk_rest(data, machine.end, builder, entry, where)
        hidden = [path for path in builder.dangers() if path not in before]
        names = f" They name `{printable(hidden[0], 80)}`." if hidden else ""
        builder.note(f"has {rest:,} bytes behind its end, which torch.load ignores.{names}", machine.end)
    return tree


def _walk_rest(data: bytes, begin: int, builder: TreeBuilder, entry: Entry, where: str) -> None:
    """Pickles hidden behind the first are walked for their names only; the rest may as well be padding."""
    while begin < len(data):
        machine = Machine(data, builder, begin=begin, on_disk=entry.packed, name=where, entry=entry.place)
        try:
            machine.run()
        except OpenError:
            return
        begin = machine.end


class Storages:
    """Turns ``("storage", class, key, location, numel)`` into storages, each once.

    The bytes of key ``K`` are the entry ``<folder>K<suffix>``. A torch.package writes its keys as integers.
    """

    def __init__(
        self, directory: ZipDirectory, root: str, big_endian: bool, *, folder: str = "data/", suffix: str = ""
    ) -> None:
        self._directory = directory
        self._root = root
        self._folder = folder
        self._suffix = suffix
        self._big_endian = big_endian
        self._n_untyped = 0
        self._known: dict[_Wanted, StorageNode] = {}
        self._made: dict[int, Storage] = {}
        self._has_numbers = False
        self._found: list[tuple[str, str, str]] = []
        self._differing: list[str] = []

    def resolve(self, pid: object) -> StorageNode | None:
        """The storage, with the reason when its bytes cannot be used; None when the id is none of torch's."""
        if type(pid) is tuple and len(pid) == 5 and pid[0] == "storage":
            _, kind, key, location, numel = pid
            dtype_name = storage_class(kind)
            if dtype_name is None and type(kind) is Global:
                dtype_name = CXX_STORAGES.get(kind.class_path)
        elif type(pid) is str and (written := _ID_AS_TEXT.fullmatch(pid)):
            dtype_name, key, location, numel = storage_dtype(written[1]), written[2], "", int(written[3])
        else:
            return None
        if type(key) is int and self._suffix and 0 <= key < _MAX_NUMEL:
            key = str(key)
        if dtype_name is None or type(key) is not str or not isinstance(location, str):
            return None
        if type(numel) is not int or not 0 <= numel < _MAX_NUMEL:
            return self._impossible((dtype_name, key, -1))
        return self._node((dtype_name, key, numel))

    def _impossible(self, wanted: _Wanted) -> StorageNode:
        """One whose number of elements is none."""
        known = self._known.get(wanted)
        if known is None:
            storage_id = f"{self._folder}{wanted[1]}{self._suffix}"
            problem = "the number of elements that the pickle gives its storage is none"
            text = f"Tensors in {printable(storage_id, 80)} cannot be read: {problem}."
            self._found.append(("unreadable-storage", printable(self._root + storage_id, 120), text))
            dtype = DTYPES[wanted[0]] if wanted[0] else None
            known = self._known[wanted] = StorageNode(Storage(storage_id, 0, None), dtype, 0, problem=problem)
        return known

    def _node(self, wanted: _Wanted) -> StorageNode:
        known = self._known.get(wanted)
        if known is not None:
            return known
        dtype_name, key, numel = wanted
        dtype = DTYPES[dtype_name] if dtype_name else None
        self._n_untyped += dtype is None
        number = NOWHERE
        if self._has_numbers and dtype is not None:
            (number,) = self.bulk((dtype_name,), (key,), (numel,))
        if number == NOWHERE:
            node = self.open(key, dtype, numel)
        else:
            node = StorageNode(self.storage(number), dtype, numel, big_endian=self._big_endian)
        self._known[wanted] = node
        return node

    def bulk(self, dtype_names: Sequence[str], keys: Sequence[str], numels: Sequence[int]) -> list[int]:
        """The numbers by which `storage` gives the storages of these keys, each of so many elements of a dtype.

        `NOWHERE` stands for those about which there is more to say than their bytes: `resolve` says it.
        """
        if self._big_endian:
            return [NOWHERE] * len(keys)
        folder, suffix = self._root + self._folder, self._suffix
        self._has_numbers = True
        rows = self._directory.rows([f"{folder}{key}{suffix}" for key in keys])
        sizes = self._directory.plain[1]
        items = np.fromiter(map(_ITEM_SIZES.__getitem__, dtype_names), np.int64, len(keys))
        good = (rows >= 0) & (sizes[rows] == items * np.array(numels, np.int64))
        numbers: list[int] = np.where(good, rows, NOWHERE).tolist()
        return numbers

    def storage(self, number: int) -> Storage:
        """The storage of a number that `bulk` gave, one for all who ask."""
        made = self._made.get(number)
        if made is None:
            begins, sizes = self._directory.plain
            storage_id = self._directory.names[number][len(self._root) :]
            size, begin = int(sizes[number]), int(begins[number])
            made = self._made[number] = new_storage(storage_id, size, self._directory.source, begin)
        return made

    @property
    def source(self) -> ByteSource:
        """The bytes in which all storages of `storage` lie."""
        return self._directory.source

    def spans(self, numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First byte and size of the storages of these numbers."""
        begins, sizes = self._directory.plain
        return begins[numbers], sizes[numbers]

    def open(self, key: str, dtype: DType | None, numel: int = -1) -> StorageNode:
        """The storage of that key, of ``numel`` elements (bytes when it has no dtype), -1 for all its entry has."""
        storage_id = f"{self._folder}{key}{self._suffix}"
        entry_name = f"{self._root}{storage_id}"
        nbytes = numel * (dtype.itemsize if dtype else 1)
        directory = self._directory
        entry = directory.find(entry_name)
        problem = ""
        storage = Storage(storage_id, 0, directory.source)
        if entry is None:
            problem = f"the file has no entry {printable(entry_name, 120)}"
        elif directory.is_repeated(entry_name):
            problem = f"it has several entries {entry.place}, and readers disagree which of them counts"
        else:
            try:
                begin, differs = directory.data_begin(entry)
            except OpenError as error:
                problem = f"entry {entry.place}: {error.title}"
            else:
                storage = directory.storage(entry, begin, storage_id)
                if differs:
                    self._differing.append(f"{entry.place} ({differs})")
                if entry.method == 0 and entry.packed != entry.size:
                    problem = f"entry {entry.place} is stored plainly, but its two sizes differ"
                elif numel < 0:
                    numel = entry.size // (dtype.itemsize if dtype else 1)
                elif entry.size < nbytes:
                    problem = f"it needs bytes 0 to {nbytes:,} of {entry.place}, but that entry ends at {entry.size:,}"
                elif entry.size > nbytes:
                    more = f"{entry.size - nbytes:,} bytes more than its storage"
                    text = f"Entry {entry.place} has {more}; torch.load refuses that."
                    self._found.append(("longer-storage", entry.place, text))
        if problem:
            shown = printable(entry_name, 120)
            text = f"Tensors in {printable(storage_id, 80)} cannot be read: {problem}."
            self._found.append(("unreadable-storage", shown, text))
        return StorageNode(storage, dtype, max(numel, 0), big_endian=self._big_endian, problem=problem)

    def findings(self) -> list[Finding]:
        """What was wrong with storages, the first of each kind one by one."""
        found = []
        if self._big_endian and self._n_untyped:
            n = "1 storage is" if self._n_untyped == 1 else f"{self._n_untyped:,} storages are"
            text = (
                f"The file is big-endian, and {n} of plain bytes: torch does not turn those around, and neither does "
                "this reader. Numbers wider than a byte in them come out as a machine of the other kind reads them."
            )
            found.append(
                Finding("big-endian-bytes", Severity.WARNING, f"entry {printable(self._root, 80)}byteorder", text)
            )
        for code, severity in (("unreadable-storage", Severity.ERROR), ("longer-storage", Severity.WARNING)):
            mine = [(place, text) for kind, place, text in self._found if kind == code]
            found += [Finding(code, severity, f"entry {place}", text) for place, text in mine[:_MAX_STORAGE_FINDINGS]]
            if len(mine) > _MAX_STORAGE_FINDINGS:
                text = f"{len(mine) - _MAX_STORAGE_FINDINGS:,} more storages are like this."
                found.append(Finding(code, severity, "", text))
        if self._differing:
            text = (
                f"{len(self._differing):,} headers differ from the zip directory, the first that of "
                f"{self._differing[0]}; the directory was followed, as torch does."
            )
            found.append(Finding("headers-differ", Severity.WARNING, f"entry {self._differing[0]}", text))
        return found
