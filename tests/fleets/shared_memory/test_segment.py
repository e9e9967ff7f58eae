"""The shared memory: found by its name, gone exactly once, also after a kill."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from rayopt.core.errors import RayoptError
from rayopt.fleets.shared_memory import segment as module
from rayopt.fleets.shared_memory.segment import FIRST_COUNTER, LINE, Segment


def exists(name):
    try:
        SharedMemory(name).close()
    except FileNotFoundError:
        return False
    return True


def run(program, *arguments):
    """Runs a program in a process of its own, up to the end of its resource tracker, which shares the pipes."""
    program = f"import os, signal, sys\nfrom rayopt.fleets.shared_memory.segment import *\n{program}"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_one_writes_the_other_reads():
    with Segment(2, 3) as made:
        made.reset(np.array([1.0, 2.0, 3.0]))
        found = run(
            "found = Segment(2, 3, sys.argv[1])\n"
            "found.words[FIRST_COUNTER + LINE] = 7\n"
            "found.wait_at_start(0)\n"
            "print(found.x.sum(), found.may_start)\n",
            made.name,
        )
        assert (found.stdout, found.stderr) == ("6.0 False\n", "")
        assert made.counts().tolist() == [0, 7]
        assert made.ready == 1
        assert exists(made.name)
        made.reset(np.zeros(3))
        assert made.counts().tolist() == [0, 0]
        assert not made.ready
    assert not exists(made.name)


def test_the_name_goes_and_the_memory_stays():
    with Segment(1, 1) as made:
        made.remove_name()
        assert not exists(made.name)
        made.x[0] = 5.0
        assert made.x.tolist() == [5.0]
        assert not made.may_start
        made.stop()
        assert made.may_start


def test_counters_have_cache_lines_of_their_own():
    with Segment(3, 2) as made:
        places = [module.STOP, module.LOCK, module.TICKET, *(FIRST_COUNTER + LINE * worker for worker in range(3))]
        assert min(np.diff(places)) * made.words.itemsize == 64
        assert len(made.words) * made.words.itemsize % 64 == 0


def test_a_process_that_is_killed_leaves_no_memory():
    killed = run("print(Segment(1, 1).name, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert killed.returncode == -9
    assert killed.stdout.strip()
    assert not exists(killed.stdout.strip())


def test_more_memory_than_there_is(monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**6}))
    monkeypatch.setattr(module, "PLACE", module.Path("/"))
    with pytest.raises(RayoptError, match=r"x needs 8\.0 MB of shared memory and / has 1\.0 MB free"):
        Segment(1, 10**6)
