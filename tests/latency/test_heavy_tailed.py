"""Tails that keep their digits, and draws beyond float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from latency_cases import N, draws, stream
from scipy import stats

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput


@pytest.mark.parametrize(
    ("family", "law"),
    [
        (lt.cauchy(2, base=1, location=3), stats.foldcauchy(1.5, loc=1, scale=2)),
        (lt.levy(3), stats.levy(scale=3)),
        (lt.pareto(3, 0.7), stats.pareto(0.7, scale=3)),
    ],
)
def test_the_upper_tail_is_exact(family, law):
    bound = family.bind(1, stream())
    for exponent in (10, 20, 30, 40, 50):
        seconds = bound.quantile(1.0 - 2.0**-exponent)
        # The draw just above has survival 2**-exponent - 2**-53 or + 2**-53.
        assert law.sf(seconds)[0] == pytest.approx(2.0**-exponent + 2.0**-53, rel=1e-9)


def test_draws_beyond_float64_are_infinite_and_never_nan():
    for family in (lt.log_cauchy(1, 100, base="sqrt(i)"), lt.pareto(1, 0.001)):
        with np.errstate(all="raise", under="ignore"):
            bound = family.bind(N, stream())
            durations = draws(family, 0, 20_000)
            one = [bound.duration(0, number, 0.0) for number in range(100)]
        assert not np.isnan(durations).any()
        assert np.isinf(durations).any()
        assert np.isfinite(durations).any()
        assert one == durations[:100].tolist()
        assert np.isinf(bound.expected).all()


def test_means():
    assert lt.pareto(2, 3, base=1).bind(2, stream()).expected.tolist() == [4.0, 4.0]
    assert lt.pareto(2, [1, 2]).bind(2, stream()).expected.tolist() == [math.inf, 4.0]
    assert lt.log_cauchy(2, [0, 1], base=1).bind(2, stream()).expected.tolist() == [3.0, math.inf]
    for family in (lt.cauchy(1), lt.levy(1)):
        assert family.bind(1, stream()).expected.tolist() == [math.inf]


def test_medians():
    for family, median in (
        (lt.log_cauchy(3, 10, base=1), 4.0),
        (lt.cauchy(3, base=1), 4.0),
        (lt.levy(1), stats.levy.median()),
        (lt.pareto(1, 2), math.sqrt(2)),
    ):
        assert family.bind(1, stream()).quantile(0.5)[0] == pytest.approx(median, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: lt.cauchy(0), "scale"),
        (lambda: lt.cauchy(1, location=-1), "location"),
        (lambda: lt.cauchy(math.inf), "scale"),
        (lambda: lt.levy(0), "scale"),
        (lambda: lt.pareto(0, 1), "minimum"),
        (lambda: lt.pareto(1, 0), "shape"),
        (lambda: lt.pareto(1, math.inf), "shape"),
        (lambda: lt.log_cauchy(1, -1, 1), "shape"),
        (lambda: lt.log_cauchy(math.inf, 1, 1), "median"),
        (lambda: lt.log_cauchy(1, 1, 0).bind(2, stream()), "log_cauchy"),
    ],
)
def test_parameters(make, key):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.key == key


def test_dead_workers():
    for family in (
        lt.cauchy(1, base=[1, math.inf]),
        lt.log_cauchy(1, 1, base=[1, math.inf]),
        lt.levy([1, math.inf]),
        lt.pareto([1, math.inf], 1),
    ):
        bound = family.bind(2, stream())
        assert bound.duration(1, 0, 0.0) == math.inf
        assert bound.least[1] == math.inf
