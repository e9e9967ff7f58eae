"""FedBuff: clients train asynchronously, the server takes their updates in buffers of K."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput, at_least, non_negative, positive
from rayopt.core.memory import check_fits
from rayopt.core.tasks import BYTES_PER_STEP, LocalSGD
from rayopt.methods.base import Array, Fleet, Method
from rayopt.methods.controls import Controls, StepSize


class FedBuff(Method):
    """FedBuff: M clients train at any time; every K of their updates, weighed by staleness, make a step.

    .. math:: x^{k+1} = x^k - \\frac{\\eta_g}{K} \\sum_{j=1}^{K} (1 + \\delta_j)^{-a} \\Delta_j, \\qquad
              \\Delta_j = x^{k - \\delta_j} - y_j

    with eta_g = ``server_step_size``, K = ``buffer_size``, a = ``staleness_power``, delta_j the delay of an update in
    server steps, and y_j the point after Q = ``local_steps`` steps of SGD with gamma = ``step_size`` on the data of
    a client. After each arrival a new client is drawn uniformly among the idle ones. With K = Q = 1, a = 0 and
    every client training, it is ASGD with the step size eta_g gamma.

    Server knows:
      Nothing of the times; it counts delays.

    Guarantee:
      A rate that depends on the largest delay and on bounded gradients, and assumes that arrivals are uniform
      over the clients [memory]; arXiv 2206.08307 criticises the assumption [paper].

    Args:
      step_size: gamma of the local steps.
      local_steps: Q >= 1.
      buffer_size: K >= 1; 10 in the paper's experiments [memory].
      concurrency: M, from 1 to n; None for all n.
      server_step_size: eta_g > 0.
      staleness_power: a >= 0: 0.5 is usual, 0 weighs all alike [code].

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.FedBuff(step_size=0.2, local_steps=2, buffer_size=2),
      ...                 ro.problems.Quadratic(dimension=10), workers=ro.Workers(3, compute=[1.0, 2.0, 3.0]),
      ...                 until=ro.Until(updates=2))
      >>> result.trace[["worker", "delay"]].values.tolist()
      [[0, 0], [0, 0], [1, 1], [0, 0]]

    References:
      Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, `Federated Learning with Buffered Asynchronous
      Aggregation <https://arxiv.org/abs/2106.06639>`_, 2022, Algorithm 1 (server [memory], weights [code]).
    """

    name = "fedbuff"
    paper = "arXiv 2106.06639, Algorithm 1"
    tasks_are_gradients = False
    heterogeneous = True

    def __init__(
        self,
        step_size: StepSize,
        local_steps: int = 1,
        buffer_size: int = 10,
        concurrency: int | None = None,
        server_step_size: float = 1.0,
        staleness_power: float = 0.5,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, **controls)
        self.local_steps = at_least("local_steps", local_steps, 1)
        check_fits("local_steps", self.local_steps, BYTES_PER_STEP * self.local_steps)
        self.buffer_size = at_least("buffer_size", buffer_size, 1)
        self.concurrency = None if concurrency is None else at_least("concurrency", concurrency, 1)
        self.server_step_size = positive("server_step_size", server_step_size)
        self.staleness_power = non_negative("staleness_power", staleness_power)

    def prepare(self, start_point: Array, workers: int) -> None:
        super().prepare(start_point, workers)
        if self.concurrency is not None and self.concurrency > workers:
            problem = f"{self.concurrency} is more than the {workers} workers"
            raise InvalidInput("concurrency", problem, f"1 to {workers}")

    def start(self, fleet: Fleet) -> None:
        order = fleet.random.permutation(fleet.n)
        training = fleet.n if self.concurrency is None else self.concurrency
        self.idle = order[training:].tolist()
        self.buffer = GradientSum()
        fleet.assign(np.sort(order[:training]), self.task())

    def task(self) -> LocalSGD:
        return LocalSGD(self.x, self.updates, self.local_steps, self._step)

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        delay = self.updates - arrival.version
        self.buffer.add(arrival, weight=(1.0 + delay) ** -self.staleness_power)
        if self.buffer.count == self.buffer_size:
            self.replace_by(self.buffer.mean(), self.server_step_size)
            self.buffer = GradientSum()
        self.idle.append(arrival.worker)
        chosen = int(fleet.random.integers(len(self.idle)))
        # The last one takes the place of the one that leaves: no worker is moved for each arrival.
        self.idle[chosen], self.idle[-1] = self.idle[-1], self.idle[chosen]
        fleet.assign(self.idle.pop(), self.task())
