"""Gradients in batches: the run of one after the other, up to rounding, and the same bits whatever was interrupted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.runs.outcome import Outcome
from tests.methods.test_conformance import TABLE, UNEQUAL

BATCHED = ro.SimulatedFleet(gradients="batched", lookahead=4)
HERE = ro.SimulatedFleet()


def outcome(method: methods.Method, problem: Any, fleet: Any, time: float = 20.0) -> tuple[Outcome, methods.Method]:
    from rayopt.fleets.base import Job
    from rayopt.testing import workers_for

    made, until = method.fresh(), ro.Until(time=time)
    made.use_problem(problem)
    record = ro.Record(trace=False).resolve(problem.metric_names, until)
    with fleet.open(problem, workers_for(made, 8, UNEQUAL)) as session:
        return session.run(Job(made, 0, until, record), lambda rows: None, lambda progress: None), made


@pytest.mark.parametrize("method", [method for method in TABLE if not method.needs_components], ids=repr)
def test_problems_of_numpy_have_the_bits_of_here(method):
    """They have no faster way for many points: each value is computed as it would be alone."""
    problem = LogisticRegression.digits(rows=200, batch=2)
    batched, here = (outcome(method, problem, fleet)[1] for fleet in (BATCHED, HERE))
    assert batched.x.tobytes() == here.x.tobytes()


def test_only_what_the_method_would_use_is_evaluated_ahead():
    problem = Quadratic(20, noise=0.1)
    ringmaster, _ = outcome(methods.Ringmaster(0.05, threshold=2), problem, BATCHED, time=60)
    asgd, _ = outcome(methods.ASGD(0.02), problem, BATCHED, time=60)
    assert asgd.requested - asgd.counts.used == asgd.wasted <= 8
    assert ringmaster.counts.ignored > 20
    assert ringmaster.wasted < ringmaster.counts.ignored
    assert outcome(methods.Rennala(0.1, batch_size=4), problem, BATCHED)[0].requested == 0


@pytest.mark.parametrize(("mode", "lookahead"), [("eval", 1), ("eval", 3), ("eval", 32), ("train", 32)])
def test_pytorch_agrees_up_to_rounding_and_two_runs_to_the_bit(mode, lookahead):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    problem = ro.problems.TorchProblem.from_config(
        "tests.problems.torch_modules:Normalised", data="digits", rows=300, batch=8, mode=mode
    )
    fleet = ro.SimulatedFleet(gradients="batched", lookahead=lookahead)
    for method in (methods.ASGD(0.05), methods.Ringmaster(0.1, threshold=4, interrupt=True)):
        batched, here, again = (outcome(method, problem, way)[1] for way in (fleet, HERE, fleet))
        np.testing.assert_allclose(batched.x, here.x, atol=5e-5)
        assert batched.x.tobytes() == again.x.tobytes()
        if mode == "train":
            np.testing.assert_allclose(batched.statistics, here.statistics, atol=5e-5)
            assert batched.statistics.tobytes() == again.statistics.tobytes()


def test_the_table_says_how_many_were_not_needed_and_the_trace_is_that_of_here():
    chosen = [methods.ASGD(0.02), methods.Ringmaster(0.05, threshold=2)]
    arguments = {"problem": Quadratic(20, noise=0.1), "workers": ro.Workers(6, "sqrt(i)"), "until": ro.Until(time=30)}
    batched, here = (ro.run(chosen, fleet=fleet, **arguments) for fleet in (BATCHED, HERE))
    (note,) = batched.summary["notes"]
    assert note.startswith("Gradients computed ahead that were not needed: ASGD ")
    assert batched.trace.to_csv() == here.trace.to_csv()
    assert batched.history.to_csv() == here.history.to_csv()


def test_a_run_that_goes_on_has_the_bits_of_the_whole(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from rayopt.fleets.base import Job
    from rayopt.runs.snapshot import Schedule

    problem = ro.problems.TorchProblem.from_config(
        "tests.problems.torch_modules:Normalised", data="digits", rows=300, batch=8
    )
    workers, until, kept = ro.Workers(8, UNEQUAL), ro.Until(updates=400), []
    record = ro.Record(trace=False, metrics=()).resolve(problem.metric_names, until)

    def run(start: Any = None, checkpoints: Any = None) -> tuple[methods.Method, Outcome]:
        method = methods.ASGD(0.02)
        job = Job(method, 0, until, record, start=start, checkpoints=checkpoints)
        with BATCHED.open(problem, workers) as session:
            return method, session.run(job, lambda rows: None, lambda progress: None, kept.append)

    whole, outcome = run(checkpoints=Schedule(0.05, 0.05))
    assert kept
    again, resumed = run(start=kept[0])
    assert again.x.tobytes() == whole.x.tobytes()
    assert (resumed.requested, resumed.wasted) == (outcome.requested, outcome.wasted)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [({"gradients": "batch"}, "gradients"), ({"lookahead": 8}, "lookahead"),
     ({"gradients": "batched", "lookahead": 0}, "lookahead"), ({"gradients": "batched", "processes": 2}, "processes")],
)  # fmt: skip
def test_what_is_not_allowed_is_one_line(arguments, key):
    with pytest.raises(ro.InvalidInput) as caught:
        ro.SimulatedFleet(**arguments)
    assert caught.value.key == key


def test_more_than_memory_holds_is_refused():
    fleet = ro.SimulatedFleet(gradients="batched", lookahead=10**9)
    with pytest.raises(ro.InvalidInput, match=r"lookahead: 1,000,000,000 needs at least .* of memory"):
        fleet.open(Quadratic(10_000), ro.Workers(2, 1.0))


def test_a_workload_holds_it():
    assert BATCHED.to_config() == {"name": "simulated", "gradients": "batched", "lookahead": 4}
    assert ro.SimulatedFleet(gradients="batched").lookahead == 32


def test_a_replay_says_that_it_cannot_and_one_of_numpy_can(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    problem = ro.problems.TorchProblem.from_config(
        "tests.problems.torch_modules:Normalised", data="digits", rows=100, batch=4
    )
    arguments = {"workers": ro.Workers(4, "i"), "until": ro.Until(time=6), "fleet": BATCHED}
    ro.run(methods.ASGD(0.05), problem, out=tmp_path / "torch", **arguments)
    with pytest.raises(ro.InvalidInput, match="was made with gradients: batched"):
        ro.replay(tmp_path / "torch", trust_code=True)
    ro.run(methods.ASGD(0.05), LogisticRegression.digits(rows=100), out=tmp_path / "numpy", **arguments)
    assert [run.difference for run in ro.replay(tmp_path / "numpy").runs] == [None]
