"""Times for convex f."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayopt.theory import MissingConstant, Setting, convex


def setting(**changes):
    # sqrt(L) R0 / sqrt(eps) = 2 * 3 / 0.5 = 12, M^2 R0^2 / eps^2 = 144, sigma^2 R0^2 / eps^2 = 288.
    known = {"smoothness": 4.0, "distance": 3.0, "lipschitz": 1.0, "noise_variance": 2.0}
    return Setting([3.0, 1.0], 0.25, **{**known, **changes})


def test_by_hand():
    assert convex.minibatch(setting()) == pytest.approx(3 * (12 + 144))
    assert convex.asgd(setting()) == pytest.approx(1.5 * (4 * 9 / 0.25 + 144))
    # m = 1: 1 * (12 + 288) = 300; m = 2: 1.5 * (12 + 144) = 234.
    assert convex.accelerated_rennala(setting()) == pytest.approx(234)
    assert convex.nonsmooth_rennala(setting()) == pytest.approx(1.5 * (144 + 144))
    assert convex.optimal(setting()).workers == 2
    assert convex.lower_bound(setting()) == pytest.approx(234)
    assert convex.lower_bound(setting(lipschitz=0.1)) == pytest.approx(1.5 * (1.44 + 144))
    assert convex.graph_oracle_lower_bound(setting()) == pytest.approx(12 + 1.5 * 144)
    assert convex.heterogeneous_optimal(setting()) == pytest.approx(3 * 12 + 2 * 144)


def test_strongly_convex_by_hand():
    # sqrt(L / mu) = 4, sigma^2 / (eps mu) = 32.
    assert convex.strongly_convex_optimal(setting(strong_convexity=0.25)).seconds == pytest.approx(1.5 * (4 + 16))
    found = convex.heterogeneous_strongly_convex_optimal(setting(strong_convexity=0.25))
    assert found == pytest.approx(3 * 4 + 2 * 16)
    with pytest.raises(MissingConstant, match="strong_convexity"):
        convex.strongly_convex_optimal(setting())


def test_either_smoothness_or_a_lipschitz_constant_is_enough():
    assert convex.lower_bound(setting(lipschitz=None)) == pytest.approx(234)
    assert convex.lower_bound(setting(smoothness=None)) == pytest.approx(convex.nonsmooth_rennala(setting()))
    with pytest.raises(MissingConstant, match="smoothness"):
        convex.lower_bound(setting(smoothness=None, lipschitz=None))
    with pytest.raises(MissingConstant, match="distance"):
        convex.lower_bound(setting(distance=None))


@given(st.lists(st.floats(1e-2, 1e2), min_size=1, max_size=12), st.floats(0, 1e4), st.floats(1e-3, 1e3))
def test_nobody_beats_the_lower_bound(times, variance, lipschitz):
    # ASGD's deterministic term beats sqrt(L) R0 / sqrt(eps) only for an accuracy that x0 has already.
    known = Setting(times, 0.5, smoothness=1.0, distance=1.0, lipschitz=lipschitz, noise_variance=variance)
    bound = convex.lower_bound(known)
    assert convex.graph_oracle_lower_bound(known) <= bound * (1 + 1e-12)
    for name, seconds in convex.METHODS.items():
        assert seconds(known) >= bound * (1 - 1e-12), name


def test_an_infinite_worker_is_not_needed():
    known = {"smoothness": 1.0, "distance": 1.0, "noise_variance": 1.0}
    assert convex.lower_bound(Setting([1.0, math.inf], 1.0, **known)) == convex.lower_bound(
        Setting([1.0], 1.0, **known)
    )
