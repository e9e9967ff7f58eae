"""Shadowheart SGD: values and seconds of an independent program, a run by hand, 1,000 instances, and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.compression.draws import Draws
from rayopt.core.keys import Stream
from rayopt.fleets.simulated.clock import SimulatedWorkers
from rayopt.theory import equilibrium_time
from rayopt.theory.communication import shadowheart_weights

c = ro.compressors


def planned(method, dimension, compute, upload):
    """Returns the method as it is after ``prepare`` and ``start`` on a fleet with free downlinks."""
    problem = ro.problems.Quadratic(dimension)
    workers = ro.Workers(len(compute), compute, upload=upload)
    method.prepare(problem.start_point(), workers.count)
    method.start(SimulatedWorkers(problem, workers.times(0, dimension), 0))
    return method


def compressor_of(omega):
    """Returns a compressor with this omega, and the dimension."""
    return (c.RandK(1), omega + 1) if omega else (c.Identity(), 2)


@pytest.mark.parametrize(
    ("omega", "ratio", "h", "tau", "t", "b", "m", "iteration"),
    [
        (2, 2, [1, 2, 3], [0.5, 1, 0.25], 4.1660052186, [4, 2, 1], [8, 4, 16], 8.0),
        (9, 1, [1, 1, 1, 1], [0.2, 0.4, 0.8, 1.6], 3.6835618873, [3, 3, 3, 3], [18, 9, 4, 2], 6.6),
        (99, 10, [1, 1.5, 4, 9], [0.1, 0.3, 0.2, 2], 32.205203585, [32, 21, 8, 3], [322, 107, 161, 16], 64.2),
        (0, 5, [1, 2, 3], [1, 1, 1], 5.4545454545, [5, 2, 1], [5, 5, 5], 10.0),
        (4, 0, [1, 2, 3], [1, 2, 4], 4.5714285714, [4, 2, 1], [4, 2, 1], 8.0),
    ],
)
def test_values_of_an_independent_program(omega, ratio, h, tau, t, b, m, iteration):
    compressor, dimension = compressor_of(omega)
    method = planned(methods.Shadowheart(0.1, compressor, ratio), dimension, h, tau)
    assert method.equilibrium_time == pytest.approx(t, rel=1e-9)
    assert (method.batches.tolist(), method.messages.tolist()) == (b, m)
    workers = ro.Workers(len(h), h, upload=tau)
    result = ro.run(methods.Shadowheart(0.1, compressor, ratio), ro.problems.Quadratic(dimension), workers,
                    until=ro.Until(updates=2))  # fmt: skip
    assert result.table.time[0] == pytest.approx(2 * iteration)
    assert result.table.arrivals[0] == 2 * sum(m)


HAND = [
    # time, worker, number, message of the first iteration: h = 1, 2, 3, tau = 0.5, 1, 0.25, so b = 4, 2, 1 and
    # m = 8, 4, 16. Workers 0 and 1 are done computing at 4 and send every 0.5 and 1 from then on, worker 2 is done at 3
    # and sends every 0.25: its last message comes at 7, those of 0 and 1 at 8.
    (3.25, 2, 0, 0), (3.5, 2, 0, 1), (3.75, 2, 0, 2), (4.0, 2, 0, 3), (4.25, 2, 0, 4), (4.5, 0, 0, 0), (4.5, 2, 0, 5),
    (4.75, 2, 0, 6), (5.0, 0, 0, 1), (5.0, 1, 0, 0), (5.0, 2, 0, 7), (5.25, 2, 0, 8), (5.5, 0, 0, 2), (5.5, 2, 0, 9),
    (5.75, 2, 0, 10), (6.0, 0, 0, 3), (6.0, 1, 0, 1), (6.0, 2, 0, 11), (6.25, 2, 0, 12), (6.5, 0, 0, 4),
    (6.5, 2, 0, 13), (6.75, 2, 0, 14), (7.0, 0, 0, 5), (7.0, 1, 0, 2), (7.0, 2, 0, 15), (7.5, 0, 0, 6), (8.0, 0, 0, 7),
    (8.0, 1, 0, 3),
]  # fmt: skip


def test_the_events_of_a_run_by_hand():
    """Three workers and K = 1 in dimension 3, so that omega = 2."""
    workers = ro.Workers(3, [1.0, 2.0, 3.0], upload=[0.5, 1.0, 0.25])
    problem = ro.problems.Quadratic(3, noise=0.5, noise_kind="iid")
    method = methods.Shadowheart(0.3, c.RandK(1), 2.0)
    result = ro.run(method, problem, workers, until=ro.Until(updates=2))
    trace = result.trace
    rows = list(zip(trace.time, trace.worker, trace.number, trace.message, strict=True))
    assert rows[:28] == HAND
    assert rows[28:] == [(time + 8, worker, 1, message) for time, worker, _, message in HAND]
    assert trace.bits.tolist() == [64] * 56
    assert trace.updates.tolist() == [0] * 27 + [1] * 28 + [2]


def test_the_step_of_a_run_by_hand():
    """x - gamma sum_i w_i sum_j C_ij(S_i) / sum_i w_i m_i b_i, with w_i = 1 / (omega b_i + omega r + m_i r)."""
    problem = ro.problems.Quadratic(3, noise=0.5, noise_kind="iid")
    workers = ro.Workers(3, [1.0, 2.0, 3.0], upload=[0.5, 1.0, 0.25])
    fleet = SimulatedWorkers(problem, workers.times(0, 3), 0)
    method = methods.Shadowheart(0.3, c.RandK(1), 2.0)
    x = problem.start_point()
    method.prepare(x, 3)
    method.start(fleet)
    while method.updates < 1:
        method.receive(fleet.wait(), fleet)
    b, m = np.array([4, 2, 1]), np.array([8, 4, 16])
    w = 1 / (2 * b + 2 * 2 + m * 2)
    samples, draws = Stream(0, "sample"), Stream(0, "compressor")
    total = np.zeros(3)
    for worker in range(3):
        sample = problem.draw(worker, samples.key(worker, 0), int(b[worker]))
        S = b[worker] * problem.gradient(x, sample)
        for j in range(m[worker]):
            total += w[worker] * c.RandK(1).compress(S, c.RandK(1).key_of(draws.key(worker, 0), j))
    np.testing.assert_allclose(method.x, x - 0.3 * total / (w @ (m * b)), rtol=1e-12)


def test_an_iteration_takes_at_most_twice_t_star_and_the_weights_are_enough():
    generator = np.random.default_rng(0)
    for _ in range(1000):
        n = int(generator.integers(1, 9))
        h, tau = generator.lognormal(sigma=1.5, size=(2, n))
        omega, ratio = float(generator.choice([0, 1, 9, 99])), float(generator.choice([0, 0.5, 3, 200]))
        compressor, dimension = compressor_of(int(omega))
        method = planned(methods.Shadowheart(0.1, compressor, ratio), dimension, h, tau)
        b, m = method.batches, method.messages
        active = (b > 0) & (m > 0)
        assert (b * h + m * tau)[active].max() <= 2 * method.equilibrium_time * (1 + 1e-9)
        if omega or ratio:
            assert shadowheart_weights(omega, ratio, b, m).sum() >= 1 - 1e-9


def test_the_adaptive_form_takes_at_most_eight_t_star():
    """Where its first budget is at most t*: the mean over three iterations, of 100 random fleets."""
    generator = np.random.default_rng(1)
    for _ in range(100):
        n = int(generator.integers(1, 7))
        h, tau = generator.lognormal(size=(2, n))
        omega, ratio = int(generator.choice([1, 9, 30])), float(generator.choice([0.5, 3, 20]))
        best = equilibrium_time(omega, ratio, h, tau)
        first = best * float(generator.uniform(0.05, 1))
        method = methods.AdaptiveShadowheart(0.1, c.RandK(1), ratio, first_budget=first)
        workers = ro.Workers(n, h.tolist(), upload=tau.tolist())
        record = ro.Record(trace=False, metrics=["value"])
        until = ro.Until(updates=3)
        result = ro.run(method, ro.problems.Quadratic(omega + 1), workers, until=until, record=record)
        assert result.table.time[0] <= 3 * 8 * best


def test_the_adaptive_form_by_hand():
    """One worker, h = 1, tau = 0.5, omega = 1, r = 1: T = 1 gives b = 1, m = 2, q = 1 / (1/2 + 1/2 + 1) < 1."""
    method = methods.AdaptiveShadowheart(0.1, c.RandK(1), 1.0)
    workers = ro.Workers(1, 1.0, upload=0.5)
    result = ro.run(method, ro.problems.Quadratic(2), workers, until=ro.Until(updates=1))
    # T = 2: b = 1 + 2, m = 4, q = 1 / (1/4 + 1/12 + 1/3) = 1.5. Gradients come at 1, 3 and 4.
    used = result.trace[result.trace.outcome == "used"]
    assert used.time.tolist() == [1.0, 1.5, 2.0, 3.0, 4.0, 4.5, 5.0, 5.5, 6.0]
    assert used.bits.tolist() == [0, 64, 64, 0, 0, 64, 64, 64, 64]
    assert result.table.time.tolist() == [6.0]


def test_equal_workers_have_a_closed_form():
    for omega, ratio, h, tau, n in [(9, 2, 1.0, 0.3, 4), (99, 0.5, 0.2, 1.0, 50), (3, 100, 2.0, 0.01, 7)]:
        a = (omega * tau + h * ratio) / n
        s = a + math.sqrt(a**2 + 4 * tau * h * ratio * omega / n)
        assert equilibrium_time(omega, ratio, [h] * n, [tau] * n) == pytest.approx(max(h, tau, s))


class TestLimits:
    def test_free_messages_bring_the_value_itself(self):
        problem = ro.problems.Quadratic(5, noise=0.5)
        workers = ro.Workers(3, [1.0, 2.0, 4.0])
        result = ro.run(methods.Shadowheart(0.3, c.RandK(1), 6.0), problem, workers, until=ro.Until(updates=3))
        assert np.isinf(planned(methods.Shadowheart(0.3, c.RandK(1), 6.0), 5, [1.0, 2.0], 0.0).messages).all()
        assert result.trace.message.max() == 0
        assert set(result.trace.bits) == {320}

    def test_without_noise_and_compression_it_is_one_gradient_of_the_fastest(self, simulate):
        method = methods.Shadowheart(0.3, c.Identity(), 0.0)
        ran = simulate(method, ro.problems.Quadratic(5, noise=0.0), [1.0, 2.0, 4.0], ro.Until(updates=3), n=3)
        assert set(ran.rows["worker"].tolist()) == {0}

    def test_a_worker_without_a_share_stands_idle(self):
        method = planned(methods.Shadowheart(0.1, c.RandK(1), 1.0), 4, [1.0, 1.0, 1e6], [0.1, 1e6, 0.1])
        assert (method.batches[2], method.messages[1]) == (0, 0)
        workers = ro.Workers(3, [1.0, 1.0, math.inf], upload=[0.1, math.inf, 0.1])
        result = ro.run(methods.Shadowheart(0.1, c.RandK(1), 1.0), ro.problems.Quadratic(4), workers,
                        until=ro.Until(updates=2))  # fmt: skip
        assert set(result.trace.worker) == {0}

    def test_messages_are_clipped(self):
        given = ([1.0, 2.0, 3.0], [0.01, 0.02, 0.03])
        assert planned(methods.Shadowheart(0.1, c.RandK(3), 50.0), 10, *given).messages.max() > 10
        assert planned(methods.Shadowheart(0.1, c.RandK(3), 50.0, max_messages=True), 10, *given).messages.max() == 4
        assert planned(methods.Shadowheart(0.1, c.RandK(3), 50.0, max_messages=7), 10, *given).messages.max() == 7


def test_the_estimate_is_unbiased_and_of_the_variance_that_is_promised():
    """E||g - grad f||^2 <= (||grad f||^2 + eps) / Q, with sigma^2 = r eps."""
    d, noise, ratio = 6, 0.4, 3.0
    problem = ro.problems.Quadratic(d, noise=noise, noise_kind="iid")
    eps = d * noise**2 / ratio
    x = problem.start_point()
    gradient = problem.full_gradient(x)
    for without_replacement in (False, True):
        found = []
        for seed in range(600):
            workers = ro.Workers(3, [1.0, 2.0, 3.0], upload=[0.5, 1.0, 0.25])
            fleet = SimulatedWorkers(problem, workers.times(seed, d), seed)
            method = methods.Shadowheart(1.0, c.RandK(1), ratio, without_replacement=without_replacement)
            method.prepare(x, 3)
            method.start(fleet)
            while not method.updates:
                method.receive(fleet.wait(), fleet)
            found.append(x - method.x)
        estimates = np.array(found)
        error = estimates.std(axis=0) / math.sqrt(len(estimates))
        assert (np.abs(estimates.mean(axis=0) - gradient) <= 4 * error).all()
        variance = ((estimates - gradient) ** 2).sum(axis=1)
        assert variance.mean() <= (gradient @ gradient + eps) * 1.05


def test_thousands_of_messages_of_one_worker_are_not_a_fleet_that_is_stuck():
    method = methods.Shadowheart(0.1, c.RandK(1), 3000.0)
    workers = ro.Workers(1, 1.0, upload=0.5)
    result = ro.run(method, ro.problems.Quadratic(2), workers, until=ro.Until(updates=1))
    assert result.table.arrivals[0] > 2000


def test_a_sum_of_messages_in_virtual_time_is_that_of_messages_as_they_come(simulate):
    """What Ray adds one by one, and what virtual time adds at once, agree up to rounding."""
    problem = ro.problems.Quadratic(7, noise=0.3)
    workers = ro.Workers(3, [1.0, 2.0, 3.0], upload=[0.5, 1.0, 0.25])
    points = []
    for adds_as_they_come in (False, True):
        fleet = SimulatedWorkers(problem, workers.times(0, 7), 0)
        fleet.source.adds_as_they_come = adds_as_they_come
        method = methods.Shadowheart(0.2, c.RandK(2), 2.0)
        method.prepare(problem.start_point(), 3)
        method.start(fleet)
        while method.updates < 3:
            method.receive(fleet.wait(), fleet)
        points.append(method.x)
    np.testing.assert_allclose(*points, rtol=1e-12)
    assert Draws(0).key(method._task(0, 3), 0, 5) == Stream(0, "compressor").key(0, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: methods.Shadowheart(0.1, c.TopK(2), 1.0), "compressor: TopK.* is biased, and Shadowheart needs"),
        (lambda: methods.Shadowheart(0.1, c.RandK(2), -1.0), "noise_ratio: -1"),
        (lambda: methods.Shadowheart(0.1, c.RandK(2), 1.0, max_messages=0), "max_messages: 0"),
        (lambda: methods.Shadowheart(0.1, c.Natural(), 1.0, None, True), "without_replacement: true with"),
        (lambda: methods.QSGD(0.1, c.ScaledRandK(2)), "is biased, and QSGD needs"),
        (lambda: methods.DIANA(0.1, c.RandK(2), shift_step=2), "shift_step: 2 is above 1"),
        (lambda: methods.MARINA(0.1, c.RandK(2), probability=0), "probability: 0"),
        (lambda: methods.EF21(0.1, c.RandK(2)).prepare(np.zeros(9), 3), "RandK.* does not contract"),
        (lambda: methods.QSGD(0.1, c.RandK(10)).prepare(np.zeros(9), 3), "compressor.k: 10 of 9 coordinates"),
        (lambda: methods.BidirectionalShadowheart(0.1, c.RandK(2), 1.0, "rand").prepare(np.zeros(9), 3),
         "downlink.name: 'rand' is unknown"),
        (lambda: methods.BidirectionalShadowheart(0.1, c.RandK(2), 1.0, c.RandK(2)).prepare(np.zeros(9), 3),
         "does not contract"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ro.InvalidInput, match=message):
        make()


def test_a_new_process_computes_the_kept_gradients_again():
    """The mean that a worker on Ray sends of gradients that stayed with it is the same to the bit without them."""
    from rayopt.compression import Kept
    from rayopt.core.arrivals import Arrival, GradientSum
    from rayopt.core.tasks import Forward, Message
    from rayopt.fleets.ray.messages import Order, Profile
    from rayopt.fleets.ray.task_executor import TaskExecutor

    problem = ro.problems.Quadratic(6, noise=0.5, noise_kind="iid")
    times, x = ro.Workers(1, 1.0).times(0, 6), problem.start_point()
    had, fresh = TaskExecutor(), TaskExecutor()
    for executor in (had, fresh):
        executor.load(Profile(problem, times, 0, 1.0), shares_clock=True, warm_up=False)
    task = Message(x, 3, Kept())
    for number in (0, 1, 2):
        assert had.work(Order(0, number, number, task, 0.0, 0.0), in_time=True) == (None, None)
    collected = GradientSum.of([Arrival(0, 0.0, 0.0, task, number, None) for number in (0, 2)], [1.0, 1.0])
    forward = Forward(x, 3, c.Identity(), collected).to_send()
    assert forward.numbers == (0, 2)
    sent = [executor.work(Order(0, 9, 3, forward, 0.0, 0.0), in_time=True)[0].tobytes() for executor in (had, fresh)]
    assert sent[0] == sent[1]
    samples = Stream(0, "sample")
    expected = np.mean([problem.gradient(x, problem.draw(0, samples.key(0, number))) for number in (0, 2)], axis=0)
    np.testing.assert_allclose(np.frombuffer(sent[0]), expected, rtol=1e-12)
