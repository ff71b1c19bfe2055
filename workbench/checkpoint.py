"""Checkpoint: a file, opened. Facts only, frozen; tensors are read when asked for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from workbench.core import sharing
from workbench.core.beside import Beside
from workbench.core.entries import Value, module_classes, values_of
from workbench.core.sharing import SharedStorage
from workbench.core.source import ByteSource
from workbench.core.tensor import TensorRef
from workbench.core.tensors import Tensors
from workbench.core.text import bytes_text, count_text, shape_text
from workbench.core.tree import Dict, Opaque, StorageNode, module_parts
from workbench.core.written import Written
from workbench.errors import TensorError, UnknownKeyError, WorkbenchError, printable
from workbench.finding import Finding, Severity, grouped
from workbench.formats.folders import Opened, open_path, open_source

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Checkpoint", "TopLevelKey", "checkpoint_of", "open_checkpoint"]

_ROWS_SHOWN: Final = 20
_KEY_SHOWN: Final = 60
_FORMAT_WORDS: Final = {
    "torch-zip": "PyTorch zip",
    "torch-legacy": "PyTorch stream (before 1.6)",
    "torch-tar": "PyTorch tar (0.1)",
    "pickle": "plain pickle",
    "safetensors": "safetensors",
    "safetensors-shards": "safetensors in shards",
    "torch-shards": "PyTorch files in shards",
    "npz": "numpy archive",
    "burnpack": "Burn burnpack",
    "mpk": "Burn record",
    "npy": "numpy array",
    "npy-folder": "folder of numpy arrays",
    "torchscript": "TorchScript",
    "pt2": "torch.export program",
    "torch-package": "torch.package",
}


@dataclass(frozen=True, slots=True)
class TopLevelKey:
    """An entry of the root that is itself a dict with tensors in it, one candidate for the weights."""

    key: str
    n_tensors: int
    nbytes: int


@dataclass(frozen=True, eq=False)
class Checkpoint(Mapping[str, npt.NDArray[Any]]):
    """The tensors of one file by key; ``ckpt[key]`` reads one into a fresh numpy array.

    >>> ckpt = open_checkpoint("net.pt")  # doctest: +SKIP
    >>> ckpt["conv1.weight"].shape  # doctest: +SKIP
    (64, 3, 7, 7)

    `tensors` are all of them in file order, and their keys, shapes, dtypes and sizes as columns:

    >>> dict(zip(ckpt.tensors.keys, ckpt.tensors.shapes))  # doctest: +SKIP
    {'conv1.weight': (64, 3, 7, 7), 'bn1.weight': (64,)}

    `names` tells what each class or function that a pickle of the file names is ("needed for tensors", "inert",
    "unknown", "dangerous"); `beside` are the tensors that no state_dict() names, each with the reason; `written` how
    the file was written, where other readers stumble over it.
    """

    name: str
    path: str
    size: int
    format: str
    tree: object = field(repr=False)
    tensors: Tensors = field(repr=False)
    findings: tuple[Finding, ...] = field(repr=False)
    metadata: dict[str, str] = field(repr=False)
    fingerprint: str
    beside: tuple[Beside, ...] = field(repr=False)
    names: dict[str, str] = field(repr=False)
    written: Written = field(repr=False)
    _rows: dict[str, int] = field(repr=False)
    """The row of each key in `tensors`; where several have it, minus their number."""

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all values together; shared storages count once per tensor."""
        return sum(self.tensors.sizes)

    @cached_property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of keys whose tensors are the very same view of one storage: tied weights, in file order."""
        return tuple(tuple(tensor.key for tensor in group) for group in sharing.ties(self.tensors))

    @cached_property
    def views(self) -> tuple[SharedStorage, ...]:
        """The storages in which several different tensors lie."""
        return sharing.shared_storages(self.tensors)

    @cached_property
    def modules(self) -> dict[str, str]:
        """The class path of each module of a whole-model save, by its key; "" is the key of the file itself."""
        return module_classes(self.tree)

    @cached_property
    def other_values(self) -> tuple[Value, ...]:
        """The values of the file that are no tensors (epoch, settings, …), each as a line of text."""
        found = tuple(values_of(self.tree))
        return () if len(found) == 1 and not found[0].key else found

    @property
    def kind(self) -> str:
        """What was saved, and in which format, in words."""
        words = _FORMAT_WORDS.get(self.format, self.format)
        if self.format in ("safetensors", "safetensors-shards"):
            return words
        return f"{_shape_of_tree(self.tree, bool(self.tensors))}, {words}"

    @cached_property
    def is_nested(self) -> bool:
        """Whether the tensors lie in containers below the root."""
        return self.tensors.are_nested and module_parts(self.tree) is None

    @cached_property
    def top_level_keys(self) -> tuple[TopLevelKey, ...]:
        """The entries of the root that hold tensors of their own, most bytes first; none when the file is flat."""
        if not isinstance(self.tree, Dict) or not self.is_nested:
            return ()
        counts: dict[str, tuple[int, int]] = {}
        for tensor in self.tensors:
            if len(tensor.path) > 1:
                key = str(tensor.path[0])
                n, nbytes = counts.get(key, (0, 0))
                counts[key] = n + 1, nbytes + tensor.nbytes
        holders = {
            str(key) for key, value in self.tree.pairs if isinstance(value, (Dict, Opaque)) and type(key) in (str, int)
        }
        found = [TopLevelKey(key, n, nbytes) for key, (n, nbytes) in counts.items() if key in holders]
        return tuple(sorted(found, key=lambda each: -each.nbytes))

    def under(self, top_level_key: str | None) -> tuple[tuple[str, TensorRef], ...]:
        """Key and tensor of all that lies below ``top_level_key``, in file order; of everything for None.

        WorkbenchError ``top-level-key`` when there is none such.
        """
        if top_level_key is None:
            return tuple(zip(self.tensors.keys, self.tensors, strict=True))
        candidates = self.top_level_keys
        if top_level_key not in {each.key for each in candidates}:
            listed = ", ".join(
                f"{printable(each.key, 80)!r} ({count_text(each.n_tensors, 'tensor')})" for each in candidates[:8]
            )
            shown = repr(printable(top_level_key, 80))
            is_there = isinstance(self.tree, Dict) and any(key == top_level_key for key, _ in self.tree.pairs)
            raise WorkbenchError(
                f"No tensors lie below the key {shown}." if is_there else f"There is no top-level key {shown}.",
                path=self.path,
                cause=f"Those with tensors are {listed}." if listed else "The tensors of this file lie at its top.",
                next_step="Choose one of them, or none for all tensors." if listed else "Leave the top-level key out.",
                code="top-level-key",
            )
        return tuple(
            (".".join(map(str, tensor.path[1:])), tensor)
            for tensor in self.tensors
            if len(tensor.path) > 1 and str(tensor.path[0]) == top_level_key
        )

    def tensor(self, key: str) -> TensorRef:
        """The tensor of that key, unread. UnknownKeyError when there is none or several, with near names."""
        row = self._rows.get(key) if isinstance(key, str) else None
        if row is not None and row >= 0:
            return self.tensors[row]
        shown = printable(str(key), 200)
        if row is not None:
            raise TensorError(
                f"{count_text(-row, 'tensor')} have the key {shown!r}.",
                path=self.path,
                cause="Different containers give them the same joined name.",
                next_step="Find the one you mean in .tensors by its .path.",
                code="several-tensors",
            )
        import difflib

        near = difflib.get_close_matches(str(key)[:200], list(self._rows)[:5000], n=3)
        raise UnknownKeyError(
            f"There is no tensor {shown!r}.",
            path=self.path,
            cause=f"Near it: {', '.join(repr(printable(each, 80)) for each in near)}." if near else "",
            next_step="List them with .keys() or .frame().",
            code="unknown-key",
        )

    def check_unchanged(self) -> None:
        """OpenError `changed` when the file is not the one that was opened; of several files, the first or the last."""
        for row in {0, len(self.tensors) - 1} if len(self.tensors) else ():
            self.tensors[row].storage.check_unchanged()

    def __getitem__(self, key: str) -> npt.NDArray[Any]:
        return self.tensor(key).read()

    def __contains__(self, key: object) -> bool:
        return key in self._rows if isinstance(key, str) else False

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def frame(self) -> pd.DataFrame:
        """One row a tensor, in file order: key, shape, dtype, nbytes."""
        import pandas as pd

        return pd.DataFrame(
            {
                "key": self.tensors.keys,
                "shape": self.tensors.shapes,
                "dtype": [dtype.name for dtype in self.tensors.dtypes],
                "nbytes": self.tensors.sizes,
            }
        )

    def _title(self) -> str:
        sums = f"{count_text(len(self.tensors), 'tensor')}, {bytes_text(self.nbytes)}"
        return f"{printable(self.name, 120)}: {printable(self.kind, 160)}, {sums}"

    def _notes(self) -> str:
        loud = [finding for finding in self.findings if finding.severity is not Severity.NOTE]
        return f"{count_text(len(loud), 'finding')} in .findings" if loud else ""

    def __repr__(self) -> str:
        rows = [_row(tensor) for tensor in self.tensors[:_ROWS_SHOWN]]
        lines = [self._title()]
        if rows:
            widths = [max(len(row[i]) for row in rows) for i in range(4)]
            for key, shape, dtype, size, note in rows:
                line = f"  {key:<{widths[0]}}  {shape:<{widths[1]}}  {dtype:<{widths[2]}}  {size:>{widths[3]}}"
                lines.append(f"{line}  {note}" if note else line)
        more = len(self.tensors) - len(rows)
        if more:
            lines.append(f"  … {count_text(more, 'more tensor')}")
        if self._notes():
            lines.append(f"  {self._notes()}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        name, _, rest = self._title().partition(": ")
        cell = "padding:0 1em 0 0;text-align:left;border:0"
        number = f"{cell};text-align:right;font-variant-numeric:tabular-nums"
        body = []
        for tensor in self.tensors[:_ROWS_SHOWN]:
            key, shape, dtype, size, note = map(escape, _row(tensor))
            faint = f" <span style='opacity:.7'>{note}</span>" if note else ""
            body.append(
                f"<tr><td style='{cell};font-family:monospace'>{key}</td><td style='{cell}'>{shape}</td>"
                f"<td style='{cell}'>{dtype}</td><td style='{number}'>{size}{faint}</td></tr>"
            )
        more = len(self.tensors) - len(body)
        foot = [f"… {count_text(more, 'more tensor')}"] if more else []
        foot += [self._notes()] if self._notes() else []
        lines = "".join(f"<div style='opacity:.7'>{escape(line)}</div>" for line in foot)
        head = "".join(
            f"<th style='{style};opacity:.7;font-weight:normal;border-bottom:1px solid currentColor'>{title}</th>"
            for title, style in (("key", cell), ("shape", cell), ("dtype", cell), ("size", number))
        )
        table = f"<table style='border-collapse:collapse'><tr>{head}</tr>{''.join(body)}</table>" if body else ""
        return f"<div style='color:inherit'><div><b>{escape(name)}</b>: {escape(rest)}</div>{table}{lines}</div>"


def _row(tensor: TensorRef) -> tuple[str, str, str, str, str]:
    shape = printable(shape_text(tensor.shape), 40)
    note = "unreadable" if tensor.unreadable else ""
    return printable(tensor.key, _KEY_SHOWN), shape, tensor.dtype.name, bytes_text(tensor.nbytes), note


def _shape_of_tree(tree: object, has_tensors: bool) -> str:
    if isinstance(tree, TensorRef):
        return "one tensor"
    if isinstance(tree, Opaque):
        what = "whole model" if module_parts(tree) is not None else "object"
        return f"{what} `{printable(tree.class_path, 100)}`"
    if not has_tensors:
        return "no tensors"
    if isinstance(tree, (list, tuple)):
        return "list" if isinstance(tree, list) else "tuple"
    if isinstance(tree, Dict):
        values = [value for _, value in tree.pairs]
        if all(isinstance(value, (TensorRef, StorageNode)) for value in values):
            return "flat state_dict"
        if any(isinstance(value, TensorRef) for value in values) and not any(
            isinstance(value, (Dict, Opaque, list, tuple)) for value in values
        ):
            return "flat state_dict"
        if any(module_parts(value) is not None for value in values):
            return "nested, with a whole model"
    return "nested"


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Open a checkpoint: its tree and table of tensors, no tensor bytes, nothing of it run.

    The path may name a file, a sharded checkpoint by its folder, its index or one of its shards, or a folder of .npy
    files that an export wrote. OpenError when it is broken, NotACheckpointError when it is something else.
    """
    try:
        return _checkpoint(open_path(path))
    except (MemoryError, RecursionError) as error:
        raise _out_of_memory(os.fspath(path), error) from None


