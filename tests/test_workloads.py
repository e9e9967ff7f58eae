"""The two forms of the main workload say the same."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import rayopt as ro
from rayopt.experiments.config import describe, load_workload
from rayopt.problems.data.mnist import SUBSET

WORKLOADS = Path(__file__).parents[1] / "workloads"


class Asked(Exception):
    """Ends a program at its call of ``rayopt.run``, with what it asked for."""


def test_the_program_describes_the_experiment_of_the_file(monkeypatch):
    def run(methods: Any, problem: Any, seed: Any, out: Any, progress: bool, **arguments: Any) -> None:
        raise Asked(ro.Experiment(methods, problem, seeds=seed, **arguments))

    monkeypatch.setattr(ro, "run", run)
    monkeypatch.setenv("RAYOPT_DATA", str(SUBSET))
    main = runpy.run_path(str(WORKLOADS / "mnist_logreg.py"))["main"]
    with pytest.raises(Asked) as asked:
        main()
    assert describe(asked.value.args[0]) == describe(load_workload(WORKLOADS / "mnist_logreg.yaml").build())
