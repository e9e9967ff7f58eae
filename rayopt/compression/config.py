"""Compressors as a workload file writes them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from rayopt.compression.base import Compressor, Identity
from rayopt.compression.composed import Composition
from rayopt.compression.quantised import QSGD, Natural
from rayopt.compression.sketched import CORE, RotatedQuantisation
from rayopt.compression.sparse import BernoulliSampling, PermK, RandK, RandKStream, ScaledRandK, TopK, UnbiasedTop1
from rayopt.core.errors import InvalidInput, nearest, one_of

COMPRESSORS: dict[str, type[Compressor]] = {
    kind.name: kind
    for kind in (
        RandK, RandKStream, PermK, BernoulliSampling, UnbiasedTop1, Natural, QSGD, CORE, RotatedQuantisation,
        Composition, Identity, TopK, ScaledRandK,
    )
}  # fmt: skip
"""Every compressor by the name that a workload file gives it."""


def compressor(config: Any, key: str = "compressor") -> Compressor:
    """Returns the compressor that a workload file describes.

    Args:
      config: a compressor, a name, or ``{name: ..., parameter: ...}``.
      key: where it stands, for errors.

    Raises:
      InvalidInput: a name or a parameter is unknown or missing, or a value is not allowed.

    Examples:
      >>> compressor({"name": "rand_k", "k": 2})
      RandK(k=2)
    """
    if isinstance(config, Compressor):
        return config
    given = {"name": config} if isinstance(config, str) else config
    if not isinstance(given, Mapping) or "name" not in given:
        raise InvalidInput(
            key, f"{config!r} is not a compressor", f"{{name: ...}} with one of {', '.join(COMPRESSORS)}"
        )
    name = one_of(f"{key}.name", given["name"], COMPRESSORS)
    kind = COMPRESSORS[name]
    arguments = inspect.signature(kind).parameters
    for argument in given:
        if argument != "name" and argument not in arguments:
            raise InvalidInput(f"{key}.{argument}", f"unknown{nearest(argument, arguments)}",
                               ", ".join(arguments) or f"nothing: {name} has no parameters")  # fmt: skip
    for argument, parameter in arguments.items():
        if parameter.default is parameter.empty and argument not in given:
            raise InvalidInput(f"{key}.{argument}", f"missing: {name} needs it", f"{{name: {name}, {argument}: ...}}")
    values = {argument: value for argument, value in given.items() if argument != "name"}
    if kind is Composition:
        values = {argument: compressor(value, f"{key}.{argument}") for argument, value in values.items()}
    return kind(**values)


def unbiased(config: Any, method: str) -> Compressor:
    """Returns the compressor, or raises InvalidInput if it is biased.

    Args:
      config: as for :func:`compressor`.
      method: who needs it to be unbiased, for the error.
    """
    found = compressor(config)
    if not found.unbiased:
        raise InvalidInput("compressor", f"{found!r} is biased, and {method} needs E C(v) = v",
                           ", ".join(name for name, kind in COMPRESSORS.items() if kind.unbiased))  # fmt: skip
    return found