def checkpoint_of(source: ByteSource) -> Checkpoint:
    """The checkpoint in an open source."""
    try:
        return _checkpoint(open_source(source))
    except (MemoryError, RecursionError) as error:
        raise _out_of_memory(source.path or source.name, error) from None


def _out_of_memory(path: str, error: Exception) -> WorkbenchError:
    return WorkbenchError(
        "The file needs more memory than there is.", path=path, cause=type(error).__name__, code="out-of-memory"
    )


def _checkpoint(opened: Opened) -> Checkpoint:
    contents = opened.contents
    tensors = contents.tensors if isinstance(contents.tensors, Tensors) else Tensors(contents.tensors)
    rows = tensors.rows
    findings = list(contents.findings)
    if len(rows) < len(tensors):
        counts = Counter(tensors.keys)
        shared = {key: counts[key] for key in rows if counts[key] > 1}
        rows = rows | {key: -n for key, n in shared.items()}
        for key, n in list(shared.items())[:_ROWS_SHOWN]:
            text = f"{n} tensors have the joined key {printable(key, 120)!r}: read them from .tensors."
            findings.append(Finding("same-key", Severity.WARNING, f"key {printable(key, 120)}", text))
    return Checkpoint(
        name=opened.name,
        path=opened.path,
        size=opened.size,
        format=contents.format,
        tree=contents.tree,
        tensors=tensors,
        findings=grouped(findings),
        metadata=contents.metadata,
        fingerprint=contents.fingerprint,
        beside=contents.beside,
        names=contents.names,
        written=contents.written,
        _rows=rows,
    )
