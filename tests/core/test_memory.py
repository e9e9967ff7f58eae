"""Whether what somebody asks for can fit into the memory of this machine."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt.core.errors import InvalidInput
from rayopt.core.memory import available_bytes, check_fits, in_units


def test_what_is_free_is_known_here():
    assert 10**8 < available_bytes() < 10**13


def test_a_message_has_key_value_need_and_what_there_is():
    with pytest.raises(InvalidInput, match=r"^count: 1,000 needs at least 1 EB|^count: 1,000 needs at least 1000 PB"):
        check_fits("count", 1000, 10**18)
    check_fits("count", 1000, 1000)


@pytest.mark.parametrize(("amount", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2e9, "2 GB")])
def test_units(amount, text):
    assert in_units(amount) == text


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: ro.Workers(10**9 * 1000, "i"), "count"),
        (lambda: ro.problems.Quadratic(dimension=2 * 10**13), "dimension"),
        (lambda: ro.problems.Free(10**15), "dimension"),
        (lambda: ro.problems.LogisticRegression.digits(batch=10**15), "batch"),
        (lambda: ro.problems.LogisticRegression.digits(batch=10**30), "batch"),
        (lambda: ro.problems.LeastSquares.synthetic(rows=10**9, features=10**9), "rows"),
        (lambda: ro.problems.SparseLogisticRegression.synthetic(rows=10**15, features=10), "rows"),
        (lambda: ro.problems.Quadratic(noise=1e300), "noise"),
        (lambda: ro.problems.Quadratic(noise=10**400), "noise"),
        (lambda: ro.methods.FedAvg(0.1, local_steps=10**15), "local_steps"),
        (lambda: ro.methods.Rennala(0.1, batch_size=2**63), "batch_size"),
    ],
)
def test_numbers_too_large_for_the_machine_are_one_line(make, key):
    with pytest.raises(InvalidInput) as refused:
        make()
    assert refused.value.key.split(".")[-1] == key
    assert "\n" not in str(refused.value)


def test_a_million_workers_go_on_working():
    result = ro.run(ro.methods.ASGD(0.1), ro.problems.Free(2), ro.Workers(10**6, "i"), until=ro.Until(arrivals=5))
    assert result.table.arrivals.tolist() == [5]


@pytest.mark.parametrize("method", [ro.methods.Ringleader, ro.methods.IA2SGD])
def test_tables_of_a_vector_for_each_worker_are_counted(method, monkeypatch):
    monkeypatch.setattr("rayopt.experiments.memory_estimate.available_bytes", lambda: 10**6)
    problem, workers = ro.problems.Quadratic(dimension=1000), ro.Workers(100, "i")
    experiment = ro.Experiment([method(0.1)], problem, workers, ro.Until(time=10), seeds=[0])
    with pytest.warns(UserWarning, match="tables of a vector for each worker 800 kB"):
        experiment.warn_of_memory()


def test_points_history_and_shards_are_counted():
    from rayopt.experiments.memory_estimate import memory_needs

    problem = ro.problems.LogisticRegression.digits(partition="split")
    experiment = ro.Experiment([ro.methods.Ringleader([0.1, 0.2])], problem, ro.Workers(10, "i"), ro.Until(time=10),
                               seeds=[0])  # fmt: skip
    needs = memory_needs(experiment)
    assert needs["up to 10 points of x in flight"] == 10 * 2 * problem.dimension * 8
    assert needs["history"] == 52 * 2 * 400
    assert needs["shards"] == problem.X.nbytes + problem.y.nbytes
    assert np.sum(list(needs.values())) > 0
