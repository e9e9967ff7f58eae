"""Writes a profile as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rayopt.latency.durations_file import COLUMNS, Trace
from rayopt.run_folder import write_text


def save(trace: Trace, path: str | Path) -> None:
    """Writes a trace as the CSV that ``rayopt.latency.trace`` reads, whole or not at all.

    Args:
      trace: what was measured.
      path: the file.
    """
    write_text(Path(path), "\n".join(_lines(trace)) + "\n")


def _lines(trace: Trace) -> Iterator[str]:
    yield "# rayopt profile 1"
    for key, value in trace.header.items():
        yield f"# {key}: {value}"
    yield ",".join(COLUMNS)
    for (kind, size), workers in trace.seconds.items():
        for worker, seconds in workers.items():
            # repr has all digits: what is read is what was written, to the bit.
            for number, duration in enumerate(seconds.tolist()):
                yield f"{worker},{kind},{size},{number},{duration!r}"
