"""Folders that take the place of older ones as a whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


@contextmanager
def locked(folder: Path, message: str) -> Iterator[None]:
    """Keep other writers out of a folder, which is made if need be, while a ``with`` block runs.

    The system frees the lock when the process that holds it ends, however it ends: a lock cannot be left behind.

    Raises
    ------
    ValueError
        With ``message``, if another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(message) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def replacing(
    path: Path, own: Collection[str], busy: str | None = None, *, goes_on: bool = False, keep: bool = False
) -> Iterator[Path]:
    """A new folder beside ``path``, which takes its place when the ``with`` block ends without an error.

    Until then, and after any error, the old folder is whole, and nobody else writes to it. What lies in it under names
    other than ``own`` is not ours, and moves into the new one. A link's target is never touched.

    Parameters
    ----------
    path
        The folder to replace; it need not be there.
    own
        Names of all that is ours in it.
    busy
        What to say if another process writes to it.
    goes_on
        Go on with what an earlier block has left, in place of an empty folder.
    keep
        Leave what is there after an error, to go on later (:func:`replacement_of`).

    Raises
    ------
    ValueError
        If ``path`` or one of the hidden folders beside it is a link or a file, or another process writes to one.
    """
    path = Path(os.path.abspath(path))
    new, old = _beside(path, "new"), _beside(path, "old")
    for place in (path, new, old):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            kind = "a link" if place.is_symlink() else "a file"
            raise ValueError(f"{str(place)!r} is {kind}, which is not replaced; remove it, or choose another folder")
    busy = busy or f"another process is writing to {str(path)!r}; wait until it ends, or choose another folder"
    with locked(path, busy) if path.exists() else nullcontext(), locked(new, busy):
        if old.exists() and not path.exists():  # a process was killed between the two renames below
            old.rename(path)
        _carry_over(old, path, own)  # or while it did this
        try:
            if not goes_on:
                _empty(new)
            yield new
            if path.exists():
                path.rename(old)
            new.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            if not keep:
                shutil.rmtree(new, ignore_errors=True)
            raise
    _carry_over(old, path, own)


def replacement_of(path: Path) -> Path | None:
    """Where the replacement of a folder lies that was begun and is not finished (:func:`replacing`), if there is."""
    new = _beside(Path(os.path.abspath(path)), "new")
    return new if new.is_dir() and not new.is_symlink() else None


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _empty(folder: Path) -> None:
    """Remove what a process that was killed has left; the lock stays."""
    for entry in folder.iterdir():
        if entry.name != LOCK:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _carry_over(old: Path, path: Path, own: Collection[str]) -> None:
    if not old.exists():
        return
    for entry in old.iterdir():
        if entry.name not in own and not entry.name.startswith(".") and not (path / entry.name).exists():
            entry.rename(path / entry.name)
    shutil.rmtree(old, ignore_errors=True)
