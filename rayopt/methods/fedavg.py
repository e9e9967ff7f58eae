"""FedAvg, or Local SGD: some clients train for a while, the server averages their models."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.errors import InvalidInput, at_least, one_of, positive
from rayopt.core.memory import check_fits
from rayopt.core.tasks import BYTES_PER_STEP, LocalSGD
from rayopt.methods.base import Array, Fleet, Method
from rayopt.methods.controls import Controls, StepSize


class FedAvg(Method):
    """FedAvg (Local SGD): clients that are drawn at random make H local steps, and their models are averaged.

    .. math:: x^{k+1} = \\sum_{i \\in S_k} \\frac{n_i}{\\sum_{j \\in S_k} n_j} y_i, \\qquad
              y_i = x^k \\text{ after } H \\text{ steps } y \\leftarrow y - \\gamma \\nabla f_i(y; \\xi)

    with gamma = ``step_size``, H = ``local_steps``, n_i the number of rows of client i, and S_k the
    m = max{C n, 1} clients of round k, C n rounded and C = ``fraction``. The server waits for all of them: a round
    lasts as long as the slowest. With C = 1 it is Local SGD, with H = 1 besides Minibatch SGD.

    Server knows:
      How many rows each client has.

    Guarantee:
      None in the paper [memory]. A round takes max_{i in S_k} H tau_i seconds [derived].

    Args:
      step_size: gamma of the local steps.
      local_steps: H >= 1.
      fraction: C in (0, 1].
      weighting: "rows": by n_i, as in the paper; "equal": all alike.
      server_step_size: eta of x^{k+1} = x^k - eta d^k, d^k the mean of x^k - y_i; 1, as in the paper, takes the mean of
        the models. With ``server=Momentum()`` it is FedAvgM, with ``server=Adam(eps=1e-3, bias_correction=False)``
        FedAdam (`Adaptive Federated Optimization <https://arxiv.org/abs/2003.00295>`_).

    Examples:
      >>> import rayopt as ro
      >>> result = ro.run(ro.methods.FedAvg(step_size=0.5, local_steps=4), ro.problems.Quadratic(dimension=10),
      ...                 workers=ro.Workers(3, compute=[1.0, 2.0, 3.0]), until=ro.Until(updates=1))
      >>> result.trace.time.tolist()
      [4.0, 8.0, 12.0]

    References:
      McMahan, Moore, Ramage, Hampson, Agüera y Arcas, `Communication-efficient learning of deep networks from
      decentralized data <https://arxiv.org/abs/1602.05629>`_, 2017, Algorithm 1 [memory].
    """

    name = "fedavg"
    paper = "arXiv 1602.05629, Algorithm 1"
    tasks_are_gradients = False
    heterogeneous = True
    waits_for_everyone = True

    def __init__(
        self,
        step_size: StepSize,
        local_steps: int,
        fraction: float = 1.0,
        weighting: str = "rows",
        server_step_size: float = 1.0,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, **controls)
        self.local_steps = at_least("local_steps", local_steps, 1)
        check_fits("local_steps", self.local_steps, BYTES_PER_STEP * self.local_steps)
        self.fraction = positive("fraction", fraction)
        if self.fraction > 1:
            raise InvalidInput("fraction", f"{fraction!r} is more than all clients", "a number in (0, 1]")
        self.weighting = one_of("weighting", weighting, ("rows", "equal"))
        self.server_step_size = positive("server_step_size", server_step_size)

    def start(self, fleet: Fleet) -> None:
        self.sampled = max(round(self.fraction * fleet.n), 1)
        self.weights: Array = np.ones(fleet.n)
        if self.weighting == "rows" and fleet.shard_sizes is not None:
            self.weights = fleet.shard_sizes.astype(np.float64)
        self.begin_round(fleet)

    def begin_round(self, fleet: Fleet) -> None:
        self.clients = fleet.random.choice(fleet.n, self.sampled, replace=False)
        self.batch = GradientSum()
        fleet.assign(self.clients, LocalSGD(self.x, self.updates, self.local_steps, self._step))

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self.batch.add(arrival)
        if self.batch.count == self.sampled:
            # A reply is x - y: the average of the y is x less the average of the replies.
            weights = self.weights / self.weights[self.clients].sum()
            self.replace_by(self.batch.sum(worker_weights=weights), self.server_step_size)
            self.begin_round(fleet)
