"""IA2SGD: values by hand."""

from __future__ import annotations

import pytest

import rayopt as ro
from rayopt import methods
from rayopt.core.arrivals import Arrival


def test_values(simulate, centres):
    # The full table is (-1, -2, -6); then -1 at x^0, -2 at x^0, -0.7 at x^1 = 0.3, -0.11 at x^3 = 0.89.
    ran = simulate(methods.IA2SGD(0.1), centres(1.0, 2.0, 6.0), until=ro.Until(updates=4))
    assert ran.method.x == pytest.approx(0.3 + 0.3 + 0.29 + (0.11 + 2 + 6) / 30, rel=1e-12)


def test_arrivals_before_the_table_is_full_only_replace(prepared):
    method, fleet = prepared(methods.IA2SGD(1.0), 2)
    for worker, value, x in [(0, 1.0, 0.0), (0, 3.0, 0.0), (1, 5.0, 0.0), (1, 7.0, -5.0), (0, 1.0, -9.0)]:
        method.receive(Arrival.with_value(worker, [value]), fleet)
        assert method.x.tolist() == [x]
    assert [version for _, version in fleet.assigned] == [0, 0, 0, 0, 1, 2]


def test_of_one_worker_is_sgd_but_for_the_first_gradient(simulate, centres):
    ran = simulate(methods.IA2SGD(0.5), centres(8.0), (1.0,), ro.Until(time=4))
    assert ran.method.updates == 3
    assert ran.method.x == pytest.approx(7.0, rel=1e-12)
