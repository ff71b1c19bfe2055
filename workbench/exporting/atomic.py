"""Several files, put in place together: all of them, or nothing changes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.core.text import bytes_text
from workbench.errors import ExportError

_PREFIX = ".workbench-"


@contextlib.contextmanager
def staged(
    folder: Path, names: Sequence[str], *, overwrite: bool, sources: Sequence[str] = (), needed: int = 0
) -> Iterator[Path]:
    """A hidden folder to write `names` into; when the block ends they stand in `folder`, the last name last.

    Where the block raises, or a file cannot be put in place, everything is as it was: old files whole, no
    folder made. Other files in `folder` are never touched. Raises `ExportError` before the block where
    `folder` cannot take the files: it is a file, holds some of them already (without `overwrite`), one of
    them is one of `sources`, or the disk has less than `needed` bytes left.
    """
    check_folder(folder, names, overwrite=overwrite, sources=sources)
    check_space(folder, needed)
    made: list[Path] = []
    staging: Path | None = None
    done = False
    try:
        # A folder that exists may be on another file system than its parent: write inside it.
        is_new = not os.path.lexists(folder)
        if is_new:
            made = _make_parents(folder.parent)
        staging = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder.parent if is_new else folder))
        new = staging / "new"
        new.mkdir()
        yield new
        for name in names:
            _sync(new / name)
        if is_new:
            _sync(new)
            os.rename(new, folder)
        else:
            _replace_all(folder, names, new, staging)
        done = True
        with contextlib.suppress(OSError):
            _sync(folder)
            _sync(folder.parent)
    except OSError as error:
        raise not_written(folder, error) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if not done:
            for parent in reversed(made):
                with contextlib.suppress(OSError):
                    parent.rmdir()


def check_folder(folder: Path, names: Sequence[str], *, overwrite: bool, sources: Sequence[str] = ()) -> None:
    """Raise `ExportError` where `names` may not be written into `folder`; touches nothing."""
    if "\0" in str(folder):
        raise _refusal(folder, "No path can hold a NUL.", "Choose another folder.", code="not-written")
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise _refusal(folder, "This is a file, not a folder.", "Choose another folder.", code="folder-is-a-file")
        present = [name for name in names if os.path.lexists(folder / name)]
        for name in present:
            if any(os.path.exists(source) and _same_file(folder / name, source) for source in sources):
                raise _refusal(
                    folder / name,
                    "This file is the checkpoint itself; an export never writes over its source.",
                    "Choose another folder.",
                    code="writes-over-source",
                )
            if (folder / name).is_dir():
                raise _refusal(
                    folder / name,
                    "This is a folder, and a file of that name has to be written.",
                    "Choose another folder.",
                    code="file-is-a-folder",
                )
    except OSError as error:
        raise not_written(folder, error) from error
    if present and not overwrite:
        many = len(present) > 1
        raise _refusal(
            folder,
            f"{_listed(present)} {'exist' if many else 'exists'} already.",
            "Choose another folder, or allow overwriting (overwrite=True, --overwrite).",
            code="files-exist",
        )


def check_space(folder: Path, needed: int) -> None:
    """Raise `ExportError` where the disk of `folder`, which need not exist, has less than `needed` bytes left."""
    place = folder.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return  # What cannot be told beforehand is told by the writing.
    if free < needed:
        raise _refusal(
            folder,
            f"The disk has {bytes_text(free)} left, and the files take {bytes_text(needed)}.",
            "Free some space or choose another folder.",
            code="disk-full",
        )


def not_written(folder: Path, error: OSError) -> ExportError:
    """What the system said, as an `ExportError`."""
    number = error.errno
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _refusal(folder, "No permission to write.", "Choose another folder.", code="no-permission")
    if number in (errno.ENOSPC, errno.EDQUOT):
        return _refusal(folder, "The disk is full.", "Free some space or choose another folder.", code="disk-full")
    if number in (errno.EEXIST, errno.ENOTEMPTY):
        return _refusal(
            folder, "This folder appeared while its files were written.", "Export again.", code="files-exist"
        )
    if number == errno.ENOTDIR:
        return _refusal(
            folder,
            "A part of this path is a file, not a folder.",
            "Choose another folder.",
            code="folder-is-a-file",
        )
    said = error.strerror or str(error)
    return _refusal(folder, f"The files cannot be written: {said}.", "Choose another folder.", code="not-written")


def _refusal(path: Path, title: str, next_step: str, *, code: str) -> ExportError:
    return ExportError(title, path=str(path), cause="Nothing was changed.", next_step=next_step, code=code)


def _replace_all(folder: Path, names: Sequence[str], new: Path, staging: Path) -> None:
    """Put each file in place; where one fails, put the old ones back."""
    old = staging / "old"
    old.mkdir()
    kept = {name for name in names if os.path.lexists(folder / name)}
    placed: list[str] = []
    try:
        for name in names:
            if name in kept:
                _keep(folder / name, old / name)
            placed.append(name)
            os.replace(new / name, folder / name)
    except BaseException:
        for name in reversed(placed):
            if name in kept:
                os.replace(old / name, folder / name)
            elif not os.path.lexists(new / name):
                os.unlink(folder / name)
        raise


def _keep(file: Path, copy: Path) -> None:
    """A second name for `file`, which stays in place until replaced; where there are no links, it is moved."""
    if file.is_dir() and not file.is_symlink():
        raise IsADirectoryError(errno.EISDIR, f"{file.name} has become a folder")
    try:
        os.link(file, copy, follow_symlinks=False)
    except OSError:
        os.rename(file, copy)


def _make_parents(folder: Path) -> list[Path]:
    """The folders that had to be made for `folder` to exist, outermost first."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
    made: list[Path] = []
    try:
        for path in reversed(missing):
            path.mkdir()
            made.append(path)
    except OSError:
        for path in reversed(made):
            path.rmdir()
        raise
    return made


def _same_file(one: Path, other: str) -> bool:
    return os.path.exists(one) and os.path.samefile(one, other)


def _sync(path: Path) -> None:
    """Have the system write `path` (file or folder) to the disk."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
