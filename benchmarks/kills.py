"""Kills of a real cluster's processes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator


def worker_processes(actors: tuple[str, ...] = ("Worker", "PackedWorkers")) -> list[int]:
    """Returns the processes of actors of this process's own cluster, the oldest first."""
    import psutil  # Comes with Ray.

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, IndexError):
            if process.cmdline()[0].startswith(tuple(f"ray::{actor}" for actor in actors)):
                found.append((process.create_time(), process.pid))
    return [pid for _, pid in sorted(found)]


def kill_one(actors: tuple[str, ...] = ("Worker", "PackedWorkers")) -> bool:
    """Kills the oldest process of actors, so that everyone gets a turn; returns whether there was one."""
    for process in worker_processes(actors):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            return True
    return False


@contextlib.contextmanager
def killing(every: float, times: float = float("inf"), kill: Callable[[], bool] = kill_one) -> Iterator[list[float]]:
    """Kills a process every so many real seconds until the block ends; yields when each was killed."""
    killed: list[float] = []
    is_over = threading.Event()

    def go_on() -> None:
        while len(killed) < times and not is_over.wait(every):
            if kill():
                killed.append(time.monotonic())

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield killed
    finally:
        is_over.set()
        thread.join()
