"""EF21-SGDM: the listing in plain Python, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.compression import TopK
from rayopt.core.keys import Stream
from rayopt.problems import Quadratic

N, STEP, ETA = 4, 0.2, 0.3


def test_the_listing(simulate):
    problem, rounds = Quadratic(30, noise=0.1, noise_kind="iid"), 12
    ran = simulate(methods.EF21SGDM(STEP, TopK(3), ETA), problem, 1.0, ro.Until(updates=rounds), seed=5, n=N)
    samples = Stream(5, "sample")
    x = problem.start_point()
    v, g = np.zeros((N, *x.shape)), np.zeros((N, *x.shape))
    for k in range(rounds):
        for i in range(N):
            gradient = problem.gradient(x, problem.draw(i, samples.key(i, k)))
            v[i] = gradient if k == 0 else (1 - ETA) * v[i] + ETA * gradient
            g[i] += TopK(3).compress(v[i] - g[i], 0)
        x = x - STEP * g.mean(axis=0)
    np.testing.assert_allclose(ran.method.x, x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("step_size", [STEP, [STEP, STEP / 2]])
def test_without_a_past_it_is_ef21(simulate, step_size):
    problem, until = Quadratic(7, noise=0.1), ro.Until(updates=9)
    one = simulate(methods.EF21SGDM(step_size, TopK(2), momentum=1.0), problem, 1.0, until, seed=2, n=N)
    other = simulate(methods.EF21(step_size, TopK(2)), problem, 1.0, until, seed=2, n=N)
    np.testing.assert_allclose(one.method.x, other.method.x, rtol=1e-10, atol=1e-12)


def test_momentum_makes_up_for_noise(simulate):
    """Where noise is what is left, a twentieth of the momentum leaves less than half of it, with the same step."""
    problem, until = Quadratic(20, noise=0.5, noise_kind="iid"), ro.Until(updates=3_000)

    def left(momentum):
        ran = simulate(methods.EF21SGDM(0.05, TopK(2), momentum), problem, 1.0, until, n=N)
        return np.mean([row["gap"] for row in ran.outcome.rows if row["time"] > 2_000])

    assert left(0.05) < 0.5 * left(1.0)


@pytest.mark.parametrize("momentum", [0, -0.1, 1.5, "much", None])
def test_no_share(momentum):
    with pytest.raises(ro.InvalidInput, match="momentum"):
        methods.EF21SGDM(0.1, TopK(2), momentum)
