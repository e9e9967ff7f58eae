"""What the tests of methods share: iterates of a run, methods fed by hand, an oracle whose gradients are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt.methods import Method
from rayopt.problems import Problem


class Centres(Problem):
    """f_i(x) = (x - c_i)^2 / 2 in one dimension, without noise, x^0 = 0: gradients that one computes by hand."""

    name = "centres"
    dimension = 1
    homogeneous = False
    noise_variance = 0.0

    def __init__(self, *centres: float) -> None:
        self.centres = np.array(centres)

    def start_point(self):
        return np.zeros(1)

    def draw(self, worker, key, count=1):
        return self.centres[worker]

    def draw_many(self, workers, keys, count=1):
        return self.centres[workers]

    def gradient(self, x, sample, checkpoint=None):
        return x - sample

    def gradient_sum(self, x, samples, weights=None):
        weights = np.ones(len(samples)) if weights is None else weights
        return weights.sum() * x - weights @ samples

    def value(self, x):
        return ((x - self.centres) ** 2).mean(axis=-1) / 2

    def full_gradient(self, x):
        return x - self.centres.mean()


class NoFleet:
    """A fleet that only notes what is assigned; methods are fed by hand."""

    def __init__(self, n: int, times: Any = None) -> None:
        self.n = n
        self.now = 0.0
        self.expected_times = np.arange(1.0, n + 1) if times is None else times
        self.assigned: list[tuple[list[int], int]] = []

    def assign(self, workers: Any, task: Any) -> None:
        self.assigned.append((np.atleast_1d(workers).tolist(), task.version))


@pytest.fixture
def centres() -> type[Centres]:
    """The oracle whose gradients one computes by hand."""
    return Centres


@pytest.fixture
def prepared() -> Callable[..., tuple[Method, NoFleet]]:
    """Returns a method that has started at 0, and the fleet that noted it."""

    def prepare(method: Method, n: int, times: Any = None) -> tuple[Method, NoFleet]:
        fleet = NoFleet(n, times)
        method.prepare(np.zeros(1), n)
        method.start(fleet)
        return method, fleet

    return prepare


@pytest.fixture
def iterates(simulate: Callable[..., Any]) -> Callable[..., list[bytes]]:
    """Returns x after each update of a run."""

    def run(method: Method, problem: Problem, times: Any, updates: int, n: int = 8) -> list[bytes]:
        seen = []

        class Recorded(type(method)):
            def descend(self, gradient, scale=1.0):
                super().descend(gradient, scale)
                seen.append(self.x.tobytes())

        simulate(Recorded(**method.parameters), problem, times, ro.Until(updates=updates), n=n)
        return seen

    return run
