"""Shadowheart SGD: batches and numbers of messages of each worker that balance computation and communication."""

from __future__ import annotations

import math
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from rayopt.compression import Compressor, RandK, RandKStream
from rayopt.core.arrivals import Arrival, MessageSum
from rayopt.core.errors import InvalidInput, at_least, boolean, non_negative
from rayopt.core.tasks import Message
from rayopt.methods.base import Array, Fleet
from rayopt.methods.compressed.base import CompressedMethod
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, equilibrium_time, parameters
from rayopt.theory.communication import shadowheart_weights

ROUNDING = 1e-12


class Shadowheart(CompressedMethod):
    """Shadowheart SGD: worker i sends m_i compressed messages of the sum of b_i gradients, as t* tells.

    .. math::
        x^{k+1} = x^k - \\gamma \\frac{\\sum_i w_i \\sum_{j=1}^{m_i} C_{ij}\\big(\\sum_{l=1}^{b_i}
        \\nabla f(x^k; \\xi_{il}^k)\\big)}{\\sum_i w_i m_i b_i}, \\quad
        w_i = \\frac1{\\omega b_i + \\omega r + m_i r}, \\quad
        b_i = \\lfloor t^* / h_i \\rfloor, \\quad m_i = \\lfloor t^* / \\tau_i \\rfloor

    with gamma = ``step_size``, C = ``compressor`` with its omega, r = ``noise_ratio``, h_i the seconds of a gradient,
    tau_i those of a message, and t* the equilibrium time (:func:`rayopt.theory.equilibrium_time`). All m_i messages of
    a worker are of the same value, with fresh draws. A worker whose b_i or m_i is 0 stands idle. An iteration takes
    max_i (b_i h_i + m_i tau_i) <= 2 t* seconds. Where messages are free (tau_i = 0) the value is sent as it is; where
    omega = r = 0 all weights are equal. The mean of the b_i gradients is compressed, and its weight has the b_i.

    Server knows:
      h_i and tau_i, or bounds; r, omega and L.

    Guarantee:
      32 (L Delta / eps) t* seconds [memory: Corollary 4.4], 16 with 8 L Delta / eps iterations [derived]; no method
      with unbiased compression to a server is faster up to a constant [talk].

    Args:
      step_size: gamma; in theory 1 / (2L) [talk].
      compressor: C, unbiased; a :class:`~rayopt.compression.Compressor` or the mapping of a workload file. For RandK,
        k = 1 is best up to a constant [talk].
      noise_ratio: r = sigma^2 / eps, at least 0.
      max_messages: the largest m_i; True for ceil(d / K) with K the floats of a message, as in the authors'
        experiments [code]; None, the paper, for no limit.
      without_replacement: whether the messages of a worker have disjoint supports, which needs RandK: omega / m_i
        becomes max(ceil(d / k) / m_i - 1, 0) in the weights [derived].

    Attributes:
      batches: b_i, shape (n,), after ``start``.
      messages: m_i, shape (n,), after ``start``; infinite where messages are free.
      equilibrium_time: t* in seconds, after ``start``.

    Examples:
      >>> import rayopt as ro
      >>> workers = ro.Workers(3, compute=[1.0, 2.0, 3.0], upload=ro.Link(per_float=[0.5, 1.0, 0.25]))
      >>> method = ro.methods.Shadowheart(step_size=0.1, compressor=ro.compressors.RandK(1), noise_ratio=2.0)
      >>> result = ro.run(method, ro.problems.Quadratic(dimension=3), workers, until=ro.Until(updates=2))
      >>> result.table.time.tolist(), result.table.arrivals.tolist()
      ([16.0], [56])

    References:
      Tyurin, Pozzi, Ilin, Richtarik, `Shadowheart SGD: Distributed Asynchronous SGD with Optimal Time Complexity
      Under Arbitrary Computation and Communication Heterogeneity <https://arxiv.org/abs/2402.04785>`_, NeurIPS 2024
      (Algorithm 1).
    """

    name = "shadowheart"
    paper = "Tyurin, Pozzi, Ilin & Richtarik 2024, arXiv 2402.04785"

    def __init__(
        self,
        step_size: StepSize,
        compressor: Any,
        noise_ratio: float,
        max_messages: int | bool | None = None,
        without_replacement: bool = False,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, compressor, **controls)
        self.noise_ratio = non_negative("noise_ratio", noise_ratio)
        is_switch = max_messages is None or isinstance(max_messages, bool)
        self.max_messages = max_messages if is_switch else at_least("max_messages", max_messages, 1)
        self.without_replacement = boolean("without_replacement", without_replacement)
        if without_replacement and type(self.compressor) is not RandK:
            raise InvalidInput("without_replacement", f"true with {self.compressor!r}", "compressor: {name: rand_k}")

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.shadowheart(setting)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        self._sent: Compressor = RandKStream(self.compressor.k) if self.without_replacement else self.compressor

    def start(self, fleet: Fleet) -> None:
        self.plan(fleet)
        self.begin_round(fleet)

    def plan(self, fleet: Fleet) -> None:
        """Sets t*, b_i, m_i and the weights from the times of the workers."""
        dimension = self.x.shape[-1]
        parts = fleet.expected_parts(self.compressor)
        if parts is None:
            raise InvalidInput("workers.compute", "the server does not know the workers' times",
                               "times that are known, or another method")  # fmt: skip
        compute, upload = parts
        omega = self.compressor.omega(dimension)
        self.equilibrium_time = budget = equilibrium_time(omega, self.noise_ratio, compute, upload)
        if not math.isfinite(budget):
            raise InvalidInput("workers", "no worker ends a gradient and a message in finite time", "finite times")
        self.batches, self.messages = shares(budget, compute), shares(budget, upload)
        if self.max_messages is not None and self.max_messages is not False:
            most = math.ceil(dimension / self.compressor.floats(dimension))
            self.messages = np.minimum(self.messages, most if self.max_messages is True else self.max_messages)
        of_mean = None
        if isinstance(self._sent, RandKStream):
            of_mean = self._sent.omega_of_mean(dimension, np.maximum(self.messages, 1))
        quality = shadowheart_weights(omega, self.noise_ratio, self.batches, self.messages, of_mean)
        self._active = np.flatnonzero(quality > 0)
        sent = np.where(np.isfinite(self.messages), self.messages, 1)
        self._counts = sent.astype(np.int64)
        self._weights = (quality / quality.sum() / np.maximum(sent, 1)).tolist()

    def begin_round(self, fleet: Fleet) -> None:
        """Gives every active worker its batch at x^k."""
        self._sum = MessageSum(self.x.shape)
        self._awaited = int(self._counts[self._active].sum())
        fleet.assign(self._active, [self._task(worker, fleet.n) for worker in self._active.tolist()])

    def _task(self, worker: int, workers: int) -> Message:
        is_free = not math.isfinite(self.messages[worker])
        compressor = None if is_free else self._sent.of(worker, workers)
        return Message(
            self.point_of_tasks, self.updates, compressor, int(self.batches[worker]), int(self._counts[worker]),
            download=self.downlink,
        )  # fmt: skip

    @property
    def point_of_tasks(self) -> Array:
        """Where the workers compute gradients."""
        return self.x

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self._sum.add(arrival, self._weights[arrival.worker])
        self._awaited -= 1
        if not self._awaited:
            self.step(self._sum.sum(), fleet)
            self.begin_round(fleet)

    def step(self, gradient: Array, fleet: Fleet) -> None:
        """Makes the step with the estimate of the gradient."""
        self.descend(gradient)


def shares(budget: float, seconds: Array) -> NDArray[Any]:
    """Returns floor(t / seconds), shape (n,); infinite where they are 0, and integers where none is."""
    with np.errstate(divide="ignore"):
        # A quotient that should be whole may be below it by its last bits.
        found = np.floor(budget / seconds * (1 + ROUNDING))
    return found.astype(np.int64) if np.isfinite(found).all() else found
