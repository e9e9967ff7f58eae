"""Latencies whose parameters are numbers, lists, formulas or permuted values."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from rayopt.core.errors import at_least
from rayopt.core.keys import Stream
from rayopt.latency.base import Array, Latency
from rayopt.latency.values import Limits, describe, parse, resolve, to_config


@dataclass(frozen=True, repr=False)
class Family(Latency):
    """A latency whose fields are all numbers, lists, formulas or permuted values.

    Attributes:
      positive: the fields that may not be 0.
      finite: the fields that may not be infinite.
      probabilities: the fields that are at most 1.
    """

    positive: ClassVar[frozenset[str]] = frozenset()
    finite: ClassVar[frozenset[str]] = frozenset()
    probabilities: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for key, raw in self._parameters().items():
            object.__setattr__(self, key, parse(key, raw, self._limits(key)))

    def resolve(self, workers: int, stream: Stream) -> tuple[Array, ...]:
        """Returns one array of shape (workers,) for each field, in the order of the fields."""
        at_least("workers", workers, 1)
        parameters = self._parameters().items()
        return tuple(resolve(key, value, workers, stream.seed, self._limits(key)) for key, value in parameters)

    def to_config(self) -> dict[str, Any]:
        """Returns the name and the parameters."""
        return {"name": self.name, **{key: to_config(value) for key, value in self._parameters().items()}}

    def _parameters(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _limits(self, key: str) -> Limits:
        most = 1.0 if key in self.probabilities else math.inf
        return Limits(positive=key in self.positive, finite=key in self.finite, most=most)

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={describe(value)}' for key, value in self._parameters().items())})"
