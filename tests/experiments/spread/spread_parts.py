"""Methods that other processes import, and what results of runs that were spread are compared by."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pandas as pd

import rayopt as ro
from rayopt.methods import ASGD


class KillsItsProcess(ASGD):
    """ASGD whose process is killed in the middle, once in all, behind a checkpoint; slow enough to have one."""

    name = "kills_its_process"

    def __init__(self, step_size, marker):
        super().__init__(step_size)
        self.marker = marker

    def receive(self, arrival, fleet):
        super().receive(arrival, fleet)
        if self.updates == 1500 and not os.path.exists(self.marker):
            time.sleep(0.3)
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.updates % 100 == 0:
            time.sleep(0.01)


class Slow(ASGD):
    """ASGD that takes a while."""

    name = "slow"

    def receive(self, arrival, fleet):
        super().receive(arrival, fleet)
        if self.updates % 10 == 0:
            time.sleep(0.005)


class Fails(ASGD):
    """ASGD that fails at the end."""

    name = "fails"

    def receive(self, arrival, fleet):
        super().receive(arrival, fleet)
        if self.updates == 100:
            raise ArithmeticError("this method is broken")


def same_results(one: ro.Result, other: ro.Result) -> None:
    """Asserts that two results are equal to the bit, but for the real seconds that they took."""
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    pd.testing.assert_frame_equal(one.trace, other.trace, check_exact=True)
    pd.testing.assert_frame_equal(one.rounds, other.rounds, check_exact=True)
    first, second = (json.loads(json.dumps(result.summary)) for result in (one, other))
    for summary in (first, second):
        for run in summary["runs"]:
            run.pop("wall_seconds", None)
    assert first == second
    assert one.config == other.config


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
