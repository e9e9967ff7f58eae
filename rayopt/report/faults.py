"""Notes on failed workers, under a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rayopt.runs.faults import WorkerCounts

NAMED = 5


def notes_on_faults(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a sentence for each run in which workers failed.

    Args:
      runs: entries of a summary.
    """
    return [
        f"{run['label']} (seed {run['seed']}): {'; '.join(_parts(run['faults']))}." for run in runs if run.get("faults")
    ]


def in_words(worker_counts: WorkerCounts) -> str:
    """Returns how many workers are up, and how many are not if there are any."""
    words = [f"{worker_counts.up} up"]
    words += [
        f"{count} {name}" for count, name in zip(worker_counts[1:], worker_counts._fields[1:], strict=True) if count
    ]
    return f"workers {', '.join(words)}"


def _parts(faults: dict[str, Any]) -> Iterator[str]:
    if faults["restarts"]:
        died = _counted(faults["restarts"], "process", "es")
        yield f"{died} of workers died and came back, their tasks were given again"
    if faults["rejected"]:
        most = sorted(faults["rejected"].items(), key=lambda entry: -entry[1])
        named = ", ".join(f"worker {worker}: {count}" for worker, count in most[:NAMED])
        more = f" and {len(most) - NAMED} others" if len(most) > NAMED else ""
        yield f"{_counted(sum(faults['rejected'].values()), 'gradient')} rejected and asked for again ({named}{more})"
    if faults["recomputed"]:
        yield f"{_counted(faults['recomputed'], 'gradient')} lost with a node and computed again"
    if faults.get("slow"):
        yield f"{_counted(faults['slow'], 'gradient')} took too long to fetch from their node, and were computed again"
    if faults.get("unmeasured"):
        rows = _counted(faults["unmeasured"], "history row")
        yield f"{rows} without metrics, which take longer than the time between rows: a larger record.every helps"
    if faults.get("unmeasurable"):
        rows = _counted(faults["unmeasurable"], "history row")
        yield f"{rows} without metrics: the process that computes them died over them again and again"
    if faults["missing"]:
        shown = ", ".join(map(str, faults["missing"][:NAMED]))
        more = f" and {len(faults['missing']) - NAMED} others" if len(faults["missing"]) > NAMED else ""
        yield f"without a process at the end: {'worker' if len(faults['missing']) == 1 else 'workers'} {shown}{more}"


def _counted(count: int, noun: str, ending: str = "s") -> str:
    return f"{count:,} {noun}{'' if count == 1 else ending}"
