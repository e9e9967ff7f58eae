"""Freya PAGE and its rivals: exact full gradients, schedules of independent programs, and what all methods promise."""

from __future__ import annotations

import heapq
import math
import random

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods, theory
from rayopt.experiments.experiment import NothingRan
from rayopt.methods.finite_sum.base import FiniteSumMethod
from rayopt.problems import LogisticRegression, NonconvexQuadratics

PROBLEM = NonconvexQuadratics(components=30, dimension=6, spread=1.0, seed=1)


class CollectOnce(FiniteSumMethod):
    """Collects one full gradient and keeps it."""

    name = "collect_once"
    paper = "a test"

    def start(self, fleet):
        self.found = None
        self.begin_gradient(fleet)

    def receive(self, arrival, fleet):
        found = self.collect_gradient(arrival, fleet)
        if found is not None:
            self.found = found
            self.descend(found)


def test_the_full_gradient_is_exact_and_every_component_counts_once(simulate):
    generator = random.Random(0)
    for fleet in range(200):
        n, m = generator.randint(1, 12), generator.randint(1, 40)
        times = [generator.lognormvariate(0, 2) for _ in range(n)]
        for worker in range(1, n):
            if generator.random() < 0.2:
                times[worker] = math.inf
        problem = NonconvexQuadratics(components=m, dimension=4, seed=fleet)
        ran = simulate(CollectOnce(0.1), problem, times, ro.Until(updates=1), seed=fleet, n=n)
        x = problem.start_point()
        np.testing.assert_allclose(ran.method.found, problem.full_gradient(x), rtol=1e-12, atol=1e-12)
        rows = ran.rows
        used = rows[rows["outcome"] == 0]
        assert sorted(used["component"].tolist()) == list(range(m))
        ignored = rows[rows["outcome"] == 1]["component"]
        assert set(ignored.tolist()) <= set(used["component"].tolist())


def test_heavy_tailed_times_change_nothing(simulate):
    problem = NonconvexQuadratics(components=50, dimension=4)
    for seed in range(20):
        ran = simulate(
            CollectOnce(0.1),
            problem,
            ro.latency.log_cauchy(median=1.0, shape=1.0, base=0.1),
            ro.Until(updates=1),
            seed=seed,
            n=9,
        )
        np.testing.assert_allclose(
            ran.method.found, problem.full_gradient(problem.start_point()), rtol=1e-12, atol=1e-12
        )


def eager_seconds(times, m, seed):
    """ComputeGradient in plain Python, every event in a heap, indices from another generator."""
    generator = random.Random(seed)
    heap = [(seconds, worker, generator.randrange(m)) for worker, seconds in enumerate(times)]
    heapq.heapify(heap)
    missing = set(range(m))
    while True:
        now, worker, index = heapq.heappop(heap)
        missing.discard(index)
        if not missing:
            return now
        heapq.heappush(heap, (now + times[worker], worker, generator.choice(sorted(missing))))


@pytest.mark.parametrize(
    ("times", "m"),
    [(np.sqrt(np.arange(1, 31)), 60), (np.r_[np.ones(9), 40.0], 30), (np.arange(1, 6), 100)],
    ids=["sqrt", "straggler", "linear"],
)
def test_the_mean_time_is_that_of_an_independent_simulation_and_within_the_bound(simulate, times, m):
    problem = NonconvexQuadratics(components=m, dimension=2)
    count = 300
    ours = [
        simulate(CollectOnce(0.1), problem, times.tolist(), ro.Until(updates=1), seed=seed, n=len(times)).outcome.time
        for seed in range(count)
    ]
    eager = [eager_seconds(times.tolist(), m, seed) for seed in range(count)]
    assert np.mean(ours) == pytest.approx(np.mean(eager), rel=0.05)
    assert np.mean(ours) <= theory.finite_sum.gradient_time(times, m)


def test_a_batch_of_differences_takes_at_most_twice_t_of_s(simulate):
    times = np.sqrt(np.arange(1, 21))
    ran = simulate(
        methods.FreyaPAGE(0.01, batch_size=12, probability=1e-12), PROBLEM, times.tolist(), ro.Until(updates=20), n=20
    )
    ends = ran.update_times()
    assert max(np.diff(ends)) <= 2 * theory.finite_sum_time(times, 12) * (1 + 1e-12)


