"""Fits find the family that durations were drawn from, and its parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.core.keys import Stream
from rayopt.experiments.profiling.fit import FAMILIES, common_family, fits, to_config

KNOWN = {
    "half_normal": ({"base": 1.0, "scale": 0.5}, 0.05),
    "exponential": ({"mean": 0.5, "base": 1.0}, 0.05),
    "uniform": ({"low": 1.0, "high": 2.0}, 0.01),
    "gamma": ({"shape": 3.0, "scale": 0.2, "base": 1.0}, 0.25),
    "lognormal": ({"median": 1.0, "shape": 0.5, "base": 1.0}, 0.15),
    "log_cauchy": ({"median": 1.0, "shape": 0.3, "base": 1.0}, 0.1),
    "levy": ({"scale": 0.3, "base": 1.0}, 0.2),
    "pareto": ({"minimum": 1.0, "shape": 1.5, "base": 0.0}, 0.1),
}


def drawn(family, parameters, count=2000, seed=3):
    bound = lt.latency({"name": family, **parameters}).bind(1, Stream(seed, "compute"))
    return bound.durations(np.zeros(count, dtype=int), np.arange(count), 0.0)


@pytest.mark.parametrize("family", KNOWN)
def test_the_family_is_found_again(family):
    parameters, tolerance = KNOWN[family]
    best = fits(drawn(family, parameters))[0]
    assert best.family == family
    for key, value in parameters.items():
        assert best.parameters[key] == pytest.approx(value, rel=tolerance, abs=tolerance)
    law = lt.latency({"name": family, **parameters}).bind(1, Stream(0, "compute"))
    # The farthest quantiles of the heaviest tail are out of anyone's reach.
    for probability in (0.5, 0.9) if family == "log_cauchy" else (0.5, 0.9, 0.99):
        assert best.quantile(probability) == pytest.approx(float(law.quantile(probability)[0]), rel=0.2)


def scipy_law(family, p):
    base = p.get("base", 0.0)
    match family:
        case "half_normal":
            return stats.halfnorm(base, p["scale"])
        case "exponential":
            return stats.expon(base, p["mean"])
        case "uniform":
            return stats.uniform(p["low"], p["high"] - p["low"])
        case "gamma":
            return stats.gamma(p["shape"], base, p["scale"])
        case "lognormal":
            return stats.lognorm(p["shape"], base, p["median"])
        case "levy":
            return stats.levy(base, p["scale"])
        case "pareto":
            return stats.pareto(p["shape"], base, p["minimum"])
    raise AssertionError(family)


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"log_cauchy"}))
def test_the_likelihood_is_that_of_the_law(family):
    seconds = drawn("lognormal", {"median": 1.0, "shape": 0.5, "base": 1.0}, count=300)
    (found,) = [one for one in fits(seconds) if one.family == family]
    expected = scipy_law(family, found.parameters).logpdf(seconds).sum()
    assert found.log_likelihood == pytest.approx(expected, abs=1e-6)
    assert found.aic == pytest.approx(2 * len(found.parameters) - 2 * expected, abs=1e-6)


def test_the_likelihood_of_a_log_cauchy_law():
    seconds = drawn("log_cauchy", {"median": 1.0, "shape": 0.3, "base": 1.0}, count=300)
    best = fits(seconds)[0]
    p = best.parameters
    logs = np.log(seconds - p["base"])
    expected = stats.cauchy(math.log(p["median"]), p["shape"]).logpdf(logs).sum() - logs.sum()
    assert best.log_likelihood == pytest.approx(expected)


def test_durations_that_hardly_differ_are_fixed():
    for seconds in (np.full(20, 0.5), 0.5 + 0.002 * np.random.default_rng(0).random(500)):
        (only,) = fits(seconds)
        assert (only.family, only.parameters) == ("fixed", {"times": pytest.approx(0.5, rel=1e-2)})
        assert only.quantile(0.99) == pytest.approx(0.5, rel=1e-2)


def test_every_fit_is_a_latency_that_covers_what_was_measured():
    seconds = drawn("gamma", {"shape": 0.8, "scale": 1.0, "base": 0.01}, count=50)
    for one in fits(seconds):
        assert one.bind().least[0] <= seconds.min() * (1 + 1e-12)


def test_one_family_for_all_workers():
    of_workers = [fits(drawn("exponential", {"mean": i, "base": i}, seed=i)) for i in (1, 2)]
    chosen = common_family([*of_workers, fits(np.full(50, 3.0))])
    assert [one.family for one in chosen] == ["exponential"] * 3
    config = to_config(chosen)
    assert config["name"] == "exponential"
    assert config["mean"] == pytest.approx([1.0, 2.0, 0.0], abs=0.1)
    assert lt.latency(config).bind(3, Stream(0, "compute")).expected == pytest.approx([2.0, 4.0, 3.0], rel=0.05)


def test_workers_that_hardly_vary_are_fixed_together():
    chosen = common_family([fits(np.full(9, 1.0)), fits(np.full(9, 2.0))])
    assert to_config(chosen) == {"name": "fixed", "times": [1.0, 2.0]}


def test_too_little_to_fit():
    with pytest.raises(InvalidInput, match="4 durations; allowed: at least 5"):
        fits(np.arange(1.0, 5.0))
