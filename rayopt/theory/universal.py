"""The universal computation model: workers whose power v_i(t) changes, and how long methods take then.

Worker i finishes floor(V_i(t1) - V_i(t0)) gradients between t0 and t1, where V_i is the integral of its
power v_i >= 0. Times are no longer formulas but recursions: t_k is when the k-th round ends. A recursion
is given V as a function of t that returns all V_i(t), shape (n,), non-decreasing; a latency of rayopt whose durations
come from powers has it as ``work_done``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rayopt.theory.checks import Array, NotAllowed, at_least, ceiling, non_negative, positive, times_of

Cumulative = Callable[[float], Array]

# V(t) - V(t0) of an integer number of gradients is below the integer by a few units in the last place of V(t).
ROUNDING = 4 * np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class PiecewiseConstant:
    """Powers that are constant between breakpoints, as a function t -> V(t).

    Args:
      starts: the times at which the powers change, seconds, shape (s,), increasing from 0.
      powers: gradients per second from ``starts[j]`` on, shape (s, n); the last row holds for ever.

    Raises:
      ValueError: times that do not increase from 0, a power that is negative or not finite, other shapes.

    Examples:
      An outage of the second worker between 1 and 3 seconds:

      >>> cumulative = PiecewiseConstant([0.0, 1.0, 3.0], [[1.0, 2.0], [1.0, 0.0], [1.0, 2.0]])
      >>> cumulative(4.0).tolist()
      [4.0, 4.0]
    """

    starts: ArrayLike
    powers: ArrayLike

    def __post_init__(self) -> None:
        starts, powers = np.asarray(self.starts, dtype=np.float64), np.asarray(self.powers, dtype=np.float64)
        if starts.ndim != 1 or starts.size == 0 or starts[0] != 0 or not (np.diff(starts) > 0).all():
            raise NotAllowed("starts", f"{starts!r}", "times that increase from 0")
        if powers.ndim != 2 or len(powers) != len(starts) or powers.shape[1] == 0:
            raise NotAllowed("powers", f"shape {powers.shape}", f"({len(starts)}, n), a row for each start")
        if not (np.isfinite(powers) & (powers >= 0)).all():
            raise NotAllowed("powers", f"{powers.min():g} is the least", "finite numbers of at least 0")
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "powers", powers)
        done = np.concatenate([np.zeros((1, powers.shape[1])), np.diff(starts)[:, None] * powers[:-1]])
        object.__setattr__(self, "_done", np.cumsum(done, axis=0))

    def __call__(self, time: float) -> Array:
        """Returns the gradients that each worker could have finished by ``time``, fractions included, shape (n,)."""
        starts, powers = np.asarray(self.starts), np.asarray(self.powers)
        piece = int(np.searchsorted(starts, time, side="right")) - 1
        done: Array = self._done[piece]  # type: ignore[attr-defined]
        reached: Array = done + (time - starts[piece]) * powers[piece]
        return reached


def fixed_powers(times: ArrayLike) -> Cumulative:
    """Returns V of workers of fixed speed: V_i(t) = t / tau_i.

    Args:
      times: tau_i, seconds, shape (n,); infinite for a worker that never answers.
    """
    rates = 1.0 / times_of("times", times)
    return lambda time: time * rates


def homogeneous_rounds(cumulative: Cumulative, gradients: float, rounds: int, fraction: float = 1.0) -> Array:
    r"""Returns t_0 = 0, t_1, ..., t_K: each round ends when all workers together have finished so many gradients.

    .. math:: t_k = \min\Big\{t : \sum_i \Big\lfloor c \int_{t_{k-1}}^t v_i \Big\rfloor \ge S\Big\}

    with c = ``fraction`` and S = ``gradients``. Exact up to the rounding of V: the sum of floors is non-decreasing in
    t, and its jump is found by bisection down to neighbouring float64.

    * c = 1, S = max{ceil(sigma^2 / eps), 1}, K = ceil(24 L Delta / eps): an upper bound of Rennala (arXiv
      2408.04929; form [sib], the number of rounds [memory]).
    * the same, half of t_K, K of order L Delta / eps: what no zero-respecting method beats (Theorem 5.1, its
      two universal constants [memory]).
    * c = 1/4, S = R: each R updates of Ringmaster (arXiv 2501.16168, Lemma 5.1 [sib]).

    Args:
      cumulative: t -> V(t), shape (n,), finite and non-decreasing, V(0) = 0.
      gradients: S > 0.
      rounds: K >= 0.
      fraction: c > 0.

    Returns:
      Seconds, shape (K + 1,); infinite from the first round on that never ends.

    Raises:
      ValueError: an argument is out of its range.

    Examples:
      >>> homogeneous_rounds(fixed_powers([1.0, 2.0]), gradients=3, rounds=3).round(9).tolist()
      [0.0, 2.0, 4.0, 6.0]
    """
    needed = positive("gradients", gradients)
    return _rounds(cumulative, lambda counts: float(counts.sum()) >= needed, rounds, fraction)


def heterogeneous_rounds(cumulative: Cumulative, threshold: float, rounds: int, fraction: float = 1.0) -> Array:
    r"""Returns t_0 = 0, t_1, ..., t_K: each round ends when the harmonic mean of the workers' counts is large enough.

    .. math:: t_k = \min\Big\{t : \Big(\frac1n \sum_i \Big\lfloor c \int_{t_{k-1}}^t v_i \Big\rfloor^{-1}\Big)^{-1}
              \ge h\Big\}

    with c = ``fraction`` and h = ``threshold``: max{sigma^2 / (n eps), 1} in the lower bound and
    max{ceil(sigma^2 / eps), n} / n for Malenia, K of order L Delta / eps (arXiv 2408.04929, Theorems 6.1 and 6.2;
    up to constants and logarithms [memory]).

    Args:
      cumulative: t -> V(t), shape (n,), finite and non-decreasing, V(0) = 0.
      threshold: h > 0; every worker must report at least once in any case.
      rounds: K >= 0.
      fraction: c > 0.

    Returns:
      Seconds, shape (K + 1,); infinite from the first round on that never ends.

    Raises:
      ValueError: an argument is out of its range.

    Examples:
      >>> heterogeneous_rounds(fixed_powers([1.0, 2.3, 3.7]), threshold=4 / 3, rounds=1).round(9).tolist()
      [0.0, 4.0]
    """
    needed = positive("threshold", threshold)

    def is_full(counts: Array) -> bool:
        # The slack is for a sum of inverses that misses equality by rounding: (4, 1, 1) for 4/3.
        return bool(counts.all()) and float(np.sum(1.0 / counts)) * needed <= len(counts) * (1 + 1e-12)

    return _rounds(cumulative, is_full, rounds, fraction)


def homogeneous_lower_bound(
    cumulative: Cumulative, noise_ratio: float, iterations: float, rounds_constant: float = 1.0,
    batch_constant: float = 1.0,
) -> float:  # fmt: skip
    r"""Returns the seconds that no zero-respecting method beats (arXiv 2408.04929, Theorem 5.1 [memory]).

    .. math:: \frac12 t_{\lfloor c_1 L \Delta / \varepsilon \rfloor}, \qquad
              t_k = \min\Big\{t : \sum_i \Big\lfloor \int_{t_{k-1}}^t v_i \Big\rfloor
              \ge c_2 \max\{\lceil \sigma^2/\varepsilon \rceil, 1\}\Big\}

    Args:
      cumulative: t -> V(t), shape (n,).
      noise_ratio: sigma^2 / eps.
      iterations: L Delta / eps.
      rounds_constant: c_1, universal, its number not stated.
      batch_constant: c_2, universal, its number not stated.

    Raises:
      ValueError: an argument is out of its range.
    """
    batch = max(ceiling(non_negative("noise_ratio", noise_ratio)), 1)
    rounds = math.floor(positive("rounds_constant", rounds_constant) * non_negative("iterations", iterations))
    return float(homogeneous_rounds(cumulative, batch_constant * batch, rounds)[-1]) / 2


def _rounds(cumulative: Cumulative, is_full: Callable[[Array], bool], rounds: int, fraction: float) -> Array:
    positive("fraction", fraction)
    ends = np.full(at_least("rounds", rounds, 0) + 1, math.inf)
    ends[0] = time = 0.0
    for position in range(1, len(ends)):
        before = cumulative(time)

        def reached(candidate: float, before: Array = before) -> bool:
            # The search for a round that never ends goes to the end of float64.
            with np.errstate(over="ignore"):
                now = cumulative(candidate)
            return is_full(np.floor(fraction * (now - before) + ROUNDING * (1 + fraction * now)))

        time = _first(reached, time)
        if not math.isfinite(time):
            break
        ends[position] = time
    return ends


def _first(reached: Callable[[float], bool], start: float) -> float:
    """Returns the smallest float64 after ``start`` for which ``reached`` holds, infinity if there is none."""
    low, step = start, 1.0
    while not reached(low + step):
        low, step = low + step, 2 * step
        if not math.isfinite(low + step):
            return math.inf
    high = low + step
    while low < (middle := low + (high - low) / 2) < high:
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high
