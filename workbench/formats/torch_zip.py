"""PyTorch's zip checkpoints: torch.save since version 1.6."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from workbench.core.source import ByteSource
from workbench.core.tensor import DTYPES, DType, Storage
from workbench.core.tree import StorageNode
from workbench.errors import NotACheckpointError, OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats.contents import Contents, findings_of_tree, fingerprint, table
from workbench.formats.pickle.machine import Machine
from workbench.formats.pickle.names import storage_dtype
from workbench.formats.pickle.rebuild import TreeBuilder, storage_class
from workbench.formats.zip_directory import Entry, ZipDirectory, read_directory

__all__ = ["name", "read", "sniff"]

name: Final = "torch-zip"

_MAX_STORAGE_FINDINGS: Final = 20
_MAX_NUMEL: Final = 1 << 60

# Protocol 0 has persistent ids as text only, and torch lets Python print the tuple.
_ID_AS_TEXT: Final = re.compile(
    r"\('storage', <class '([\w.]{1,80})'>, '(\w{1,40})', '[\w:]{1,40}', ([0-9]{1,18})\)", re.ASCII
)


def sniff(source: ByteSource) -> bool:
    """Whether the first bytes are those of a zip; what kind of zip it is, `read` tells."""
    return source.size >= 4 and source.read_exact(0, 4) in (b"PK\x03\x04", b"PK\x05\x06")


def read(source: ByteSource) -> Contents:
    """Tree and tensors of a zip checkpoint, no tensor bytes. NotACheckpointError for the other zips torch writes."""
    directory = read_directory(source)
    root, findings = _root(directory)
    findings = [*directory.findings, *findings]
    pickled = _needed(directory, f"{root}data.pkl")
    data = directory.read(pickled)
    byteorder = _text(directory, f"{root}byteorder")
    if byteorder not in (None, "little", "big"):
        raise OpenError(
            f"Its byte order is {printable(repr(byteorder), 40)}, which is neither little nor big.",
            path=source.path or source.name,
            place=f"entry {root}byteorder",
            next_step="Save it again with torch.save.",
            code="byteorder",
        )
    if directory.find(f"{root}version") is None:
        findings.append(
            Finding(
                "no-version",
                Severity.WARNING,
                f"entry {printable(root, 80)}version",
                "The record `version` is missing: torch.load refuses this file.",
                "Save it again with torch.save, or export the tensors from here.",
            )
        )
    storages = _Storages(directory, root, byteorder == "big")
    builder = TreeBuilder(storages.resolve, pickled.place)
    tree = _run(data, builder, pickled, source)
    findings += builder.findings()
    findings += storages.findings()
    findings += findings_of_tree(tree)
    metadata = {"root": root.rstrip("/"), "version": (_text(directory, f"{root}version") or "").strip()}
    if byteorder is not None:
        metadata["byteorder"] = byteorder
    return Contents(
        name,
        tree,
        table(tree),
        tuple(findings),
        {k: v for k, v in metadata.items() if v},
        fingerprint(data, directory.raw),
    )


def _run(data: bytes, builder: TreeBuilder, entry: Entry, source: ByteSource) -> object:
    where = source.path or source.name
    machine = Machine(data, builder, on_disk=entry.packed, name=where, entry=entry.place)
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


def _root(directory: ZipDirectory) -> tuple[str, list[Finding]]:
    """The folder inside the zip that holds data.pkl, with its slash; errors that say what other zip this is."""
    source = directory.source
    names = [entry.name for entry in directory.entries]
    pickles = [entry.name for entry in directory.entries if entry.name.lower().rpartition("/")[2] == "data.pkl"]
    first = names[0].partition("/")[0] + "/" if names and "/" in names[0] else ""
    roots = list(dict.fromkeys(found.rpartition("/")[0] + "/" if "/" in found else "" for found in pickles))
    root = first if first in roots else roots[0] if len(roots) == 1 else None
    for mark, build in _OTHER_ZIPS:
        if any(directory.find(f"{folder}{mark}") is not None for folder in {first, root or ""}):
            raise build(source)
    if not pickles:
        raise _no_pickle(source, names)
    if root is None:
        raise OpenError(
            f"The zip holds {len(pickles):,} checkpoints at once: {printable(', '.join(pickles[:4]), 200)}.",
            path=source.path or source.name,
            next_step="Unpack it and open the one you want.",
            code="several-roots",
        )
    findings = []
    if root != first or root == "":
        findings.append(
            Finding(
                "odd-root",
                Severity.WARNING,
                f"entry {printable(root, 80)}data.pkl",
                "data.pkl does not lie in the folder of the first entry: torch.load refuses this file.",
                "Save it again with torch.save, or export the tensors from here.",
            )
        )
    others = sorted({found.partition("/")[0] for found in names if not found.startswith(root)})
    if others:
        findings.append(
            Finding(
                "entries-outside-root",
                Severity.NOTE,
                f"entry {printable(others[0], 80)}",
                f"{len(others):,} names lie outside the folder `{printable(root, 80)}`; torch.load ignores them.",
            )
        )
    return root, findings


def _zip_error(title: str, next_step: str, code: str) -> Callable[[ByteSource], NotACheckpointError]:
    def build(source: ByteSource) -> NotACheckpointError:
        return NotACheckpointError(title, path=source.path or source.name, next_step=next_step, code=code)

    return build


_OTHER_ZIPS: Final = (
    (
        "constants.pkl",
        _zip_error(
            "This is a TorchScript program (torch.jit.save), not a checkpoint; it is not read yet.",
            "Save its weights: torch.save(torch.jit.load(path).state_dict(), 'weights.pt').",
            "torchscript",
        ),
    ),
    (
        "archive_format",
        _zip_error(
            "This is an exported program (torch.export, .pt2), not a checkpoint; it is not read yet.",
            "Save its weights: torch.save(torch.export.load(path).state_dict, 'weights.pt').",
            "torch-export",
        ),
    ),
    (
        ".data/extern_modules",
        _zip_error(
            "This is a torch.package, code and data together; it is not read.",
            "Load it with torch.package.PackageImporter and save the model's state_dict() with torch.save.",
            "torch-package",
        ),
    ),
)


def _no_pickle(source: ByteSource, names: list[str]) -> NotACheckpointError:
    where = source.path or source.name
    if names and all(found.endswith(".npy") for found in names):
        return NotACheckpointError(
            "This is a numpy archive (.npz); it is not read yet.",
            path=where,
            next_step="Load it with numpy.load and save it with safetensors.numpy.save_file.",
            code="npz",
        )
    inside = [found for found in names if found.lower().endswith((".pt", ".pth", ".bin", ".ckpt", ".safetensors"))]
    if inside:
        return NotACheckpointError(
            f"This is a zip file with {printable(inside[0], 120)} in it.",
            path=where,
            next_step="Unpack it and open that file.",
            code="zip-of-a-checkpoint",
        )
    looks = any(found.rpartition("/")[0].endswith("data") or found.endswith("/version") for found in names)
    listed = printable(", ".join(names[:5]), 200) or "nothing"
    return NotACheckpointError(
        "This looks like a PyTorch checkpoint without its data.pkl." if looks else "This zip file is no checkpoint.",
        path=where,
        cause=f"It holds {listed}{', ..' if len(names) > 5 else ''}.",
        next_step="Fetch the file again." if looks else "Choose a file that torch.save or safetensors wrote.",
        code="no-pickle" if looks else "other-zip",
    )


def _needed(directory: ZipDirectory, entry_name: str) -> Entry:
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


def _text(directory: ZipDirectory, entry_name: str) -> str | None:
    entry = directory.find(entry_name)
    if entry is None:
        return None
    _needed(directory, entry_name)
    return directory.read(entry)[:64].decode("ascii", "replace") if entry.size <= 64 else "?"


class _Storages:
    """Turns ``("storage", class, key, location, numel)`` into storages, each once."""

    def __init__(self, directory: ZipDirectory, root: str, big_endian: bool) -> None:
        self._directory = directory
        self._root = root
        self._big_endian = big_endian
        self._known: dict[tuple[str, str, int], StorageNode] = {}
        self._found: list[tuple[str, str, str]] = []
        self._differing: list[str] = []

    def resolve(self, pid: object) -> StorageNode | None:
        """The storage, with the reason when its bytes cannot be used; None when the id is none of torch's."""
        if type(pid) is tuple and len(pid) == 5 and pid[0] == "storage":
            _, kind, key, location, numel = pid
            dtype_name = storage_class(kind)
        elif type(pid) is str and (written := _ID_AS_TEXT.fullmatch(pid)):
            dtype_name, key, location, numel = storage_dtype(written[1]), written[2], "", int(written[3])
        else:
            return None
        if (
            dtype_name is None
            or type(key) is not str
            or type(numel) is not int
            or not 0 <= numel < _MAX_NUMEL
            or not isinstance(location, str)
        ):
            return None
        known = self._known.get((dtype_name, key, numel))
        if known is None:
            dtype = DTYPES[dtype_name] if dtype_name else None
            known = self._known[dtype_name, key, numel] = self._open(key, dtype, numel)
        return known

    def _open(self, key: str, dtype: DType | None, numel: int) -> StorageNode:
        entry_name = f"{self._root}data/{key}"
        storage_id = f"data/{key}"
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
        return StorageNode(storage, dtype, numel, big_endian=self._big_endian, problem=problem)

    def findings(self) -> list[Finding]:
        """What was wrong with storages, the first of each kind one by one."""
        found = []
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
