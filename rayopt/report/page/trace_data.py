"""What a page shows of a trace: who did what when, how old gradients were, where the seconds went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayopt.experiments.result import Result
from rayopt.storage.run_folder import TRACE_FILE
from rayopt.storage.trace.reader import TraceReader
from rayopt.storage.trace.rows import OUTCOMES

MOST_BARS = 20_000
MOST_WORKERS = 40
MOST_ROWS = 2_000_000
"""Of a trace that are read; what comes later is not shown."""
MOST_COLUMNS = 100
"""Into which thousands of workers are gathered."""
COLUMNS = ("label", "seed", "worker", "number", "assigned_at", "time", "version", "delay", "outcome")

USEFUL, THROWN_AWAY, IDLE = "useful", "thrown away", "idle"


@dataclass
class Activity:
    """What the trace tells of one method, on its first seed.

    Attributes:
      bars: of the shown workers: ``worker, begin, end, version, outcome``.
      workers: which are shown, fastest first.
      delays: how many arrivals had each delay.
      shares: by outcome the worker-seconds of each worker, shape (n,).
      seconds: fleet seconds that the rows cover.
      is_cut: whether the trace goes on after what was read.
    """

    bars: pd.DataFrame
    workers: list[int]
    delays: Counter[int]
    shares: dict[str, NDArray[np.float64]]
    seconds: float
    is_cut: bool

    @property
    def spent(self) -> dict[str, float]:
        """Shares of all worker-seconds: useful, thrown away, idle."""
        whole = self.seconds * len(self.shares["used"])
        useful = float(self.shares["used"].sum())
        lost = float(sum(found.sum() for outcome, found in self.shares.items() if outcome != "used"))
        return {
            USEFUL: useful / whole, THROWN_AWAY: lost / whole, IDLE: max(0.0, 1 - (useful + lost) / whole),
        }  # fmt: skip


def activity_of(result: Result) -> dict[str, Activity]:
    """Returns what the trace of a result tells, by label; empty if there is none."""
    path = result.folder.path / TRACE_FILE
    if not path.is_file():
        return {}
    with TraceReader([path]) as trace:
        frames, count = [], 0
        for frame in trace.tasks(COLUMNS):
            frames.append(frame)
            count += len(frame)
            if count >= MOST_ROWS:
                break
    if not count:
        return {}
    rows = pd.concat(frames, ignore_index=True)
    rows["outcome"] = rows.outcome.astype(str)
    seeds = {str(row["label"]): row["seed"] for row in reversed(result.summary["runs"])}
    # A network does not say how many nodes it has.
    workers = int((result.config.get("workers") or {}).get("count", 0))
    share = MOST_BARS // max(1, rows.label.nunique())
    found = {}
    for label, own in rows.groupby("label", sort=False, observed=True):
        first = own[own.seed == seeds[str(label)]]
        # Each message of a task is a row; the last one has the end of the task.
        tasks = first.drop_duplicates(["worker", "number"], keep="last")
        found[str(label)] = _activity(tasks, first, workers or int(first.worker.max()) + 1, share, count >= MOST_ROWS)
    return found


def _activity(tasks: pd.DataFrame, rows: pd.DataFrame, n: int, most_bars: int, is_cut: bool) -> Activity:
    seconds = float(tasks.time.max())
    lengths = (tasks.time - tasks.assigned_at).to_numpy()
    shares = {}
    for outcome in OUTCOMES:
        chosen = (tasks.outcome == outcome).to_numpy()
        shares[outcome] = np.bincount(tasks.worker[chosen], weights=lengths[chosen], minlength=n).astype(np.float64)
    arrived = rows[rows.outcome != "cancelled"]
    values, counts = np.unique(arrived.delay.to_numpy(), return_counts=True)
    workers = _shown(tasks)
    bars = tasks[tasks.worker.isin(workers)].sort_values("assigned_at", kind="stable").head(most_bars)
    bars = bars.rename(columns={"assigned_at": "begin", "time": "end"})[
        ["worker", "begin", "end", "version", "outcome"]
    ]  # fmt: skip
    return Activity(
        bars, workers, Counter(dict(zip(values.tolist(), counts.tolist(), strict=True))), shares, seconds, is_cut
    )


def _shown(tasks: pd.DataFrame) -> list[int]:
    """Returns at most 40 workers, from the fastest to the slowest, evenly between them."""
    mean = (tasks.time - tasks.assigned_at).groupby(tasks.worker).mean().sort_values(kind="stable")
    places = np.unique(np.linspace(0, len(mean) - 1, min(MOST_WORKERS, len(mean))).round().astype(int))
    return [int(worker) for worker in mean.index[places]]
