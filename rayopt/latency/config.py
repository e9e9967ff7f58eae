"""Latencies as a workload file writes them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from rayopt.core.errors import InvalidInput, nearest, one_of
from rayopt.latency.base import Latency
from rayopt.latency.bernoulli import AlphaBernoulli, InfiniteBernoulli
from rayopt.latency.combination import Groups, Mixture
from rayopt.latency.families import Exponential, Fixed, Gamma, HalfNormal, Uniform, Zero
from rayopt.latency.heavy_tailed import Cauchy, Levy, LogCauchy, LogNormal, Pareto
from rayopt.latency.measured import Measured
from rayopt.latency.permutation import Permuted
from rayopt.latency.powers.day_and_night import DayAndNight
from rayopt.latency.powers.drift import Drift, ExponentialDrift
from rayopt.latency.powers.markov import Markov
from rayopt.latency.powers.outages import Outages
from rayopt.latency.powers.piecewise import Power
from rayopt.latency.recorded import Recorded

_KINDS: tuple[type[Latency], ...] = (
    Fixed,
    Zero,
    HalfNormal,
    Exponential,
    Gamma,
    Uniform,
    LogNormal,
    LogCauchy,
    Cauchy,
    Levy,
    Pareto,
    InfiniteBernoulli,
    AlphaBernoulli,
    Power,
    Outages,
    DayAndNight,
    Drift,
    ExponentialDrift,
    Markov,
    Mixture,
    Groups,
    Permuted,
    Recorded,
    Measured,
)

LATENCIES: dict[str, type[Latency]] = {kind.name: kind for kind in _KINDS}
"""Every latency by the name that a workload file gives it."""


def latency(config: Any) -> Latency:
    """Returns the latency that a workload file describes.

    Args:
      config: a number, a list or a formula, which are fixed durations; ``{permuted: values}``, fixed
        durations in random order; or ``{name: ..., parameter: ...}``, where ``of`` is again a latency and
        ``parts`` a list of latencies; or a bare name, such as ``measured``. A latency is returned as it is.

    Raises:
      InvalidInput: an unknown name, an unknown or missing parameter, or a value that is not allowed.

    Example:
      >>> latency({"name": "half_normal", "base": "i", "scale": "sqrt(i)"})
      half_normal(base='i', scale='sqrt(i)')
    """
    if isinstance(config, Latency):
        return config
    if isinstance(config, str) and config in LATENCIES:
        config = {"name": config}
    if not isinstance(config, Mapping) or "permuted" in config:
        return Fixed(config)
    if "name" not in config:
        raise InvalidInput("name", "missing", ", ".join(LATENCIES))
    parameters = dict(config)
    family = LATENCIES[one_of("name", parameters.pop("name"), LATENCIES)]
    _check_parameters(family, parameters)
    if "of" in parameters:
        parameters["of"] = _nested("of", parameters["of"])
    if isinstance(parameters.get("parts"), list):
        parts = enumerate(parameters["parts"])
        parameters["parts"] = [_nested(f"parts[{position}]", part) for position, part in parts]
    return family(**parameters)


def _nested(key: str, config: Any) -> Latency:
    try:
        return latency(config)
    except InvalidInput as error:
        raise error.within(key) from None


def _check_parameters(family: type[Latency], parameters: dict[str, Any]) -> None:
    """Raises InvalidInput for the first parameter that is unknown or missing."""
    known = inspect.signature(family).parameters
    allowed = f"{family.name} has the parameters {', '.join(known)}" if known else f"{family.name} has no parameters"
    for key in parameters:
        if key not in known:
            raise InvalidInput(str(key), f"unknown parameter{nearest(str(key), known)}", allowed)
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in parameters:
            raise InvalidInput(key, "missing", allowed)
