"""Folders for what is needed for a while, which go even where their process was killed.

A process that is killed removes nothing, and what it had fetched or spooled may be gigabytes. So
each folder has a file that its owner keeps locked, and whoever makes the next one removes those
whose lock nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "vidette-"
_LOCK, _NEW = "lock", "lock.new"


@contextlib.contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A folder for the caller alone, removed at the end.

    Args:
        parent: where it is made; None: where the system has temporary files.

    Raises:
        OSError: it cannot be made there.
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    try:
        # only a lock that is held has the name by which others look for it
        with (folder / _NEW).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / _NEW).rename(folder / _LOCK)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # there was no room for its lock


def sweep(parent: Path) -> None:
    """Remove the folders of `scratch` in a place whose processes were killed."""
    for left in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, in use, or gone by now
            facts = left.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
                continue
            with (left / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
