"""Checkpoints on disk: .npz without a pickle, renamed when they are whole, the last two kept."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import DataError
from rayopt.storage.encoding import Encoded
from rayopt.storage.files import sync, sync_folder, write_complete

FORMAT = 3
KEPT = 2
TREE = "tree"
SMALL = 2**20
"""Bytes of an array that is written with others."""
BLOCK = 2**26
"""Bytes that are written as one array at most."""


def write(path: Path, checkpoint: Encoded) -> None:
    """Writes a checkpoint, whole or not at all, also if the machine stops.

    Small arrays of one shape and type are one in the file: beside a training that holds the interpreter, each that is
    written waits its turn several times. One block of them at a time is a copy.
    """
    blocks = _blocks(checkpoint.arrays)
    text = json.dumps({"format": FORMAT, "tree": checkpoint.tree, "groups": blocks}).encode()

    def save(part: Path) -> None:
        with zipfile.ZipFile(part, "w") as file:
            _add(file, TREE, np.frombuffer(text, dtype=np.uint8))
            for number, positions in enumerate(blocks):
                members = [checkpoint.arrays[position] for position in positions]
                _add(file, f"group_{number}", np.stack(members) if len(members) > 1 else members[0])

    write_complete(path, save)


def _blocks(arrays: Sequence[NDArray[Any]]) -> list[list[int]]:
    """Returns the positions of the arrays that are one in the file, of each such array."""
    open_blocks: dict[Any, list[int]] = {}
    blocks = []
    for position, array in enumerate(arrays):
        # The order in memory is kept too: products of matrices may have other bits in another.
        fits = array.flags.c_contiguous and array.nbytes <= SMALL
        kind = (array.shape, array.dtype) if fits else position
        block = open_blocks.get(kind)
        if block is None or (len(block) + 1) * array.nbytes > BLOCK:
            block = open_blocks[kind] = []
            blocks.append(block)
        block.append(position)
    return blocks


def _add(file: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


def read(path: Path) -> Encoded:
    """Returns what :func:`write` wrote; nothing is unpickled.

    Raises:
      DataError: the file is not a whole checkpoint of this format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = json.loads(file[TREE].tobytes())
            if not isinstance(found, dict) or found.get("format") != FORMAT:
                raise DataError(f"{path} is a checkpoint of another version of rayopt")
            arrays: dict[int, Any] = {}
            for number, positions in enumerate(found["groups"]):
                group = file[f"group_{number}"]
                # A copy of each: one that lives on does not hold the others.
                members = map(np.array, group) if len(positions) > 1 else [group]
                arrays.update(zip(positions, members, strict=True))
    except DataError:
        raise
    except Exception as error:
        # What zipfile, NumPy and json raise at flipped bits has no common base class.
        raise DataError(f"{path} is not a checkpoint ({str(error) or repr(error)})") from None
    return Encoded(found["tree"], [arrays[position] for position in range(len(arrays))])


class CheckpointFiles:
    """The checkpoints of one folder, written by a thread while the training goes on.

    Args:
      folder: where they are.
      prepare: makes the folder, with what else it must hold, if it is not there.
    """

    def __init__(self, folder: Path, prepare: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._prepare = prepare
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="rayopt checkpoint")
        self._writing: Future[None] | None = None
        self._next = self.newest + 1
        self._held: set[int] = set()
        self._on_disk: set[Path] = set()
        self._has_failed = False

    def save(self, checkpoint: Encoded, counts_on: Sequence[Path] = ()) -> int:
        """Starts to write a checkpoint; returns its number, 0 if the one before is still being written.

        Args:
          checkpoint: what to write.
          counts_on: files that must be on disk before it; each has all its content.
        """
        if self._writing is not None and not self._writing.done():
            return 0
        self._settle()
        number, self._next = self._next, self._next + 1
        self._writing = self._writer.submit(self._write, self._path(number), checkpoint, counts_on)
        return number

    def on_written(self, react: Callable[[], None]) -> None:
        """Calls back from the writer's thread when what was saved so far is written."""
        self._writer.submit(react)

    def latest(self) -> tuple[int, Encoded] | None:
        """Returns the last checkpoint that can be read, with its number; None if there is none.

        Raises:
          DataError: there are some, and none can be read.
        """
        self.wait()
        problems = []
        for number, path in reversed(self._found()):
            try:
                checkpoint = read(path)
            except DataError as error:
                problems.append(str(error))
                continue
            if problems:
                warnings.warn(f"{'; '.join(problems)}: an earlier one is used, {path.name}", UserWarning, stacklevel=2)
            return number, checkpoint
        if problems:
            raise DataError(f"no checkpoint can be read: {'; '.join(problems)}. Read them with the version of rayopt "
                            "that wrote them, or remove them to begin anew")  # fmt: skip
        return None

    @property
    def newest(self) -> int:
        """The number of the last checkpoint on disk, read or not; 0 for none."""
        return max((number for number, _ in self._found()), default=0)

    def read(self, number: int) -> Encoded:
        """Returns the checkpoint of a number; see :func:`read`."""
        return read(self._path(number))

    def hold(self, number: int) -> None:
        """Keeps a checkpoint though two later ones are written."""
        self._held.add(number)

    def wait(self) -> None:
        """Waits for what is being written."""
        if self._writing is not None:
            wait([self._writing])

    def close(self) -> None:
        """Waits for what is being written, and ends the thread."""
        self._writer.shutdown()
        self._settle()

    def _write(self, path: Path, checkpoint: Encoded, counts_on: Sequence[Path]) -> None:
        """Writes a checkpoint; if that fails, says so at once, the first time, and the training goes on without it."""
        try:
            self._prepare()
            for needed in counts_on:
                if needed not in self._on_disk:
                    sync(needed)
                    self._on_disk.add(needed)
            sync_folder(self._folder)
            write(path, checkpoint)
            self._has_failed = False
            for number, old in self._found()[:-KEPT]:
                if number not in self._held:
                    old.unlink()
        except (OSError, MemoryError) as error:
            if not self._has_failed:
                warnings.warn(
                    f"a checkpoint could not be written ({error}); the run goes on", UserWarning, stacklevel=2
                )
            self._has_failed = True

    def _settle(self) -> None:
        """Raises what the writer has met besides a disk that fails."""
        if self._writing is not None:
            self._writing.result()
        self._writing = None

    def _path(self, number: int) -> Path:
        return self._folder / f"checkpoint-{number:06d}.npz"

    def _found(self) -> list[tuple[int, Path]]:
        names = self._folder.iterdir() if self._folder.is_dir() else ()
        matches = [(re.fullmatch(r"checkpoint-(\d+)\.npz", path.name), path) for path in names]
        return sorted((int(match[1]), path) for match, path in matches if match)
