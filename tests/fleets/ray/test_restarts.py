"""Worker processes that are killed: their tasks are given again, and the run goes on."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import Counter

import numpy as np
import pytest
import ray
from ray import cloudpickle
from ray_sessions import opened

import rayopt as ro
from benchmarks.kills import killing
from rayopt import methods
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.fleets.ray.supervision import DEATHS
from rayopt.problems import LogisticRegression, Quadratic
from rayopt.storage.trace.rows import CANCELLED

# Actors cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.timeout(300)


class Deadly(Quadratic):
    """The gradients of worker 3 kill the process."""

    def draw(self, worker, key, count=1):
        if worker == 3:
            os._exit(1)
        return super().draw(worker, key, count)


def numbers_of_tasks(rows):
    """How many tasks of each worker have ended, in the trace."""
    return Counter(rows["worker"].tolist())


def test_a_worker_that_is_killed_gets_its_task_again(cluster, per_actor, simulate):
    """With a kill in the middle, Minibatch goes where it goes in virtual time: no sample was skipped or changed."""
    method, until, problem = methods.Minibatch(0.5), ro.Until(updates=20), LogisticRegression.digits(batch=4)
    with opened(problem, 0.1, workers_per_actor=per_actor) as fixture:
        fixture.run(method.fresh(), ro.Until(updates=1), seed=3)
        with killing(every=0.5, times=1) as killed:
            outcome, rows = fixture.run(method.fresh(), until, seed=3, metrics=("value",))
    assert len(killed) == 1
    assert outcome.ended_by == "updates"
    assert outcome.faults.restarts == 1
    assert outcome.faults.missing == []
    assert set(numbers_of_tasks(rows).values()) == {20}
    virtual = simulate(method.fresh(), problem, 0.1, until, seed=3, n=4)
    np.testing.assert_allclose(outcome.rows[-1]["value"], virtual.outcome.rows[-1]["value"], rtol=1e-12)


def test_large_points_and_values_survive_a_kill_too(cluster):
    with opened(Quadratic(20_000, noise=0.0), 0.1) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=1))
        with killing(every=0.5, times=1):
            outcome, rows = fixture.run(methods.Minibatch(0.1), ro.Until(updates=12), metrics=("gap",))
    assert (outcome.updates, outcome.faults.restarts) == (12, 1)
    assert set(numbers_of_tasks(rows).values()) == {12}


def test_a_kill_every_few_seconds(cluster, per_actor):
    with (
        opened(Quadratic(50, noise=0.01), 0.02, workers_per_actor=per_actor) as fixture,
        killing(every=3.0) as killed,
    ):
        outcome, rows = fixture.run(methods.ASGD(0.01), ro.Until(updates=700), metrics=("gap",), every=1.0)
    assert outcome.updates == 700
    assert outcome.counts.arrivals == len(rows) == 700
    assert 1 <= outcome.faults.restarts + len(outcome.faults.missing) <= len(killed) * per_actor
    assert all("gap" in row for row in outcome.rows)
    shown = [progress.worker_counts for progress in fixture.progress if progress.worker_counts is not None]
    assert all(sum(worker_counts) == 4 for worker_counts in shown)
    assert any(worker_counts.restarting > 0 for worker_counts in shown)


def test_an_interrupting_method_goes_on_while_a_worker_restarts(cluster, per_actor):
    """The method gives the dead worker new tasks all the time: it gets the latest one when it is back."""
    with opened(Quadratic(5, noise=0.01), 0.05, workers_per_actor=per_actor) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=1))
        with killing(every=0.5, times=1) as killed:

            def stop_when_back():
                # It may be back between two reports, so that none has seen it away.
                if killed and time.monotonic() > killed[0] + 5 and fixture.progress[-1].worker_counts.up == 4:
                    fixture.session.stop()

            fixture.on_progress = stop_when_back
            method = methods.Rennala(0.1, batch_size=2, interrupt=True)
            outcome, rows = fixture.run(method, ro.Until(time=100))
    assert outcome.faults.restarts == 1
    assert (rows["outcome"] == CANCELLED).any()
    last = {worker: rows["time"][rows["worker"] == worker].max() for worker in range(4)}
    assert min(last.values()) > outcome.time - 1


def test_a_process_that_dies_between_two_runs(cluster, per_actor):
    with opened(Quadratic(5), 0.02, n=2, workers_per_actor=per_actor) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=5))
        ray.kill(fixture.session.actors[0], no_restart=False)
        # Whether it is away, or is back without its shard.
        time.sleep(1.0)
        outcome, _ = fixture.run(methods.Minibatch(0.1), ro.Until(updates=5))
    assert outcome.updates == 5
    assert outcome.faults.restarts == 1


def test_a_worker_that_is_gone_for_good_is_an_error_for_a_method_that_waits_for_everyone(cluster, per_actor):
    with opened(Quadratic(5), 0.02, n=4, workers_per_actor=per_actor, grace=1.0) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=5))
        ray.kill(fixture.session.actors[0])
        names = "worker 0" if per_actor == 1 else "workers 0, 1"
        for method in (methods.Minibatch(0.1), methods.Malenia(0.1, batch_size=4)):
            waits = rf"no process for {names}, .* 1 s \(grace\), and {type(method).__name__} waits"
            with pytest.raises(WorkerLost, match=waits):
                fixture.run(method, ro.Until(updates=5))
        outcome, rows = fixture.run(methods.ASGD(0.1), ro.Until(time=3))
        assert outcome.ended_by == "time"
        assert outcome.faults.missing == list(range(per_actor))
        assert sorted(set(rows["worker"].tolist())) == list(range(per_actor, 4))
        assert fixture.progress[-1].worker_counts == (4 - per_actor, 0, per_actor)


@pytest.mark.parametrize("per_actor", [1, 2], ids=["direct", "packed"])
def test_a_task_that_kills_its_process_every_time_is_given_up(cluster, per_actor, caplog):
    why = r"5 processes in a row died over tasks of workers? (2, )?3, and Minibatch waits for every worker"
    with (
        opened(Deadly(5), 0.02, n=4, workers_per_actor=per_actor) as fixture,
        caplog.at_level(logging.INFO, "rayopt"),
        pytest.raises(WorkerLost, match=why),
    ):
        fixture.run(methods.Minibatch(0.1), ro.Until(updates=5))
    shown = [(record.levelname, record.getMessage()) for record in caplog.records if getattr(record, "run", "")]
    assert all(record.run == "minibatch, seed 0" for record in caplog.records if hasattr(record, "run"))
    assert shown[0][0] == "WARNING"
    assert shown[0][1].startswith("a process of workers died: worker")
    assert shown[-1][1].startswith("workers are given up: 5 processes in a row died over tasks of")
    assert len(shown) <= 5


def test_other_methods_go_on_without_the_worker_whose_task_kills(cluster):
    with opened(Deadly(5), 0.02, n=4) as fixture:
        fixture.on_progress = lambda: fixture.progress[-1].worker_counts == (3, 0, 1) and fixture.session.stop()
        outcome, rows = fixture.run(methods.ASGD(0.1), ro.Until(time=100))
    assert outcome.faults.missing == [3]
    assert outcome.faults.restarts == DEATHS
    assert outcome.time < 100
    assert set(rows["worker"].tolist()) == {0, 1, 2}


def test_a_fleet_of_which_nothing_is_left_is_an_error_for_every_method(cluster, per_actor):
    with opened(Quadratic(5), 0.02, n=2, workers_per_actor=per_actor, grace=1.0) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=5))
        for actor in fixture.session.actors:
            ray.kill(actor)
        with pytest.raises(WorkerLost, match="no other worker is left"):
            fixture.run(methods.ASGD(0.1), ro.Until(time=60))


def test_the_only_workers_that_have_tasks_are_gone(cluster, per_actor):
    """Hero asks the fastest worker alone."""
    with opened(Quadratic(5), "0.02 * i", n=4, workers_per_actor=per_actor, grace=1.0) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=5))
        ray.kill(fixture.session.actors[0])
        with pytest.raises(
            WorkerLost, match=r"no process for worker 0, .* 1 s \(grace\), and no other worker has a task"
        ):
            fixture.run(methods.Hero(0.1), ro.Until(time=60))


class DeadlyMetrics(Quadratic):
    """Its metrics kill the process after the first updates."""

    def metrics(self, x, names):
        if not np.array_equal(x, self.start_point()):
            os._exit(1)
        return super().metrics(x, names)


def test_metrics_that_kill_their_process_every_time_do_not_hold_the_run(cluster, caplog):
    with opened(DeadlyMetrics(5), 0.02, n=2) as fixture, caplog.at_level(logging.WARNING, "rayopt"):
        outcome, _ = fixture.run(methods.ASGD(0.1), ro.Until(updates=20), metrics=("gap",), every=0.1)
    assert outcome.updates == 20
    gaps = [row["gap"] for row in outcome.rows]
    assert np.isfinite(gaps[0])
    assert np.isnan(gaps[1:]).all()
    assert outcome.faults.unmeasurable == len(gaps) - 1 >= 1
    assert any(f"died {DEATHS} times" in record.getMessage() for record in caplog.records)


def test_metrics_survive_the_process_that_computes_them(cluster):
    with opened(Quadratic(5), 0.02, n=2) as fixture:
        fixture.run(methods.ASGD(0.1), ro.Until(updates=5))
        ray.kill(fixture.session._evaluator, no_restart=False)
        outcome, _ = fixture.run(methods.ASGD(0.1), ro.Until(time=1), metrics=("gap",), every=0.2)
    assert all("gap" in row for row in outcome.rows)
