"""Batch QSGD: a local batch and several messages of it from every worker."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.arrivals import Arrival, MessageSum
from rayopt.core.errors import at_least
from rayopt.methods.base import Fleet, everyone
from rayopt.methods.compressed.base import CompressedMethod
from rayopt.methods.controls import Controls, StepSize
from rayopt.theory import Setting, parameters


class BatchQSGD(CompressedMethod):
    """Batch QSGD: every worker sends m compressed messages of the mean of b gradients, the server waits for all.

    .. math::
        x^{k+1} = x^k - \\frac{\\gamma}{n m} \\sum_{i=1}^n \\sum_{j=1}^m
        C_{ij}\\Big(\\frac1b \\sum_{l=1}^b \\nabla f(x^k; \\xi_{il}^k)\\Big)

    with gamma = ``step_size``, b = ``batch_size``, m = ``messages`` and C = ``compressor``: Shadowheart with the same
    shares for all.

    Server knows:
      L, omega, sigma^2 and eps, for the parameters; not the times.

    Guarantee:
      (L Delta / eps) (h (1 + r / n) + tau (d / n + 1) + sqrt(d tau h r / n)) seconds up to a constant for equal workers
      with RandK, k = 1, and the best b and m [note].

    Args:
      step_size: gamma.
      compressor: C, unbiased; a :class:`~rayopt.compression.Compressor` or the mapping of a workload file.
      batch_size: b, at least 1.
      messages: m, at least 1.

    Examples:
      >>> import rayopt as ro
      >>> workers = ro.Workers(3, compute=1.0, upload=ro.Link(per_float=0.25))
      >>> method = ro.methods.BatchQSGD(step_size=0.1, compressor=ro.compressors.RandK(1), batch_size=2, messages=5)
      >>> result = ro.run(method, ro.problems.Quadratic(dimension=10), workers, until=ro.Until(updates=2))
      >>> result.table.time.tolist(), result.table.arrivals.tolist()
      ([6.5], [30])

    References:
      Tyurin, Sivtsov, `The Limits of Scalability <https://arxiv.org/abs/2506.23836>`_, 2025 (as a baseline).
    """

    name = "batch_qsgd"
    paper = "baseline of arXiv 2506.23836"
    waits_for_everyone = True

    def __init__(
        self,
        step_size: StepSize,
        compressor: Any,
        batch_size: int = 1,
        messages: int = 1,
        **controls: Unpack[Controls],
    ) -> None:
        super().__init__(step_size, compressor, **controls)
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.messages = at_least("messages", messages, 1)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.batch_qsgd(setting)

    def start(self, fleet: Fleet) -> None:
        self._sum = MessageSum(self.x.shape)
        self._awaited = fleet.n * self.messages
        shares = {"count": self.batch_size, "messages": self.messages}
        fleet.assign(everyone(fleet), [self.message(worker, **shares) for worker in range(fleet.n)])

    def receive(self, arrival: Arrival, fleet: Fleet) -> None:
        self._sum.add(arrival, 1 / (fleet.n * self.messages))
        self._awaited -= 1
        if not self._awaited:
            self.descend(self._sum.sum())
            self.start(fleet)
