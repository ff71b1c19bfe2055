"""Checkpoints split over several files: an index and the shards it lists, or shards that number themselves.

The index is a convention of the transformers library, not a format: ``{"metadata": {"total_size": ..}, "weight_map":
{key: file name}}``. The shards say what is there; the index is a claim that they are compared with.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from workbench.core import sharing
from workbench.core.source import MAX_READ, ByteSource, FileSource
from workbench.core.tensor import Storage, TensorRef
from workbench.core.tree import Dict
from workbench.errors import OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats import read as read_file
from workbench.formats.contents import Contents, fingerprint
from workbench.formats.limits import MAX_INDEX, MAX_ROWS, MAX_SHARDS
from workbench.formats.strict_json import JsonProblem, parse

__all__ = ["NUMBERED", "Index", "Numbered", "is_index", "open_set", "plain_name", "read_index"]

NUMBERED: Final = re.compile(r"(.{1,200})-([0-9]{5})-of-([0-9]{5})\.(safetensors|bin|pth?)", re.DOTALL | re.ASCII)
"""A shard that numbers itself: ``model-00001-of-00003.safetensors``."""

_LISTED: Final = 20
_NOT_A_NAME: Final = re.compile(r'[/\\:\x00-\x1f\x7f<>"|?*]')
_FETCH: Final = "Fetch it from where the others came from, into the same folder."


@dataclass(frozen=True, slots=True)
class Index:
    """A ``*.index.json``, read and checked: which shard should hold each key."""

    path: str
    raw: bytes = field(repr=False)
    weight_map: dict[str, str] = field(repr=False)
    metadata: dict[str, object] = field(repr=False)

    @property
    def shards(self) -> tuple[str, ...]:
        """The base names of its files, sorted as loaders do."""
        return tuple(sorted(set(self.weight_map.values())))


@dataclass(frozen=True, slots=True)
class Numbered:
    """Shards without an index, as a folder has them: ``stem-NNNNN-of-MMMMM.suffix``."""

    folder: str
    stem: str
    count: int
    suffix: str
    shards: tuple[str, ...]

    @property
    def name(self) -> str:
        """The set in one name, for messages."""
        return f"{self.stem}-*-of-{self.count:05}.{self.suffix}"


def plain_name(text: object) -> bool:
    """Whether it can only name a file beside the index: no separator of any system, drive, scheme or dots alone."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= 255
        and not _NOT_A_NAME.search(text)
        and text not in (".", "..")
        and not any(0xD800 <= ord(c) <= 0xDFFF for c in text)
    )


def is_index(source: ByteSource) -> bool:
    """Whether it is JSON text with a ``weight_map``."""
    head = source.read_exact(0, min(source.size, 4096))
    if not re.match(rb'(?:\xef\xbb\xbf)?\s*\{\s*"', head) or source.size > MAX_INDEX or b"\0" in head:
        return False
    return b'"weight_map"' in head or b'"weight_map"' in _whole(source)


def _whole(source: ByteSource) -> bytes:
    return b"".join(source.read_exact(at, min(MAX_READ, source.size - at)) for at in range(0, source.size, MAX_READ))


