"""Several files, put in place together: all of them, or nothing changes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Final, TypeAlias

from workbench.core.text import bytes_text, listed_text
from workbench.errors import ExportError, printable
from workbench.writing.output import sync

_PREFIX: Final = ".workbench-"
"""How the hidden folders begin in which files lie until they are put in place: `new`, and `old` while that is done."""

_MANY: Final = 1000
"""Files that are written to the disk one by one; more of them are left to one call for everything there is."""

_Identity: TypeAlias = tuple[int, int]

_NO_FOLDERS: Final[Mapping[str, re.Pattern[str]]] = {}


@contextlib.contextmanager
def staged(
    folder: Path,
    names: Sequence[str],
    *,
    overwrite: bool,
    sources: Sequence[str] = (),
    needed: int = 0,
    folders: Mapping[str, re.Pattern[str]] = _NO_FOLDERS,
) -> Iterator[Path]:
    """A hidden folder to write `names` into; when the block ends they stand in `folder`, the last name last.

    Where the block raises, or a file cannot be put in place, everything is as it was: old files whole, no
    folder made. Other files in `folder` are never touched. Of `names`, those in `folders` are folders themselves,
    replaced as a whole: where there is one already, all in it must match the pattern. Two at once may have the same
    `folder`: each puts its files in place at a stroke. What a killed process left hidden is removed.

    Raises `ExportError` before the block where `folder` cannot take the files: it is a file, holds some of them
    already (without `overwrite`), one of them is one of `sources`, or the disk has less than `needed` bytes left.
    """
    check_folder(folder, names, overwrite=overwrite, sources=sources, folders=folders)
    _remove_stale(folder)
    check_space(folder, needed)
    made: list[Path] = []
    staging: Path | None = None
    held = -1
    done = False
    try:
        # A folder that exists may be on another file system than its parent: write inside it.
        is_new = not os.path.lexists(folder)
        if is_new:
            made = _make_parents(folder.parent)
        staging, held = _make_staging(folder.parent if is_new else folder)
        new = staging / "new"
        new.mkdir()
        yield new
        for name in names:
            _sync_all(new / name)
        if is_new:
            sync(new)
            os.rename(new, folder)
        else:
            with _locked(folder):
                # Another one may have been here meanwhile.
                check_folder(folder, names, overwrite=overwrite, sources=sources, folders=folders)
                _replace_all(folder, names, new, staging)
        done = True
        with contextlib.suppress(OSError):
            sync(folder)
            sync(folder.parent)
    except OSError as error:
        raise not_written(folder, error) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if held >= 0:
            os.close(held)
        if not done:
            for parent in reversed(made):
                with contextlib.suppress(OSError):
                    parent.rmdir()


def check_folder(
    folder: Path,
    names: Sequence[str],
    *,
    overwrite: bool,
    sources: Sequence[str] = (),
    folders: Mapping[str, re.Pattern[str]] = _NO_FOLDERS,
) -> None:
    """Raise `ExportError` where `names` may not be written into `folder`, as `staged` does; touches nothing."""
    if any("\0" in each for each in (str(folder), *names)):
        raise _refusal(folder, "No path can hold a NUL.", "Choose another folder.", code="not-written")
    try:
        if _is_there(folder) and not folder.is_dir():
            raise _refusal(folder, "This is a file, not a folder.", "Choose another folder.", code="folder-is-a-file")
        present = [name for name in names if _is_there(folder / name)]
        own = {found for source in sources if (found := _identity(source))} if present else set()
        for name in present:
            _check_present(folder / name, folders.get(name), own)
    except OSError as error:
        raise not_written(folder, error) from error
    if present and not overwrite and len(names) == 1:
        raise _refusal(
            folder / names[0],
            "This exists already.",
            "Choose another name, or allow overwriting (overwrite=True, --overwrite).",
            code="files-exist",
        )
    if present and not overwrite:
        many = len(present) > 1
        raise _refusal(
            folder,
            f"{listed_text(present)} {'exist' if many else 'exists'} already.",
            "Choose another folder, or allow overwriting (overwrite=True, --overwrite).",
            code="files-exist",
        )


def _check_present(path: Path, own: re.Pattern[str] | None, sources: Set[_Identity]) -> None:
    """Refuse what stands in place of a file, or of a folder whose files all match `own`, and must not be replaced."""
    is_folder = path.is_dir() and not path.is_symlink()
    within = list(path.iterdir()) if is_folder else [path]
    for each in within:
        if sources and _identity(each) in sources:
            raise _refusal(
                each,
                "This file is the checkpoint itself; the workbench never writes over its source.",
                "Choose another name or folder.",
                code="writes-over-source",
            )
    if own is None and path.is_dir():
        raise _refusal(
            path,
            "This is a folder, and a file of that name has to be written.",
            "Choose another folder.",
            code="file-is-a-folder",
        )
    if own is None:
        return
    if not is_folder:
        raise _refusal(
            path,
            "This is no folder, and a folder of that name has to be written.",
            "Choose another folder.",
            code="folder-is-a-file",
        )
    others = [each.name for each in within if not own.fullmatch(each.name) or each.is_dir()]
    if others:
        raise _refusal(
            path,
            f"This folder holds what no export wrote: {printable(min(others), 80)}.",
            "Move it elsewhere, or choose another folder.",
            code="folder-holds-more",
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


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone among exports in `folder`, as far as its file system can lock; the lock ends with the process."""
    descriptor = -1
    try:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _make_staging(place: Path) -> tuple[Path, int]:
    """A hidden folder in `place`, and the descriptor whose lock says that it is in use."""
    with _locked(place):
        staging = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        held = os.open(staging, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return staging, held


def _remove_stale(folder: Path) -> None:
    """Remove the hidden folders of exports into `folder` that were killed. One of them may hold the old files."""
    for place in (folder, folder.parent):
        with contextlib.suppress(OSError), _locked(place):
            for staging in [Path(entry.path) for entry in os.scandir(place) if entry.name.startswith(_PREFIX)]:
                with contextlib.suppress(OSError):
                    _remove_if_stale(staging)


def _remove_if_stale(staging: Path) -> None:
    """OSError where it is in use, where nobody can tell, or where it is none of ours."""
    descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid() or set(os.listdir(staging)) - {"new", "old"}:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        old = staging / "old"
        for kept in old.iterdir() if old.is_dir() else ():
            place = staging.parent / kept.name
            if not os.path.lexists(place):
                os.rename(kept, place)
        shutil.rmtree(staging)
    finally:
        os.close(descriptor)


def _replace_all(folder: Path, names: Sequence[str], new: Path, staging: Path) -> None:
    """Put each file in place; where one fails, put the old ones back."""
    old = staging / "old"
    old.mkdir()
    kept = {name for name in names if os.path.lexists(folder / name)}
    placed: list[str] = []
    try:
        for name in names:
            if name in kept:
                _keep(folder / name, old / name, new / name)
            placed.append(name)
            os.replace(new / name, folder / name)
    except BaseException:
        for name in reversed(placed):
            if not os.path.lexists(new / name):
                os.rename(folder / name, new / name)
            if name in kept:
                os.replace(old / name, folder / name)
        raise


def _keep(file: Path, copy: Path, new: Path) -> None:
    """A second name for `file`, which stays in place until replaced; where there are no links, it is moved.

    What takes its place gets its permissions.
    """
    mode = os.lstat(file).st_mode
    if stat.S_ISDIR(mode) != new.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{file.name} has become a folder")
    if stat.S_ISDIR(mode):
        # Before the new one gets its permissions: what nobody may write into, nobody could remove either.
        os.rename(file, copy)
        os.chmod(new, stat.S_IMODE(mode))
        return
    if not stat.S_ISLNK(mode):
        os.chmod(new, stat.S_IMODE(mode))
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


def _is_there(path: Path) -> bool:
    """Whether something has this path. OSError where nothing ever can, as its name is too long, or nobody may look."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _identity(path: str | Path) -> _Identity | None:
    """What tells a file from every other one, by whatever path; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _sync_all(path: Path) -> None:
    """Have the system write `path` and, where it is a folder, all in it to the disk."""
    if path.is_dir():
        within = list(path.iterdir())
        if len(within) > _MANY:
            os.sync()  # Waited for once, where one after the other would take minutes.
        else:
            for each in within:
                _sync_all(each)
    sync(path)
