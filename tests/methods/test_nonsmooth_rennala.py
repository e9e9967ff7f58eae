"""Nonsmooth Rennala: the average of the iterates, by hand."""

from __future__ import annotations

import pytest

import rayopt as ro
from rayopt import methods


def test_the_estimate_is_the_average_of_the_iterates_before_the_last(simulate, centres):
    # One worker, f(x) = (x - 8)^2 / 2, gamma = 1/2: the iterates are 0, 4, 6, 7, their averages 0, 2, 10/3.
    seen = []

    class Watched(methods.NonsmoothRennala):
        def update(self, gradient):
            super().update(gradient)
            seen.append((float(self.x[0]), float(self.estimate[0])))

    method = Watched(0.5, batch_size=2)
    method.prepare(centres(8.0).start_point(), 1)
    assert method.estimate.tolist() == [0.0]
    ran = simulate(method, centres(8.0), (1.0,), ro.Until(updates=3))
    assert [x for x, _ in seen] == [4.0, 6.0, 7.0]
    assert [average for _, average in seen] == pytest.approx([0.0, 2.0, 10 / 3], rel=1e-15)
    assert ran.outcome.rows[-1]["value"] == pytest.approx((10 / 3 - 8) ** 2 / 2, rel=1e-12)


def test_an_estimate_that_was_handed_out_does_not_change(simulate, centres):
    method = methods.NonsmoothRennala(0.5, batch_size=1)
    method.prepare(centres(8.0).start_point(), 1)
    first = method.estimate
    method.update(method.x - 8.0)
    method.update(method.x - 8.0)
    assert first.tolist() == [0.0]
    assert method.estimate.tolist() == [2.0]