def read_index(source: ByteSource) -> Index:
    """The index in ``source``. OpenError where it is broken, or where a shard's name leads elsewhere."""
    if source.size > MAX_INDEX:
        raise _broken(source, f"It has {source.size:,} bytes; the limit is {MAX_INDEX:,}.", code="too-big")
    raw = _whole(source)
    try:
        root = parse(raw)
    except JsonProblem as problem:
        raise _broken(source, f"In its text, {problem}.") from None
    if not isinstance(root, dict) or not isinstance(root.get("weight_map"), dict):
        raise _broken(source, "It holds no object `weight_map`.")
    weight_map: dict[str, str] = root["weight_map"]
    if len(weight_map) > MAX_ROWS:
        raise _broken(source, f"It lists {len(weight_map):,} tensors; the limit is {MAX_ROWS:,}.", code="too-big")
    if not weight_map:
        raise _broken(source, "Its `weight_map` is empty.")
    checked: set[str] = set()
    for key, shard in weight_map.items():
        if not isinstance(shard, str) or (shard not in checked and not plain_name(shard)):
            shown = printable(repr(shard)[:300], 120)
            cause = f"It says {shown}, which is no plain name of a file beside the index."
            raise _broken(source, cause, place=f"key {printable(key, 120)!r}", code="shard-name")
        checked.add(shard)
    if len(checked) > MAX_SHARDS:
        raise _broken(source, f"It names {len(checked):,} shards; the limit is {MAX_SHARDS:,}.", code="too-big")
    metadata = root.get("metadata")
    return Index(source.path or source.name, raw, weight_map, metadata if isinstance(metadata, dict) else {})


def _broken(source: ByteSource, cause: str, *, place: str = "", code: str = "broken-index") -> OpenError:
    return OpenError(
        "This index of a sharded checkpoint is broken.",
        path=source.path or source.name,
        place=place,
        cause=cause,
        next_step="Fetch it again, or open one of the shards.",
        code=code,
    )


def open_set(what: Index | Numbered, beside: Sequence[str]) -> tuple[Contents, int]:
    """All tensors of the set, shard by shard, and the bytes of its files; ``beside`` are the names in its folder.

    What is missing, extra, twice or elsewhere becomes a finding. OpenError when no shard opens.
    """
    folder = os.path.dirname(what.path) if isinstance(what, Index) else what.folder
    reader = _Set(folder)
    for shard in what.shards:
        reader.add(shard)
    if not reader.opened:
        path = what.path if isinstance(what, Index) else folder
        first = reader.findings[0]
        raise OpenError(
            f"None of the {len(what.shards):,} shards opens.",
            path=path,
            cause=f"The first, {printable(what.shards[0], 120)}: {first.text}",
            next_step="Fetch the shards into this folder.",
            code="no-shards",
        )
    if isinstance(what, Index):
        reader.compare(what)
    reader.check_numbers(what.shards, beside)
    return reader.contents(what), reader.size


