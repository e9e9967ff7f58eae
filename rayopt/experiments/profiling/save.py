"""Writes a profile as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rayopt.latency.durations_file import COLUMNS, Durations
from rayopt.storage.files import write_text


def save(durations: Durations, path: str | Path) -> None:
    """Writes durations as the CSV that ``rayopt.latency.trace`` reads, completely or not at all.

    Args:
      durations: what was measured.
      path: the file.
    """
    write_text(Path(path), "\n".join(_lines(durations)) + "\n")


def _lines(durations: Durations) -> Iterator[str]:
    yield "# rayopt profile 1"
    for key, value in durations.header.items():
        yield f"# {key}: {value}"
    yield ",".join(COLUMNS)
    for (kind, size), workers in durations.seconds.items():
        for worker, seconds in workers.items():
            # repr has all digits: what is read is what was written, to the bit.
            for number, duration in enumerate(seconds.tolist()):
                yield f"{worker},{kind},{size},{number},{duration!r}"
