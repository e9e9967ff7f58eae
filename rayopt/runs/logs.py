"""Logs of an experiment: the logger ``rayopt``, with the name of the run in every record."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

LOGGER = logging.getLogger("rayopt")
LOGGER.addHandler(logging.NullHandler())
FORMAT = "%(asctime)s %(levelname)s %(name)s%(of)s: %(message)s"


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs on behalf of one run: its records have the attribute ``run``.

    Args:
      run: the name of the run.
    """

    def __init__(self, run: str) -> None:
        super().__init__(LOGGER, {"run": run})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the run to the record."""
        return msg, {**kwargs, "extra": {**kwargs.get("extra", {}), **(self.extra or {})}}


class RunFormatter(logging.Formatter):
    """Writes a record on one line, with the name of its run if it has one."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        run = getattr(record, "run", "")
        record.of = f" [{run}]" if run else ""
        return super().format(record)


class StandardError(logging.Handler):
    """Writes to standard error as it is at that moment: bars that are shown place what is written there above them.

    What cannot be written (a full disk, a closed pipe) is lost, and nothing else.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        with contextlib.suppress(OSError):
            sys.stderr.write(self.format(record) + "\n")


def show_logs(level: int = logging.INFO) -> None:
    """Writes what rayopt logs to standard error, as ``rayopt run --verbose`` does."""
    if not any(isinstance(handler, StandardError) for handler in LOGGER.handlers):
        handler = StandardError()
        handler.setFormatter(RunFormatter())
        LOGGER.addHandler(handler)
    LOGGER.setLevel(level)
