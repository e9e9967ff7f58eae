"""The trace of a run in the Chrome trace format, which Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rayopt.core.errors import InvalidInput
from rayopt.experiments.result import Result
from rayopt.storage.files import write_complete
from rayopt.storage.run_folder import TRACE_FILE
from rayopt.storage.trace.reader import TraceReader

COLUMNS = ("label", "seed", "worker", "number", "assigned_at", "time", "version", "delay", "outcome", "run")
MICROSECONDS = 1e6


def write_chrome_trace(result: Result, path: Path) -> None:
    """Writes a complete event for each task: a process for each run, a thread for each worker, a second for a second.

    Raises:
      InvalidInput: the run has no trace.
    """
    trace_file = result.folder.path / TRACE_FILE
    if not trace_file.is_file():
        raise InvalidInput("--timeline", f"{result.folder.path} has no trace", "a run with record: {trace: all}")

    def write(part: Path) -> None:
        with TraceReader([trace_file]) as trace, part.open("w", encoding="utf-8") as file:
            file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
            for place, event in enumerate(_events(trace)):
                file.write((",\n" if place else "") + json.dumps(event))
            file.write("\n]}\n")

    write_complete(path, write)


def _events(trace: TraceReader) -> Iterator[dict[str, Any]]:
    named: set[int] = set()
    row: Any
    for frame in trace.tasks(COLUMNS):
        for row in frame.itertuples(index=False):
            run = int(row.run)
            if run not in named:
                named.add(run)
                yield {"ph": "M", "name": "process_name", "pid": run, "args": {"name": f"{row.label}, seed {row.seed}"}}
            yield {
                "ph": "X", "name": f"x^{row.version}", "cat": str(row.outcome), "pid": run, "tid": int(row.worker),
                "ts": float(row.assigned_at) * MICROSECONDS, "dur": float(row.time - row.assigned_at) * MICROSECONDS,
                "args": {"outcome": str(row.outcome), "delay": int(row.delay), "task": int(row.number)},
            }  # fmt: skip
