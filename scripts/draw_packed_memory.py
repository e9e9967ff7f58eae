"""Runs 10,000 packed workers in real time, and draws the memory of their processes over ten minutes."""

from __future__ import annotations

import argparse
import os
import re
import threading
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import rayopt as ro

DOCS = Path(__file__).parents[1] / "docs"
WORKERS = 10_000
ACTORS = 4
EVERY = 5.0
KINDS = {
    "ray::Server": "server",
    "ray::PackedWorkers": f"workers ({ACTORS} actors)",
    "gcs_server": "GCS",
    "raylet/raylet": "raylet",
    "mapped objects": "object store",
    "": "driver",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of the run (default: 600)")
    parser.add_argument("--out", type=Path, default=DOCS / "memory_10000_workers.png", help="figure to write")
    arguments = parser.parse_args()

    samples: list[dict[str, float]] = []
    over = threading.Event()
    sampler = threading.Thread(target=sample, args=(samples, over), daemon=True)
    sampler.start()
    result = ro.run(
        ro.methods.ASGD(step_size=1e-4),
        ro.problems.Quadratic(dimension=1_000, noise=0.01),
        ro.Workers(WORKERS, compute=f"1 + 9 * (i - 1) / {WORKERS - 1}"),
        until=ro.Until(time=arguments.seconds),
        fleet=ro.RayFleet(workers_per_actor=WORKERS // ACTORS),
        record=ro.Record(every=10, metrics=["value"], trace="arrivals"),
    )
    over.set()
    sampler.join()
    (run,) = result.summary["runs"]
    title = f"{run['arrivals'] / run['time']:,.0f} arrivals/s, slip {run['slip']['median'] * 1e3:.0f} ms median"
    frame = pd.DataFrame(samples)
    # What is written at the end is not the run.
    frame = frame[frame.seconds <= arguments.seconds]
    draw(frame, title).savefig(arguments.out, dpi=150)
    print(f"{title}; {arguments.out}")
    print(frame.iloc[:: max(len(frame) // 10, 1)].round(0).to_string(index=False))


def sample(samples: list[dict[str, float]], over: threading.Event) -> None:
    """Appends the memory of this process and of its descendants by kind, in MB, until the event is set."""
    seconds = 0.0
    while not over.wait(EVERY):
        seconds += EVERY
        samples.append({"seconds": seconds, **memory()})


def memory() -> dict[str, float]:
    """Returns the private memory of each kind of process in MB, and the touched memory of the object store."""
    found = dict.fromkeys(KINDS.values(), 0.0)
    for process in descendants(os.getpid()):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            private, shared = (status(process, field) for field in ("RssAnon", "RssShmem"))
        except OSError:
            continue  # It has just ended.
        if process.name == str(os.getpid()):
            found["driver"] += private
        for word, kind in KINDS.items():
            if word and word in command:
                found[kind] += private
                break
        if "raylet/raylet" in command:
            found["object store"] += shared
    return found


def status(process: Path, field: str) -> float:
    """Returns a field of ``/proc/PID/status`` in MB, 0 of a process that is ending."""
    match = re.search(rf"{field}:\s+(\d+) kB", (process / "status").read_text())
    return int(match[1]) / 1024 if match else 0.0


def descendants(root: int) -> list[Path]:
    """Returns the folders in ``/proc`` of a process and of all that it started, and those started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {root}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return [Path("/proc") / str(number) for number in sorted(family)]


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """Returns memory against time, a line for each kind of process."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for kind in frame.columns.drop("seconds"):
        axes.plot(frame.seconds, frame[kind], label=kind)
    axes.set(
        xlabel="seconds since the start",
        ylabel="memory, MB",
        title=f"{WORKERS:,} workers in {ACTORS} actors, d = 1,000, times of 1 to 10 s\n{title}",
        ylim=(0, None),
    )
    figure.legend(loc="outside lower center", ncols=3)
    axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    main()
