"""PyTorch's zip checkpoints: torch.save since version 1.6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from zlib import crc32

from workbench.core.source import ByteSource
from workbench.errors import NotACheckpointError, OpenError, printable
from workbench.finding import Finding, Severity
from workbench.formats import pt2, torch_package, torchscript
from workbench.formats.contents import Contents, beside_the_table, fingerprint, table
from workbench.formats.pickle.feed import Window
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.torch_storages import Storages, byte_order, needed, run_pickle, text_of
from workbench.formats.zip_directory import ZipDirectory, read_directory

__all__ = ["name", "read", "sniff"]

name: Final = "torch-zip"


def sniff(source: ByteSource) -> bool:
    """Whether the first bytes are those of a zip; what kind of zip it is, `read` tells."""
    return source.size >= 4 and source.read_exact(0, 4) in (b"PK\x03\x04", b"PK\x05\x06")


def read(source: ByteSource) -> Contents:
    """Tree and tensors of a zip of PyTorch, no tensor bytes. NotACheckpointError for the zips of others.

    A TorchScript program, an exported program and a torch.package are told by one entry each, as torch tells them.
    """
    directory = read_directory(source)
    root, first = _roots(directory)
    for mark, read_zip in _OTHER_ZIPS:
        beside_pickle = mark == "constants.pkl" and root is not None
        for folder in (root or "",) if beside_pickle else dict.fromkeys((first, root or "")):
            if directory.find(f"{folder}{mark}") is not None:
                return read_zip(directory, folder)
    return _read_checkpoint(directory, root, first)


def _read_checkpoint(directory: ZipDirectory, found: str | None, first: str) -> Contents:
    root, findings = _root(directory, found, first)
    findings = [*directory.findings, *findings]
    pickled = needed(directory, f"{root}data.pkl")
    data = directory.read(pickled)
    byteorder = byte_order(directory, root)
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
    storages = Storages(directory, root, byteorder == "big")
    builder = TreeBuilder(storages.resolve, pickled.place, bulk=storages)
    tree = run_pickle(directory, data, builder, pickled)
    findings += builder.findings()
    findings += storages.findings()
    beside, noticed = beside_the_table(tree)
    findings += noticed
    metadata = {"root": root.rstrip("/"), "version": (text_of(directory, f"{root}version") or "").strip()}
    if byteorder is not None:
        metadata["byteorder"] = byteorder
    return Contents(
        name,
        tree,
        table(tree),
        tuple(findings),
        {k: v for k, v in metadata.items() if v},
        fingerprint(data, directory.raw),
        beside=beside,
        names=builder.kinds(),
        written=replace(
            builder.written(directory.names[0]),
            has_zip64=_has_zip64(directory.source),
            is_checked=crc32(data) == pickled.crc,
        ),
    )


def _has_zip64(source: ByteSource) -> bool:
    """Whether a file without comment ends as torch ends its own: zip64 record, locator, and a plain end record."""
    if source.size < 42:
        return False
    tail = source.read_exact(source.size - 42, 42)
    return tail[:4] == b"PK\x06\x07" and tail[20:24] == b"PK\x05\x06" and tail[36:40] != b"\xff\xff\xff\xff"


def _read_older_export(directory: ZipDirectory, root: str) -> Contents:
    """An exported program of torch 2.1 to 2.7: a checkpoint of its weights lies inside the zip, as one entry.

    It is read as a checkpoint and nothing else, so that zips within zips end here.
    """
    source = directory.source
    for entry_name in ("serialized_state_dict.pt", "serialized_state_dict.json"):
        entry = directory.find(f"{root}{entry_name}")
        if entry is None or entry.method != 0 or entry.size != entry.packed:
            continue
        begin, _ = directory.data_begin(needed(directory, entry.name))
        inner = read_directory(Window(source, begin, entry.size))
        made = _read_checkpoint(inner, *_roots(inner))
        metadata = {"weights": entry_name, **made.metadata}
        return replace(made, format=pt2.name, metadata=metadata, findings=(*directory.findings, *made.findings))
    raise NotACheckpointError(
        "This is an exported program (.pt2) whose weights are missing or compressed.",
        path=source.path or source.name,
        place=f"entry {printable(root, 80)}serialized_state_dict.pt",
        next_step="Save them where it was made: torch.save(exported.state_dict, 'weights.pt').",
        code="torch-export",
    )


_OTHER_ZIPS: Final = (
    ("constants.pkl", torchscript.read_zip),
    ("archive_format", pt2.read_zip),
    ("serialized_exported_program.json", _read_older_export),
    (".data/extern_modules", torch_package.read_zip),
)


def _roots(directory: ZipDirectory) -> tuple[str | None, str]:
    """The folder of data.pkl, None when there is none or several, and the folder of the first entry; with a slash."""
    names = directory.names
    first = names[0].partition("/")[0] + "/" if names and "/" in names[0] else ""
    roots = dict.fromkeys(found[: -len("data.pkl")] for found in _pickles(names))
    return first if first in roots else next(iter(roots)) if len(roots) == 1 else None, first


def _pickles(names: Sequence[str]) -> list[str]:
    likely = [found for found in names if found[-1:] in "lL"]
    return [found for found in likely if found.lower().rpartition("/")[2] == "data.pkl"]


def _root(directory: ZipDirectory, root: str | None, first: str) -> tuple[str, list[Finding]]:
    """The folder inside the zip that holds data.pkl, with its slash; errors that say what other zip this is."""
    source = directory.source
    names = directory.names
    if root is None:
        pickles = _pickles(names)
        if not pickles:
            raise _no_pickle(source, names)
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


def _no_pickle(source: ByteSource, names: Sequence[str]) -> NotACheckpointError:
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
