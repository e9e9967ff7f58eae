"""Real Ray: what was recorded in real time is replayed in virtual time, x equal to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import ray

import rayopt as ro
from benchmarks.kills import kill_one, killing
from rayopt import methods
from rayopt.experiments.displays import Displays
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.fleets.ray.memory_estimate import bytes_of
from rayopt.problems import MLP, LogisticRegression, Quadratic
from tests.experiments.replay.tampering import rewrite
from tests.methods.test_shadowheart import HAND

pytestmark = pytest.mark.timeout(240)
ENDS_CLUSTER = True


def recorded(folder, method, problem, until, per_actor=1, **others):
    fleet = ro.RayFleet(workers_per_actor=per_actor)
    return ro.run(method, problem, ro.Workers(4, "0.004 * sqrt(i)"), until=until, fleet=fleet, out=folder, **others)


@pytest.mark.parametrize("per_actor", [1, 2], ids=["direct", "packed"])
def test_methods_on_digits(cluster, tmp_path, per_actor):
    chosen = [
        methods.ASGD([0.05, 0.2]),
        methods.Ringmaster(0.3, threshold=3, interrupt=True),
        methods.Rennala(0.8, batch_size=6, interrupt=True),
        methods.FedBuff(0.2, local_steps=2, buffer_size=3),
        methods.ATA(0.3, batch_size=6, alpha=0.1),
        methods.Malenia(0.3, batch_size=12),
    ]
    problem = LogisticRegression.digits(batch=8, partition={"name": "dirichlet", "alpha": 1.0})
    result = recorded(
        tmp_path / "run", chosen, problem, ro.Until(updates=60), per_actor, record=ro.Record(every=0.05), force=True
    )
    again = ro.replay(tmp_path / "run")
    assert [run.difference for run in again.runs] == [None] * 6
    assert [run.updates for run in again.runs] == [60] * 6
    assert all(run.checked > 2 for run in again.runs)
    assert not again.elsewhere
    assert result.summary["environment"]["blas_threads"] == 1


@pytest.mark.parametrize("per_actor", [2], ids=["packed"])
def test_methods_of_finite_sums(cluster, tmp_path, per_actor):
    """The server chooses the components, and every worker can evaluate every one of them."""
    chosen = [
        methods.FreyaPAGE(0.5, batch_size=10, probability=0.2), methods.FreyaSGD(0.5, batch_size=6),
        methods.PAGE(0.5), methods.HeroGD(0.5), methods.HeroPAGE(0.5), methods.SovietGD(0.5), methods.SovietPAGE(0.5),
    ]  # fmt: skip
    problem = LogisticRegression.digits(block=50)
    result = recorded(tmp_path / "run", chosen, problem, ro.Until(updates=8), per_actor)
    assert result.table.updates.tolist() == [8] * 7
    assert (result.table.value < np.log(10)).all()
    again = ro.replay(tmp_path / "run")
    assert [run.difference for run in again.runs] == [None] * 7
    components = result.trace[result.trace.label == "FreyaPAGE"].component
    assert components.between(0, problem.components - 1).all()


@pytest.mark.parametrize("per_actor", [1, 2], ids=["direct", "packed"])
def test_methods_with_compressed_messages(cluster, tmp_path, per_actor):
    """What travels is encoded, decoded by the server, and equal to the bit to what virtual time computes."""
    c = ro.compressors
    chosen = [
        methods.QSGD(0.3, c.QSGD(4)), methods.DCGD(0.3, c.Natural()), methods.DIANA(0.3, c.RandK(50)),
        methods.EF21(0.3, c.TopK(50)), methods.EF21SGDM(0.3, c.TopK(50), 0.3),
        methods.MARINA(0.3, c.RandK(100)), methods.PermKMARINA(0.3),
        methods.BatchQSGD(0.3, c.RandK(50), batch_size=2, messages=3), methods.SGDone(0.3),
        methods.BidirectionalShadowheart(0.1, c.RandK(50), 1.0, c.TopK(200), max_messages=3),
        methods.Shadowheart(0.1, c.RandK(50), 1.0, max_messages=3),
        methods.AdaptiveShadowheart(0.1, c.RandK(50), 1.0, first_budget=0.02),
    ]  # fmt: skip
    if per_actor > 1:
        packed = ("QSGD", "EF21SGDM", "Shadowheart", "AdaptiveShadowheart")
        chosen = [method for method in chosen if type(method).__name__ in packed]
    workers = ro.Workers(4, "0.004 * sqrt(i)", upload=ro.Link(per_message=0.002, per_float=1e-5))
    result = ro.run(chosen, LogisticRegression.digits(batch=8), workers, until=ro.Until(updates=8),
                    fleet=ro.RayFleet(workers_per_actor=per_actor), out=tmp_path / "run", force=True)  # fmt: skip
    assert result.table.updates.tolist() == [8] * len(chosen)
    again = ro.replay(tmp_path / "run")
    assert [run.difference for run in again.runs] == [None] * len(chosen)
    virtual = ro.run(chosen, LogisticRegression.digits(batch=8), workers, until=ro.Until(updates=8), force=True)
    # How much the last one sends depends on the clock.
    assert virtual.table.bits_up.tolist()[:-1] == result.table.bits_up.tolist()[:-1]
    trace = result.trace[result.trace.label == "AdaptiveShadowheart"]
    assert set(trace.bits) == {0, 50 * 64}


@pytest.mark.parametrize("per_actor", [1, 2], ids=["direct", "packed"])
def test_the_messages_of_a_run_by_hand_come_in_order(cluster, tmp_path, per_actor):
    """tests/methods/test_shadowheart.py has the table; a second is 500 ms here."""
    workers = ro.Workers(3, [1.0, 2.0, 3.0], upload=[0.5, 1.0, 0.25])
    method = methods.Shadowheart(0.3, ro.compressors.RandK(1), 2.0)
    fleet = ro.RayFleet(workers_per_actor=per_actor, time_scale=0.5)
    result = ro.run(method, Quadratic(3), workers, until=ro.Until(updates=1), fleet=fleet, out=tmp_path / "run")
    for worker in range(3):
        expected = [message for _, number, _, message in HAND if number == worker]
        assert result.trace[result.trace.worker == worker].message.tolist() == expected
    # What is at least half a second apart by hand is in that order here.
    came = {(row.worker, row.message): place for place, row in enumerate(result.trace.itertuples())}
    for time, worker, _, message in HAND:
        for later, other, _, its in HAND:
            if later >= time + 0.5:
                assert came[worker, message] < came[other, its]
    after = (result.trace.completed_at - result.trace.assigned_at).sort_values()
    np.testing.assert_allclose(after, [row[0] for row in HAND], atol=0.4)
    assert ro.replay(tmp_path / "run").is_equal


def test_all_data_are_stored_once_however_many_workers_evaluate_them(cluster, tmp_path, monkeypatch):
    sizes, put = [], ray.put
    monkeypatch.setattr(ray, "put", lambda content, **given: sizes.append(bytes_of(content)) or put(content, **given))
    problem = LogisticRegression.digits(block=50)
    result = recorded(tmp_path / "run", methods.FreyaSGD(0.5, batch_size=4), problem, ro.Until(updates=3))
    assert result.table.updates.tolist() == [3]
    assert [size >= problem.X.nbytes for size in sizes].count(True) == 1
    assert sum(sizes) < 1.5 * (problem.X.nbytes + problem.y.nbytes)


def test_values_through_the_object_store_and_networks(cluster, tmp_path):
    recorded(tmp_path / "large", methods.Ringmaster(0.5, threshold=2), Quadratic(30_000, noise=0.01),
             ro.Until(updates=30))  # fmt: skip
    recorded(tmp_path / "network", methods.ASGD(0.05), MLP.digits(hidden=[16], batch=16), ro.Until(updates=60))
    assert ro.replay(tmp_path / "large").is_equal
    assert ro.replay(tmp_path / "network").is_equal


class OneKill(Displays):
    """Kills one process of workers, once the run has got somewhere."""

    arrivals = 0

    def progressed(self, run, progress):
        self.arrivals = progress.arrivals

    def kill(self):
        return self.arrivals > 4 and kill_one()


@pytest.mark.parametrize(
    ("method", "updates"),
    [(methods.Ringleader(0.05), 120), (methods.Malenia(0.5, batch_size=4, interrupt=True), 30)],
    ids=["Ringleader", "Malenia"],
)
def test_workers_that_were_killed(cluster, tmp_path, per_actor, method, updates):
    """Both methods wait for every worker, so that no run ends before the one that was killed is back."""
    workers, fleet = ro.Workers(4, "0.05 * sqrt(i)"), ro.RayFleet(workers_per_actor=per_actor)
    problem, record, display = LogisticRegression.digits(batch=8), ro.Record(checkpoint=1.0), OneKill([])
    experiment = ro.Experiment([method], problem, workers, ro.Until(updates=updates), fleet, record)
    with killing(every=0.05, times=1, kill=display.kill):
        result = experiment.run(tmp_path / "run", display)
    (run,) = result.summary["runs"]
    assert run["faults"]["restarts"] == 1
    (again,) = ro.replay(tmp_path / "run").runs
    assert again.difference is None
    assert again.arrivals == run["arrivals"]


def test_momentum_that_only_a_worker_had_goes_with_its_process(cluster, tmp_path):
    display = OneKill([])
    experiment = ro.Experiment([methods.EF21SGDM(0.1, ro.compressors.TopK(2), 0.3)], Quadratic(9), ro.Workers(2, 0.05),
                               ro.Until(updates=200), ro.RayFleet())  # fmt: skip
    with killing(every=0.05, times=1, kill=display.kill), pytest.raises(WorkerLost) as failed:
        experiment.run(tmp_path / "run", display)
    assert "lost the mean of its gradients" in str(failed.value)


class Alarmed(methods.ASGD):
    """Cancels two workers and moves x every 11 ms."""

    name = "alarmed"

    def start(self, fleet):
        fleet.wake(0.011)
        super().start(fleet)

    def receive(self, arrival, fleet):
        if arrival.worker is not None:
            return super().receive(arrival, fleet)
        self.x = 0.9 * self.x
        fleet.assign(np.array([1, 3]), self.point())
        return fleet.wake(0.011)


def test_alarms(cluster, tmp_path):
    workers, until, fleet = ro.Workers(4, "0.004 * sqrt(i)"), ro.Until(updates=200), ro.RayFleet()
    experiment = ro.Experiment([Alarmed(0.05)], Quadratic(20, noise=0.01), workers, until, fleet)
    experiment.run(tmp_path / "run")
    assert ro.replay(tmp_path / "run", experiment).is_equal


def test_the_first_difference_is_shown(cluster, tmp_path):
    folder = tmp_path / "run"
    result = recorded(folder, methods.ASGD(0.05), Quadratic(20, noise=0.01), ro.Until(updates=80))
    trace = result.trace
    # Two updates of one version by workers that swap places: the method does not mind, but x does.
    later = next(k for k in range(20, 79) if trace.worker[k] != trace.worker[k + 1])
    order = [*range(later), later + 1, later, *range(later + 2, 80)]

    def swap(trace):
        swapped = trace.loc[order].reset_index(drop=True)
        for name in ("updates", "time", "checksum"):
            swapped[name] = trace[name]
        return swapped

    rewrite(folder, swap)
    (run,) = ro.replay(folder).runs
    assert (run.difference.update, run.difference.worker) == (later + 1, trace.worker[later + 1])
    assert run.difference.what == "the sum of x is another one"
    assert run.difference.size > 0
