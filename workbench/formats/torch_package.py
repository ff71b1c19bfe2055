"""torch.package: pickles and Python source in one zip, of which only the pickles are read.

Each `<package>/<resource>.pkl` is a pickle of its own; the bytes of storage K are the entry `.data/K.storage`. The
source files of the package are what its loader would import: they are counted, never run.
"""

from __future__ import annotations

from typing import Final

from workbench.core.tree import Dict
from workbench.errors import NotACheckpointError, printable
from workbench.finding import Finding, Severity
from workbench.formats.contents import Contents, beside_the_table, fingerprint, table
from workbench.formats.limits import MAX_PICKLE
from workbench.formats.pickle.rebuild import TreeBuilder
from workbench.formats.torch_storages import Storages, byte_order, run_pickle, text_of
from workbench.formats.zip_directory import Entry, ZipDirectory

__all__ = ["name", "read_zip"]

name: Final = "torch-package"

_MAX_PICKLES: Final = 1_000


def read_zip(directory: ZipDirectory, root: str) -> Contents:
    """The tensors of all pickles of the package below `root`; of several, each under the name of its entry."""
    source = directory.source
    byteorder = byte_order(directory, root)
    pickled, n_code = _entries(directory, root)
    if not pickled:
        raise NotACheckpointError(
            "This is a torch.package without a pickle in it: code, text or binary data only.",
            path=source.path or source.name,
            next_step="Choose the package that holds the model.",
            code="torch-package",
        )
    findings = list(directory.findings)
    storages = Storages(directory, root, byteorder == "big", folder=".data/", suffix=".storage")
    trees: list[tuple[str, object]] = []
    raw: list[bytes] = []
    names: dict[str, str] = {}
    room = MAX_PICKLE
    for entry in pickled[:_MAX_PICKLES]:
        room -= entry.size
        if room < 0:
            break
        data = directory.read(entry)
        builder = TreeBuilder(storages.resolve, entry.place)
        trees.append((entry.name[len(root) :], run_pickle(directory, data, builder, entry)))
        raw.append(data)
        names |= builder.kinds()
        findings += builder.findings()
    if len(trees) < len(pickled):
        text = f"The package holds {len(pickled):,} pickles; only the first {len(trees):,} are read."
        findings.append(Finding("more-pickles", Severity.WARNING, f"entry {pickled[len(trees)].place}", text))
    findings += storages.findings()
    if n_code:
        what = "1 file" if n_code == 1 else f"{n_code:,} files"
        text = (
            f"The package brings {what} of Python code along, which torch.package.PackageImporter would run as you. "
            "Nothing was run here."
        )
        findings.append(Finding("packaged-code", Severity.NOTE, f"entry {printable(root, 80)}", text))
    tree = trees[0][1] if len(trees) == 1 else Dict(trees)
    beside, noticed = beside_the_table(tree)
    findings += noticed
    metadata = {
        "root": root.rstrip("/"),
        "version": (text_of(directory, f"{root}.data/version") or "").strip(),
        "python": (text_of(directory, f"{root}.data/python_version") or "").strip(),
        "byteorder": byteorder or "",
        "pickles": ", ".join(printable(key, 80) for key, _ in trees[:20]),
    }
    return Contents(
        name,
        tree,
        table(tree),
        tuple(findings),
        {key: value for key, value in metadata.items() if value},
        fingerprint(*raw, directory.raw),
        beside=beside,
        names=names,
    )


def _entries(directory: ZipDirectory, root: str) -> tuple[list[Entry], int]:
    """The pickles of a package in the order of the zip, and how many files of code there are."""
    pickled = []
    n_code = 0
    hidden = f"{root}.data/"
    for entry in directory.entries:
        if not entry.name.startswith(root) or entry.name.startswith(hidden):
            continue
        if entry.name.endswith(".py"):
            n_code += 1
        elif _begins_as_pickle(directory, entry):
            pickled.append(entry)
    return pickled, n_code


def _begins_as_pickle(directory: ZipDirectory, entry: Entry) -> bool:
    """torch.package writes protocol 3 under any name its user chose; text and binary data lie beside the pickles."""
    if directory.is_repeated(entry.name) or entry.method != 0 or entry.size < 3:
        return entry.name.endswith(".pkl") and not directory.is_repeated(entry.name)
    begin, _ = directory.data_begin(entry)
    head = directory.source.read_exact(begin, 2)
    return head[0] == 0x80 and 2 <= head[1] <= 5
