"""A lock for the one writer of a folder; the kernel releases it when the program ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import threading
from io import FileIO
from pathlib import Path

if sys.platform != "win32":
    import fcntl

MOST_BYTES = 300
"""That are read of the name of a process."""
_ONE_AT_A_TIME = threading.Lock()
"""Of the threads of this process: two that take one lock again would find each other."""


class FolderLock:
    """A lock on a file, for as long as somebody writes what lies beside it.

    It is ``flock``'s, which SIGKILL leaves to nobody. Where the system or the file system has none, there is no lock.

    Args:
      path: the file, made by who takes the lock and removed by who gives it back; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # An object that closes itself: who forgets it has given the lock back.
        self._file: FileIO | None = None

    def take(self) -> None:
        """Takes the lock; again, if the file went away with its folder; nothing changes for who has it.

        Raises:
          BlockingIOError: another program has it; the text says which.
          OSError: the file cannot be made.
        """
        if sys.platform == "win32":
            return
        with _ONE_AT_A_TIME:
            while not self._is_ours():
                self._close()
                self._file = _open(self._path, os.O_CREAT)
                try:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    holder = _holder(self._file)
                    self._close()
                    raise BlockingIOError(holder) from None
                except OSError:
                    return  # A file system without locks.
                _sign(self._file)

    def holder(self) -> str:
        """Returns which other program has the lock, or "" if nobody has; changes nothing."""
        if sys.platform == "win32":
            return ""
        try:
            with _open(self._path) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return _holder(file)
        except OSError:
            pass
        return ""

    def give_back(self) -> None:
        """Removes the file, if it is still ours, and lets others write."""
        with _ONE_AT_A_TIME:
            if self._is_ours():
                with contextlib.suppress(OSError):
                    self._path.unlink()
            self._close()

    def _is_ours(self) -> bool:
        """Whether the file that is there is the one that was locked: it may have been removed, and made by another."""
        if self._file is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat(follow_symlinks=False))
        except OSError:
            return False

    def _close(self) -> None:
        if self._file is None:
            return
        if sys.platform != "win32":
            # A process that was forked meanwhile would hold it on.
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()
        self._file = None


def _open(path: Path, flags: int = 0) -> FileIO:
    """Opens the file to read and write; not through a link: who made the folder cannot have another file written."""
    return FileIO(path, "r+", opener=lambda name, _: os.open(name, os.O_RDWR | os.O_NOFOLLOW | flags, 0o666))


def _sign(file: FileIO) -> None:
    """Writes into the file who has the lock; without room on the disk nobody is named."""
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}".encode())


def _holder(file: FileIO) -> str:
    """Returns who has the lock, as far as the file tells."""
    with contextlib.suppress(OSError):
        text = file.read(MOST_BYTES).decode(errors="replace")
        if re.fullmatch(r"process \d+ on [\w.-]*", text):
            return text
    return "a process that is not named"
