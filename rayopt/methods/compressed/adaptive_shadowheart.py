"""Adaptive Shadowheart SGD: the budget of an iteration is doubled until it is enough; no times need be known."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from rayopt.compression import Kept
from rayopt.core.arrivals import Arrival, GradientSum, MessageSum
from rayopt.core.errors import non_negative, positive
from rayopt.core.tasks import Forward, Message
from rayopt.methods.base import Fleet, everyone
from rayopt.methods.compressed.base import CompressedMethod
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters
from rayopt.theory.communication import shadowheart_weights


class AdaptiveShadowheart(CompressedMethod):
    """Adaptive Shadowheart SGD, a name of ours: Shadowheart with a budget that doubles until it is enough.

    .. math::
        x^{k+1} = x^k - \\gamma \\frac{\\sum_i q_i \\bar g_i}{\\sum_i q_i}, \\quad
        q_i = \\frac1{\\omega / m_i + \\omega r / (m_i b_i) + r / b_i}, \\quad \\sum_i q_i \\ge 1

    with gamma = ``step_size``, C = ``compressor`` with its omega, r = ``noise_ratio``. In an iteration all workers
    compute at x^k for T seconds, b_i gradients; then they send messages of their means for T seconds, m_i of them, of
    mean g_i. If sum_i q_i < 1, T is doubled: gradients go on being collected, the messages are dropped. The next
    iteration begins with half of the last T, the first with ``first_budget``. b_i and m_i depend on the clock alone, so
    the estimate is unbiased; times may change as they like. The paper has an adaptive method [note] that was not read;
    this one is our own [derived]. Where messages are free the mean is sent as it is, once. In real time the gradients
    stay in the process of their worker until the next iterate; a new process computes those that it needs again.

    Server knows:
      r, omega and L; not the times.

    Guarantee:
      At most 8 t* seconds an iteration where T begins at or below t* and times are fixed, 64 (L Delta / eps) t* in all
      [derived].

    Args:
      step_size: gamma; in theory 1 / (2L).
      compressor: C, unbiased; a :class:`~rayopt.compression.Compressor` or the mapping of a workload file.
      noise_ratio: r = sigma^2 / eps, at least 0.
      first_budget: T of the first iteration, fleet seconds, above 0.

    Examples:
      >>> import rayopt as ro
      >>> workers = ro.Workers(3, compute=[1.0, 2.0, 3.0], upload=ro.Link(per_float=0.5))
      >>> method = ro.methods.AdaptiveShadowheart(step_size=0.1, compressor=ro.compressors.RandK(1), noise_ratio=2.0)
      >>> result = ro.run(method, ro.problems.Quadratic(dimension=3), workers, until=ro.Until(updates=2))
      >>> result.table.time.tolist()
      [26.0]

    References:
      Tyurin, Pozzi, Ilin, Richtarik, `Shadowheart SGD <https://arxiv.org/abs/2402.04785>`_, NeurIPS 2024.
    """

    name = "adaptive_shadowheart"
    paper = "after Tyurin, Pozzi, Ilin & Richtarik 2024, arXiv 2402.04785"
    vectors_per_worker = 1

    def __init__(
        self,
        step_size: StepSize,
        compressor: Any,
        noise_ratio: float,
        first_budget: float = 1.0,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, compressor, **controls)
        self.noise_ratio = non_negative("noise_ratio", noise_ratio)
        self.first_budget = positive("first_budget", first_budget)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.shadowheart(setting)

    def start(self, fleet: Fleet) -> None:
        self._budget = self.first_budget
        parts = fleet.expected_parts(self.compressor)
        self._is_free = np.zeros(fleet.n, dtype=bool) if parts is None else parts[1] == 0
        self._begin_iteration(fleet)

    def _begin_iteration(self, fleet: Fleet) -> None:
        self._collected = [GradientSum() for _ in range(fleet.n)]
        self._compute(fleet)

    def _compute(self, fleet: Fleet) -> None:
        """Lets everyone compute at x^k for T seconds."""
        self._sends = False
        self._task = Message(self.x, self.updates, Kept())
        fleet.assign(everyone(fleet), [self._task] * fleet.n)
        fleet.wake(self._budget)

    def _send(self, fleet: Fleet) -> None:
        """Lets everyone with a gradient send messages of its mean for T seconds."""
        self._sends = True
        self._messages = MessageSum(self.x.shape, by_worker=True)
        fleet.cancel(everyone(fleet))
        for worker, collected in enumerate(self._collected):
            if collected.count:
                how = (None, collected, 1) if self._is_free[worker] else (self._own[worker], collected)
                fleet.assign(worker, Forward(self.x, self.updates, *how))
        fleet.wake(self._budget)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        if arrival.worker is None:
            if self._sends:
                self._look(fleet)
            else:
                self._send(fleet)
        elif self._sends:
            self._messages.add(arrival)
        else:
            self._collected[arrival.worker].add(arrival)
            fleet.assign(arrival.worker, self._task)

    def _look(self, fleet: Fleet) -> None:
        """Makes the step if the budget was enough, and else doubles it."""
        fleet.cancel(everyone(fleet))
        batches = np.array([collected.count for collected in self._collected])
        counts = np.zeros(fleet.n)
        for worker, count in self._messages.counts.items():
            counts[worker] = count
        endless = np.where(self._is_free & (counts > 0), np.inf, counts)
        quality = shadowheart_weights(self.compressor.omega(self.x.shape[-1]), self.noise_ratio, batches, endless)
        total = float(quality.sum())
        if total >= 1:
            weights = quality / total / np.maximum(counts, 1)
            self._messages.weigh({worker: float(weights[worker]) for worker in self._messages.counts})
            self.descend(self._messages.sum())
            self._budget /= 2
            self._begin_iteration(fleet)
        else:
            self._budget *= 2
            self._compute(fleet)
