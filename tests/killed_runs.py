"""Runs of the command line that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def killed(workload: Path, folder: Path, checkpoints: int) -> None:
    """Starts `rayopt run` and kills it, and a cluster that it started, after so many checkpoints."""
    # A group of its own: the cluster that it starts ends with it.
    process = subprocess.Popen(
        [sys.executable, "-m", "rayopt", "run", str(workload), "--out", str(folder), "--quiet"], start_new_session=True
    )
    last = folder / "unfinished" / f"checkpoint-{checkpoints:06d}.npz"
    deadline = time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert last.exists(), "the run ended before it was killed"
