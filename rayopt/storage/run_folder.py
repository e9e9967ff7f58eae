"""The folder of an experiment: config.yaml, history.parquet, trace.parquet, summary.json, figures."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import yaml

from rayopt.core.errors import InvalidInput
from rayopt.storage.files import sync_folder, write_complete, write_text, write_yaml
from rayopt.storage.folder_lock import FolderLock
from rayopt.storage.trace.parts import parts_in, read_trace

if TYPE_CHECKING:
    import pandas as pd

CONFIG, HISTORY, TRACE_FILE, SUMMARY = "config.yaml", "history.parquet", "trace.parquet", "summary.json"
ROUNDS = "rounds.parquet"
ALWAYS_THERE = (CONFIG, HISTORY, SUMMARY)
UNFINISHED = "unfinished"
LOCK = "lock"
EVENTS = "tensorboard"
BEST = "best"
LIVE_LOG = "live.csv"
OF_CALLBACKS = (EVENTS, BEST, LIVE_LOG, "wandb", "mlruns")
"""What may lie in the folder before an experiment has ended, or ended early."""
MOST_ATTEMPTS = 100
"""So often a folder is made again that a program which ends removes."""


class RunFolder:
    """A folder with the record of an experiment.

    While the experiment runs, its folder ``unfinished`` holds the configuration, checkpoints and parts of the trace;
    in the end everything has its place and that folder goes, unless ``rayopt resume`` can go on from a checkpoint.

    One program at a time writes: who calls :meth:`begin` or :meth:`go_on` does so in a ``with`` statement, at whose
    end others may. Reading is free.

    Args:
      path: a run folder (its files are replaced when the new ones are complete), an empty or a new folder, or one
        that holds only what a run left that was killed before its first checkpoint.

    Raises:
      InvalidInput: the path exists and is something else, cannot be a folder, holds a checkpoint to go on from, or
        another program writes it.
    """

    def __init__(self, path: str | Path) -> None:
        self._place(path)
        try:
            self._check_is_free()
        except OSError as error:
            raise self._unwritable("out", error) from None

    @classmethod
    def temporary(cls) -> RunFolder:
        """Returns a folder that goes away with this object, or with the process."""
        temporary = temporary_folder()
        folder = cls(temporary.name)
        folder._temporary = temporary
        return folder

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """Returns the folder of an experiment that has run.

        Raises:
          InvalidInput: there is none at this path.
        """
        if missing := _missing(Path(path)):
            raise InvalidInput("run", f"{path} has no {missing[0]}", "a folder that `rayopt run` wrote")
        return cls._at(path)

    @classmethod
    def recorded(cls, path: str | Path) -> RunFolder:
        """Returns the folder of a recorded run: its configuration and its trace are enough.

        Raises:
          InvalidInput: one of them is not there.
        """
        for name, allowed in ((CONFIG, "a folder that `rayopt run` wrote"),
                              (TRACE_FILE, "a run with record: {trace: all} or {trace: arrivals}")):  # fmt: skip
            if not (Path(path) / name).is_file():
                raise InvalidInput("run", f"{path} has no {name}", allowed)
        return cls._at(path)

    @classmethod
    def interrupted(cls, path: str | Path) -> RunFolder:
        """Returns the folder of an experiment that did not come to its end.

        Raises:
          InvalidInput: there is none at this path.
        """
        folder = cls._at(path)
        if not folder.can_go_on:
            problem, allowed = (
                f"{path} has no {UNFINISHED}",
                "the folder of a `rayopt run` that did not come to its end",
            )
            if not _missing(folder.path):
                problem = f"the experiment in {path} came to its end, or was stopped before there was a checkpoint"
                allowed = f"{allowed} and left one; `rayopt run {folder.path / CONFIG}` runs this one again"
            raise InvalidInput("run", problem, allowed)
        return folder

    @classmethod
    def _at(cls, path: str | Path) -> RunFolder:
        folder = cls.__new__(cls)
        folder._place(path)
        return folder

    def _place(self, path: str | Path) -> None:
        self.path = Path(path)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = FolderLock(self.unfinished / LOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.give_back()

    @property
    def is_temporary(self) -> bool:
        """Whether it is removed when this process ends."""
        return self._temporary is not None

    @property
    def unfinished(self) -> Path:
        """The folder of what is needed while the experiment runs."""
        return self.path / UNFINISHED

    @property
    def can_go_on(self) -> bool:
        """Whether it tells of an experiment that did not come to its end."""
        return (self.unfinished / CONFIG).is_file()

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return any(self.unfinished.glob("checkpoint-*.npz")) or any(self.unfinished.glob("*/*/checkpoint-*.npz"))

    def begin(self, config: dict[str, Any]) -> None:
        """Makes the folder, with the configuration of an experiment that begins; nobody else may write from now on.

        Raises:
          InvalidInput: another program writes it, has left a checkpoint meanwhile, or it cannot be written.
        """
        try:
            self._take()
            # Much may have happened since this object was made: a fleet took its time to open.
            self._check_is_free(mine=True)
            self._clear()
            self.prepare(config)
        except BlockingIOError as error:
            raise self._taken("out", error) from None
        except OSError as error:
            self.end()
            raise self._unwritable("out", error) from None

    def go_on(self) -> None:
        """Keeps others from writing, while an experiment goes on that did not come to its end.

        Raises:
          InvalidInput: another program writes it, has brought it to its end meanwhile, or it cannot be written.
        """
        try:
            self._lock.take()
        except BlockingIOError as error:
            raise self._taken("run", error) from None
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._unwritable("run", error) from None
        self.interrupted(self.path)

    def check_is_left(self) -> None:
        """Raises InvalidInput if another program writes the folder."""
        if holder := self._lock.holder():
            raise self._taken("run", holder)

    def prepare(self, config: dict[str, Any]) -> None:
        """Makes what :meth:`begin` makes, if it is not there (any more).

        Raises:
          OSError: it cannot be made, or another program has made it.
        """
        try:
            self._take()
        except BlockingIOError as error:
            raise BlockingIOError(f"another program writes it, {error}") from None
        if not self.can_go_on:
            write_yaml(self.unfinished / CONFIG, config)
            sync_folder(self.path)
            sync_folder(self.path.parent)

    def read_unfinished_config(self) -> dict[str, Any]:
        """Returns the configuration that :meth:`begin` wrote."""
        return yaml.safe_load((self.unfinished / CONFIG).read_text(encoding="utf-8"))

    def end(self) -> None:
        """Removes what was needed while the experiment ran, and the folder if nothing was written."""
        try:
            self._lock.take()
        except BlockingIOError:
            return  # It went away, and another program has made it again.
        except OSError:
            pass
        self._clear()
        # The lock last: who takes it finds nothing that is still to be removed.
        self._lock.give_back()
        for path in (self.unfinished, self.path):
            with contextlib.suppress(OSError):
                path.rmdir()

    def forget_trace(self) -> None:
        """Removes the trace of an earlier experiment."""
        (self.path / TRACE_FILE).unlink(missing_ok=True)

    def write_config(self, config: dict[str, Any]) -> None:
        """Writes the resolved configuration, enough to run the experiment again."""
        write_yaml(self.path / CONFIG, config)

    def read_config(self) -> dict[str, Any]:
        """Returns what :meth:`write_config` wrote."""
        return yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))

    def write_history(self, history: pd.DataFrame) -> None:
        """Writes the history rows of all runs."""
        write_complete(self.path / HISTORY, lambda part: history.to_parquet(part, index=False))

    def read_history(self) -> pd.DataFrame:
        """Returns what :meth:`write_history` wrote."""
        import pandas as pd

        return pd.read_parquet(self.path / HISTORY)

    def write_rounds(self, rounds: pd.DataFrame) -> None:
        """Writes the updates of methods without a server; no file if there are none."""
        if len(rounds):
            write_complete(self.path / ROUNDS, lambda part: rounds.to_parquet(part, index=False))
        else:
            (self.path / ROUNDS).unlink(missing_ok=True)

    def read_rounds(self) -> pd.DataFrame | None:
        """Returns what :meth:`write_rounds` wrote; None if there are none."""
        import pandas as pd

        path = self.path / ROUNDS
        return pd.read_parquet(path) if path.is_file() else None

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes the table of the experiment."""
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        write_text(self.path / SUMMARY, text)

    def read_summary(self) -> dict[str, Any]:
        """Returns what :meth:`write_summary` wrote."""
        return json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))

    def read_trace(self) -> pd.DataFrame:
        """Returns the trace of all runs, empty if none was recorded; what is not in one file yet from its parts."""
        path = self.path / TRACE_FILE
        return read_trace([path] if path.is_file() else parts_in(self.unfinished))

    def _take(self) -> None:
        """Makes the folder of what is needed while the experiment runs, and takes its lock."""
        for _ in range(MOST_ATTEMPTS):
            self.unfinished.mkdir(parents=True, exist_ok=True)
            # Another program that ends just now removes the folder.
            with contextlib.suppress(FileNotFoundError):
                self._lock.take()
                return
        raise FileNotFoundError(f"{self.unfinished} goes away again and again")

    def _clear(self) -> None:
        """Removes what is needed while the experiment runs, the lock apart."""
        # A link may lead to what is not ours.
        is_ours = self.unfinished.is_dir() and not self.unfinished.is_symlink()
        for path in self.unfinished.iterdir() if is_ours else ():
            if path.name != LOCK:
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def _check_is_free(self, mine: bool = False) -> None:
        """Raises InvalidInput if this is not a folder that an experiment may write; ``mine``: its lock is ours."""
        there = next((path for path in (self.path, *self.path.parents) if path.exists()), self.path)
        if there.exists() and not there.is_dir():
            raise InvalidInput("out", f"{there} is a file", "a new folder, or one that rayopt wrote")
        if not mine and (holder := self._lock.holder()):
            raise self._taken("out", holder)
        present = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
        missing = _missing(self.path)
        if missing and present - {UNFINISHED, *OF_CALLBACKS}:
            raise InvalidInput("out", f"{self.path} exists and is not a run folder (it has no {missing[0]})",
                               "a new folder, or one that rayopt wrote")  # fmt: skip
        if self.has_checkpoint:
            raise InvalidInput("out", f"{self.path} holds an experiment that was interrupted",
                               f"`rayopt resume {self.path}`, which goes on from its last checkpoint, another "
                               f"folder, or to remove {self.unfinished}")  # fmt: skip

    def _taken(self, key: str, holder: object) -> InvalidInput:
        allowed = "to wait until that has ended, or to end it"
        return InvalidInput(key, f"another program writes {self.path} ({holder})",
                            f"{allowed}; or another folder" if key == "out" else allowed)  # fmt: skip

    def _unwritable(self, key: str, error: OSError) -> InvalidInput:
        return InvalidInput(key, f"{self.path} cannot be written ({error})",
                            "a folder that can be written, on a disk with room")  # fmt: skip


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Returns a folder for the trace of an experiment that was not asked to keep one."""
    return tempfile.TemporaryDirectory(prefix="rayopt-")


def _missing(path: Path) -> list[str]:
    """Returns which files a folder lacks to be a run folder."""
    return [name for name in ALWAYS_THERE if not (path / name).is_file()]
