"""How many tasks each worker should get when all must end: the allocations of ATA."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.theory.checks import NotAllowed, at_least

Counts = NDArray[np.int64]


def proxy_loss(allocation: ArrayLike, means: ArrayLike) -> float:
    r"""Returns the proxy of how long an allocation takes, seconds (arXiv 2502.00775 [poster]).

    .. math:: \ell(a, \mu) = \max_i a_i \mu_i \;\le\; E\, C(a) \;\le\; (1 + 4 \eta \ln B)\, \ell(a, \mu)

    Args:
      allocation: a_i, tasks of each worker, shape (n,).
      means: mu_i, seconds per task, shape (n,); of a worker without tasks it does not matter, even infinite.

    Raises:
      ValueError: the shapes differ.
    """
    tasks, seconds = np.asarray(allocation), np.asarray(means, dtype=np.float64)
    if tasks.shape != seconds.shape or tasks.ndim != 1:
        raise NotAllowed("allocation", f"shape {tasks.shape}", f"that of the means, {seconds.shape}")
    busy = tasks > 0
    return float(np.max(tasks[busy] * seconds[busy], initial=0.0))


def optimal_allocation(scores: ArrayLike, tasks: int, random: np.random.Generator | None = None) -> Counts:
    r"""Returns an allocation that minimises the proxy loss: ATA's routine RAS as a greedy heap.

    .. math:: a \in \arg\min \Big\{\max_i a_i s_i : \sum_i a_i = B\Big\}

    with s = ``scores`` and B = ``tasks``. Each task goes to the worker that would end it first,
    arg min_i (a_i + 1) s_i; the value is that of the recursion in the authors' code [derived: an exchange argument].
    Where several workers tie, the allocation may be another of the same value. O(n + B log n).

    Args:
      scores: s_i > 0, seconds per task, shape (n,); infinite for a worker that must get none.
      tasks: B >= 0.
      random: orders workers that tie; without it the one of the smallest number is first.

    Returns:
      a, shape (n,), of sum B.

    Raises:
      ValueError: a score is NaN or not above 0, all are infinite, or B is not an integer of at least 0.

    Examples:
      >>> optimal_allocation([58.0 * i for i in range(1, 52)], 23)[:11].tolist()
      [9, 4, 3, 2, 1, 1, 1, 1, 1, 0, 0]
    """
    seconds = np.asarray(scores, dtype=np.float64)
    remaining = at_least("tasks", tasks, 0)
    if seconds.ndim != 1 or not (seconds > 0).all() or not np.isfinite(seconds).any():
        raise NotAllowed("scores", f"{seconds.tolist()!r:.60}", "numbers above 0, at least one of them finite")
    ties = range(len(seconds)) if random is None else random.random(len(seconds)).tolist()
    each = seconds.tolist()
    heap = [(end, tie, worker) for worker, (end, tie) in enumerate(zip(each, ties, strict=True)) if end < np.inf]
    heapq.heapify(heap)
    allocation = [0] * len(each)
    for _ in range(remaining):
        _, tie, worker = heap[0]
        allocation[worker] += 1
        heapq.heapreplace(heap, ((allocation[worker] + 1) * each[worker], tie, worker))
    return np.array(allocation, dtype=np.int64)


def even_allocation(workers: int, tasks: int, random: np.random.Generator) -> Counts:
    """Returns floor(B / n) tasks for every worker and one more for B mod n of them, drawn without replacement.

    The allocation of the baseline UTA [poster/code].

    Args:
      workers: n >= 1.
      tasks: B >= 0.
      random: draws who gets the remainder.

    Raises:
      ValueError: an argument is not such an integer.
    """
    share, rest = divmod(at_least("tasks", tasks, 0), at_least("workers", workers, 1))
    allocation = np.full(workers, share, dtype=np.int64)
    allocation[random.choice(workers, size=rest, replace=False)] += 1
    return allocation


def exploring_allocation(scores: ArrayLike, tried: ArrayLike, tasks: int, random: np.random.Generator) -> Counts:
    """Returns the allocation of ATA's code while workers are unknown or their scores are 0.

    First every worker that was never tried gets one task, in random order, until the tasks run out. Then, if a
    score is 0 (or unknown), all other tasks are spread evenly over the workers with such a score and none go to
    the others; else they are allocated by :func:`optimal_allocation` [code; the even spreading matters for the
    figure of the paper [sim]].

    Args:
      scores: s_i, seconds per task, shape (n,); what is not above 0 counts as 0; ignored for workers never tried.
      tried: whether worker i was ever given a task, shape (n,).
      tasks: B >= 0.
      random: orders and draws.

    Returns:
      a, shape (n,), of sum B.

    Raises:
      ValueError: the shapes differ, a score is NaN, or B is not an integer of at least 0.

    Examples:
      >>> random = np.random.default_rng(0)
      >>> exploring_allocation([0.0, 1.0, 0.0], [True, True, True], 4, random).tolist()
      [2, 0, 2]
    """
    seconds, known = np.asarray(scores, dtype=np.float64), np.asarray(tried, dtype=bool)
    remaining = at_least("tasks", tasks, 0)
    if seconds.ndim != 1 or known.shape != seconds.shape or np.isnan(seconds).any():
        raise NotAllowed("scores", f"shape {seconds.shape} beside {known.shape} of tried", "two vectors without NaN")
    unknown = np.flatnonzero(~known)
    zero = np.flatnonzero(~known | (seconds <= 0))
    if not len(zero):
        return optimal_allocation(seconds, remaining, random)
    allocation = np.zeros(len(seconds), dtype=np.int64)
    first = random.permutation(unknown)[:remaining]
    allocation[first] = 1
    allocation[zero] += even_allocation(len(zero), remaining - len(first), random)
    return allocation
