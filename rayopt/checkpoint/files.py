"""Checkpoints on disk: .npz without a pickle, renamed when they are whole, the last two kept."""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from rayopt.checkpoint.encoding import Encoded
from rayopt.errors import DataError

FORMAT = 1
KEPT = 2
TREE = "tree"


def write(path: Path, checkpoint: Encoded) -> None:
    """Writes a checkpoint, whole or not at all, also if the machine stops."""
    text = json.dumps({"format": FORMAT, "tree": checkpoint.tree}).encode()
    arrays: dict[str, Any] = {TREE: np.frombuffer(text, dtype=np.uint8)}
    arrays.update((f"array_{position}", array) for position, array in enumerate(checkpoint.arrays))
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Encoded:
    """Returns what :func:`write` wrote; nothing is unpickled.

    Raises:
      DataError: the file is not a whole checkpoint of this format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = json.loads(file[TREE].tobytes())
            arrays = [file[f"array_{position}"] for position in range(len(file.files) - 1)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a checkpoint ({error})") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path} is a checkpoint of another version of rayopt")
    return Encoded(found["tree"], arrays)


class CheckpointFiles:
    """The checkpoints of one folder, written by a thread while the training goes on.

    Args:
      folder: where they are; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rayopt checkpoint")
        self._writing: Future[None] | None = None
        self._next = max((number for number, _ in self._found()), default=0) + 1

    def save(self, checkpoint: Encoded) -> bool:
        """Starts to write a checkpoint; returns False if the one before is still being written."""
        if self._writing is not None and not self._writing.done():
            return False
        self._complain()
        path = self._folder / f"checkpoint-{self._next:06d}.npz"
        self._next += 1
        self._writing = self._writer.submit(self._write, path, checkpoint)
        return True

    def when_written(self, react: Callable[[], None]) -> None:
        """Calls back from the writer's thread when what was saved so far is written."""
        self._writer.submit(react)

    def latest(self) -> Encoded | None:
        """Returns the last checkpoint, or the one before if the last cannot be read; None if there is none."""
        if self._writing is not None:
            wait([self._writing])
        for _, path in reversed(self._found()):
            try:
                return read(path)
            except DataError as error:
                warnings.warn(f"{error}; the one before is used", UserWarning, stacklevel=2)
        return None

    def close(self) -> None:
        """Waits for what is being written."""
        self._writer.shutdown()
        self._complain()

    def _write(self, path: Path, checkpoint: Encoded) -> None:
        write(path, checkpoint)
        for _, old in self._found()[:-KEPT]:
            old.unlink()

    def _complain(self) -> None:
        """Warns of a checkpoint that could not be written; the training goes on without it."""
        error = self._writing.exception() if self._writing is not None else None
        self._writing = None
        if isinstance(error, OSError):
            warnings.warn(f"a checkpoint could not be written ({error}); the run goes on", UserWarning, stacklevel=3)
        elif error is not None:
            raise error

    def _found(self) -> list[tuple[int, Path]]:
        matches = [(re.fullmatch(r"checkpoint-(\d+)\.npz", path.name), path) for path in self._folder.iterdir()]
        return sorted((int(match[1]), path) for match, path in matches if match)