def test_page_with_one_worker_is_serial_page(simulate):
    """Iterate by iterate: the same coin and indices, the estimator written out."""
    problem, gamma, S, p = PROBLEM, 0.02, 5, 0.3
    iterates = []

    class Noted(methods.PAGE):
        def descend(self, gradient, scale=1.0):
            super().descend(gradient, scale)
            iterates.append(self.x)

    ran = simulate(Noted(gamma, batch_size=S, probability=p), problem, [1.0], ro.Until(updates=40), n=1)
    uniforms = iter(ran.method._uniforms.tolist())
    x, g = problem.start_point(), None
    full = True
    before = x
    seconds = 0.0
    for iterate in iterates:
        if full:
            g = problem.full_gradient(x)
            seconds += 30
        else:
            chosen = [int(next(uniforms) * 30) for _ in range(S)]
            g = g + np.mean([problem.component_difference(x, before, [j]) for j in chosen], axis=0)
            seconds += 2 * S
        before, x = x, x - gamma * g
        full = next(uniforms) < p
        np.testing.assert_allclose(iterate, x, rtol=1e-10, atol=1e-10)
    assert len(iterates) == 40
    assert ran.outcome.time == seconds


def test_soviet_gd_and_hero_gd_are_gradient_descent(simulate):
    x = PROBLEM.start_point()
    for _ in range(5):
        x = x - 0.1 * PROBLEM.full_gradient(x)
    soviet = simulate(methods.SovietGD(0.1), PROBLEM, [1.0, 2.0, 4.0], ro.Until(updates=5), n=3)
    hero = simulate(methods.HeroGD(0.1), PROBLEM, [4.0, 1.0, 2.0], ro.Until(updates=5), n=3)
    for ran, seconds in ((soviet, 5 * 10 * 4.0), (hero, 5 * 30 * 1.0)):
        np.testing.assert_allclose(ran.method.x, x, rtol=1e-12, atol=1e-12)
        assert ran.outcome.time == seconds


def test_more_workers_than_components_leave_some_idle(simulate):
    small = NonconvexQuadratics(components=3, dimension=4)
    ran = simulate(methods.SovietGD(0.1), small, [1.0] * 8, ro.Until(updates=2), n=8)
    assert len(ran.rows) == 6


@pytest.mark.parametrize(
    ("method", "problem", "message"),
    [
        (methods.FreyaPAGE(0.1), ro.problems.Quadratic(5), "quadratic is not a finite sum"),
        (methods.FreyaPAGE(0.1), LogisticRegression.digits(partition="split"), "is split over the workers"),
    ],
)
def test_problems_without_components_are_refused_before_anything_runs(method, problem, message):
    with pytest.raises(NothingRan, match=message):
        ro.run(method, problem, ro.Workers(3, "i"), until=ro.Until(updates=2), force=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: methods.FreyaPAGE(0.1, probability=1.5), "probability: 1.5 is above 1"),
        (lambda: methods.FreyaPAGE(0.1, probability=0), "probability: 0 is not a positive number"),
        (lambda: methods.FreyaPAGE(0.1, batch_size=0), "batch_size: 0"),
        (lambda: ro.run(methods.FreyaPAGE(0.1, batch_size=31), PROBLEM, ro.Workers(3, "i"), until=ro.Until(updates=1)),
         "batch_size: 31 differences cost more than the full gradient of 30 components"),
        (lambda: ro.run(methods.PAGE(0.1, worker=3), PROBLEM, ro.Workers(3, "i"), until=ro.Until(updates=1)),
         "worker: 3 does not exist"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ro.InvalidInput, match=message):
        make()


def test_the_trace_has_the_components(tmp_path):
    result = ro.run(
        methods.FreyaPAGE(0.05), PROBLEM, ro.Workers(4, "i"), until=ro.Until(updates=6), out=tmp_path / "run"
    )
    trace = ro.load(tmp_path / "run").trace
    assert trace.component.between(0, 29).all()
    assert set(trace.outcome) == {"used", "ignored", "cancelled"}
    plain = ro.run(methods.ASGD(0.05), PROBLEM, ro.Workers(4, "i"), until=ro.Until(updates=6))
    assert (plain.trace.component == -1).all()
    assert result.table.updates.tolist() == [6]
