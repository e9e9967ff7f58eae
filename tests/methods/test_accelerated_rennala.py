"""Accelerated Rennala against a transcription of its listing, and against its bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.problems import Quadratic


def test_is_the_listing_in_numpy(simulate):
    means, points = [], []

    class Watched(methods.AcceleratedRennala):
        def update(self, gradient):
            points.append(self.task.x)
            means.append(gradient)
            super().update(gradient)

    problem, step_size = Quadratic(30, noise=0.1, noise_kind="iid"), 0.2
    ran = simulate(Watched(step_size, batch_size=3), problem, until=ro.Until(updates=40))
    x = u = problem.start_point()
    for k, (y, mean) in enumerate(zip(points, means, strict=True)):
        alpha = 2 / (k + 2)
        assert y == pytest.approx((1 - alpha) * x + alpha * u, rel=1e-13)
        u = u - step_size * (k + 1) * mean
        x = (1 - alpha) * x + alpha * u
    assert len(means) == 40
    assert ran.method.x == pytest.approx(x, rel=1e-13)


@pytest.mark.parametrize(("eps", "batch_size", "updates", "gap"), [(1.0, 5, 138, 0.025), (0.3, 27, 251, 0.0075)])
def test_reaches_its_bound_with_the_parameters_of_the_theorem(simulate, eps, batch_size, updates, gap):
    sigma = 0.5
    problem = Quadratic(200, noise=sigma / math.sqrt(200), noise_kind="iid")
    L, R0 = problem.smoothness, float(np.linalg.norm(problem.start_point() - problem.minimizer()))
    K, S = math.ceil(8 * math.sqrt(L) * R0 / math.sqrt(eps)), math.ceil(sigma**2 * R0 / (eps**1.5 * math.sqrt(L)))
    assert (batch_size, updates) == (S, K)
    step_size = min(1 / (4 * L), math.sqrt(3 * R0**2 * S / (4 * sigma**2 * (K + 1) * (K + 2) ** 2)))
    method = methods.AcceleratedRennala(step_size, S)
    ran = simulate(method, problem, "sqrt(i)", ro.Until(updates=K), n=10, trace=False)
    reached = ran.outcome.rows[-1]["gap"]
    assert reached <= 4 * L * R0**2 / K**2 + 4 * sigma * R0 / math.sqrt(S * K) <= 2 * eps
    assert reached == pytest.approx(gap, rel=0.3)