class _Set:
    """The shards opened so far, and what was noticed."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.opened: dict[str, Contents] = {}
        self.findings: list[Finding] = []
        self.size = 0
        self._tensors: dict[str, tuple[TensorRef, ...]] = {}
        self._where: dict[str, str] = {}
        self._twice: dict[str, list[str]] = {}
        self._n_tensors = 0
        self._missing: dict[str, str] = {}

    def add(self, shard: str) -> None:
        """Open one shard with a source of its own; one that is absent or broken is a finding."""
        try:
            source = FileSource(os.path.join(self.folder, shard))
            contents = read_file(source)
        except OpenError as error:
            if error.code == "cannot-open":
                raise
            absent = error.code in ("no-such-file", "broken-link")
            self._missing[shard] = "is not there" if absent else "does not open"
            text = "The shard is not there." if absent else " ".join(filter(None, (error.title, error.cause)))
            step = _FETCH if absent else error.next_step
            self._note("missing-shard" if absent else "broken-shard", Severity.ERROR, shard, text, step)
            return
        self.size += source.size
        self._n_tensors += len(contents.tensors)
        if self._n_tensors > MAX_ROWS:
            raise OpenError(
                f"The shards hold more than {MAX_ROWS:,} tensors.",
                path=source.path,
                next_step="Open the shards one by one.",
                code="too-many-tensors",
            )
        self.opened[shard] = contents
        self._tensors[shard] = _in_shard(contents.tensors, shard)
        for tensor in contents.tensors:
            first = self._where.setdefault(tensor.key, shard)
            if first != shard:
                self._twice.setdefault(tensor.key, [first]).append(shard)
        for finding in contents.findings:
            place = ", ".join(part for part in (f"shard {printable(shard, 80)}", finding.place) if part)
            self.findings.append(replace(finding, place=place))

    def compare(self, index: Index) -> None:
        """What the index says against what the shards hold."""
        missing: dict[str, list[str]] = {}
        elsewhere: list[str] = []
        for key, shard in index.weight_map.items():
            where = self._where.get(key)
            if where is None:
                missing.setdefault(shard, []).append(key)
            elif where != shard and shard not in self._twice.get(key, ()):
                elsewhere.append(f"{printable(key, 120)} (listed in {shard}, lies in {where})")
        for shard, keys in sorted(missing.items()):
            said = self._missing.get(shard, "does not hold it" if len(keys) == 1 else "does not hold them")
            listed = f"{_count(keys)} the index lists {'is' if len(keys) == 1 else 'are'} missing, for the shard {said}"
            self._note("missing-tensor", Severity.ERROR, shard, f"{listed}: {_names(keys)}.", _FETCH)
        if elsewhere:
            text = f"{_count(elsewhere)} of the index {'lies' if len(elsewhere) == 1 else 'lie'} in another shard"
            self._note(
                "index-disagrees", Severity.WARNING, "", f"{text}: {_names(elsewhere)}; the shards were followed."
            )
        extra = [key for key in self._where if key not in index.weight_map]
        if extra:
            text = (
                f"{_count(extra)} of the shards {'is' if len(extra) == 1 else 'are'} not in the index: {_names(extra)}."
            )
            self._note(
                "extra-tensor", Severity.WARNING, "", text + " Loaders that follow the index may leave them out."
            )
        total = index.metadata.get("total_size")
        every = [tensor for held in self._tensors.values() for tensor in held]
        nbytes = sum(tensor.nbytes for tensor in every)
        tied_once = nbytes - sum(tensor.nbytes for group in sharing.ties(every) for tensor in group[1:])
        # huggingface_hub counts tied tensors once, others each time.
        is_known = type(total) not in (int, float) or total in (nbytes, tied_once)
        if not (is_known or missing or extra or self._twice):
            text = f"The index says the tensors take {printable(str(total)[:40])} bytes together; they take {nbytes:,}."
            self._note("total-size", Severity.NOTE, "", text)

    def check_numbers(self, shards: Sequence[str], beside: Sequence[str]) -> None:
        """Files that say ``NNNNN of MMMMM`` against each other, and such files of the folder that are no part."""
        numbered = [match for match in map(NUMBERED.fullmatch, shards) if match]
        counts = {int(match[3]) for match in numbered}
        if len(counts) > 1:
            said = ", ".join(map(str, sorted(counts)[:8]))
            text = f"The names of the shards disagree on how many there are: {said}."
            self._note("shard-count", Severity.WARNING, "", text)
        elif counts and len(numbered) == len(shards):
            (count,) = counts
            present = {int(match[2]) for match in numbered}
            absent = [f"{n:05}" for n in range(1, count + 1) if n not in present]
            if absent:
                text = f"The names say there are {count:,} shards; missing: {_names(absent)}."
                self._note("missing-shard", Severity.ERROR, "", text, _FETCH)
            odd = sorted(present - set(range(1, count + 1)))
            if odd:
                text = f"Shard {odd[0]:05} of {count:05} cannot be: they count from 1."
                self._note("shard-count", Severity.WARNING, "", text)
        stems = {(match[1], match[4]) for match in numbered}
        known = set(shards)
        stale = [
            each
            for each in beside
            if each not in known and (match := NUMBERED.fullmatch(each)) and (match[1], match[4]) in stems
        ]
        if stale:
            verb = "looks like a shard" if len(stale) == 1 else "look like shards"
            text = (
                f"{_count(stale, 'file')} in the folder {verb} but {'is' if len(stale) == 1 else 'are'} no part of it"
            )
            self._note("extra-shard", Severity.WARNING, "", f"{text}: {_names(stale)}; left out.")
        whole = [each for each in beside if each.startswith("consolidated") and each not in known]
        if whole:
            text = f"{_names(whole)} in the folder holds the whole model once more; it is no shard and was left out."
            self._note("consolidated", Severity.NOTE, "", text, "Open it by its name to see it.")

    def contents(self, what: Index | Numbered) -> Contents:
        """Everything in one."""
        for n, (key, shards) in enumerate(self._twice.items()):
            if n == _LISTED:
                text = f"{len(self._twice) - n:,} more keys stand in several shards."
                self._note("duplicate-tensor", Severity.ERROR, "", text)
                break
            held = f"{printable(key, 120)!r} stands in several shards: {_names(shards)}"
            text = f"{held}. Loaders differ in which they take."
            self._note("duplicate-tensor", Severity.ERROR, "", text)
        tensors = tuple(tensor for held in self._tensors.values() for tensor in held)
        formats = sorted({contents.format for contents in self.opened.values()})
        if len(formats) > 1:
            self._note(
                "mixed-shards", Severity.WARNING, "", f"The shards are of several formats: {', '.join(formats)}."
            )
        metadata: dict[str, str] = {}
        if isinstance(what, Index):
            metadata |= {k: v if isinstance(v, str) else json.dumps(v) for k, v in what.metadata.items()}
        differing = set()
        for contents in self.opened.values():
            for key, value in contents.metadata.items():
                if metadata.setdefault(key, value) != value:
                    differing.add(key)
        if differing and formats == ["safetensors"]:
            text = f"The metadata of the shards differ in {_names(sorted(differing))}; the first one is shown."
            self._note("metadata-differ", Severity.NOTE, "", text)
        marks = [f"{shard}\0{contents.fingerprint}\n".encode("utf-8", "surrogateescape")
                 for shard, contents in self.opened.items()]  # fmt: skip
        raw = what.raw if isinstance(what, Index) else b""
        kind = "safetensors-shards" if formats == ["safetensors"] else "torch-shards"
        names: dict[str, str] = {}
        for contents in self.opened.values():
            names |= contents.names
        mark = fingerprint(raw, *marks)
        return Contents(kind, self._tree(), tensors, tuple(self.findings), metadata, mark, names=names)

    def _tree(self) -> Dict:
        """The entries of all roots in one; of a key that several have, the first."""
        merged: dict[int | str, object] = {}
        others: list[tuple[object, object]] = []
        for shard, contents in self.opened.items():
            if not isinstance(contents.tree, Dict):
                others.append((shard, contents.tree))
                continue
            own = {tensor.path[0]: tensor for tensor in self._tensors[shard] if len(tensor.path) == 1}
            for key, value in contents.tree.pairs:
                if isinstance(key, (str, int)):
                    merged.setdefault(key, own.get(key, value) if isinstance(value, TensorRef) else value)
                else:
                    others.append((key, value))
        return Dict([*merged.items(), *others])

    def _note(self, code: str, severity: Severity, shard: str, text: str, next_step: str = "") -> None:
        place = f"shard {printable(shard, 120)}" if shard else ""
        self.findings.append(Finding(code, severity, place, text, next_step))


def _in_shard(tensors: Sequence[TensorRef], shard: str) -> tuple[TensorRef, ...]:
    """The tensors with storages that bear the shard's name: two shards may both have a storage ``data/0``."""
    renamed: dict[int, Storage] = {}
    found = []
    for tensor in tensors:
        storage = renamed.get(id(tensor.storage))
        if storage is None:
            storage = renamed[id(tensor.storage)] = replace(tensor.storage, id=f"{shard}:{tensor.storage.id}")
        found.append(replace(tensor, storage=storage))
    return tuple(found)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(printable(each, 300) for each in names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED:,} more"


def _count(names: Sequence[str], noun: str = "tensor") -> str:
    return f"1 {noun}" if len(names) == 1 else f"{len(names):,} {noun}s"
