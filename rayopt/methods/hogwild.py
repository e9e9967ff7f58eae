"""Hogwild: asynchronous SGD on one x in shared memory, without locks."""

from __future__ import annotations

from typing import Unpack

from rayopt.core.errors import one_of
from rayopt.methods.asgd import ASGD
from rayopt.methods.controls import Controls, StepSize

ACCESS = ("free", "locked", "serial")


class Hogwild(ASGD):
    """Hogwild!: every worker reads x and adds to it in place, while the others do the same.

    .. math:: x_v \\leftarrow x_v - \\gamma \\, [\\nabla f_e(\\hat x)]_v \\quad \\text{for each } v \\in e

    with gamma = ``step_size``, e the few coordinates that a row of the data touches, drawn uniformly, and x-hat what
    the worker read of them, each component at its own time; each addition is atomic. In rayopt f is the mean over
    the rows, so the gradient of one row's loss is what the paper writes as G_e: |E| times the gradient of its
    summand. Nothing is discarded.

    On :class:`rayopt.SharedMemoryFleet` this is the real thing: processes of one machine update one array, millions
    of times a second. Where a server receives arrivals, in virtual time and on Ray, it is ASGD: arrivals are
    applied one after the other, however old (Ringmaster with threshold infinity). Homogeneous data only.

    Server knows:
      There is no server. For the step size: L, the strong convexity c, a bound M of the gradients, eps, the largest
      lag tau between a read and its write, in updates, and the sparsity of the data: Omega, the coordinates of the
      largest row; Delta_H, the share of rows that touch the commonest coordinate; rho, the largest share of rows that
      one row meets (``sparsity()`` of the problem gives the three).

    Guarantee:
      2 L M^2 Omega (1 + 6 tau rho + 6 tau^2 Omega Delta_H^{1/2}) log(L D_0 / eps) / (c^2 theta eps) updates until
      E f - min f <= eps, D_0 of order ||x^0 - x^*||^2, theta in (0, 1) [memory]: a constant factor more than
      serially while tau rho and tau^2 Omega Delta_H^{1/2} are small, and n processors make n times as many a second.

    Args:
      step_size: gamma; in theory theta eps c / (2 L M^2 Omega (1 + 6 rho tau + 4 tau^2 Omega Delta_H^{1/2})) [memory].
      access: "free": without locks; "locked": a lock around reading, computing and updating; "serial": one worker
        makes all updates. The last two are what the first is compared with, and need shared memory.

    Raises:
      InvalidInput: an argument that is not allowed.

    Examples:
      >>> import rayopt as ro
      >>> problem, workers = ro.problems.Quadratic(dimension=10), ro.Workers(3, compute="sqrt(i)")
      >>> runs = [ro.run(method, problem, workers, until=ro.Until(time=20)).history.value.iloc[-1]
      ...         for method in (ro.methods.Hogwild(step_size=0.1), ro.methods.ASGD(step_size=0.1))]
      >>> bool(runs[0] == runs[1])
      True

    References:
      Niu, Recht, Re, Wright, `Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient Descent
      <https://arxiv.org/abs/1106.5730>`_, 2011.
    """

    name = "hogwild"
    paper = "arXiv 1106.5730"

    def __init__(self, step_size: StepSize, access: str = "free", **controls: Unpack[Controls]) -> None:
        super().__init__(step_size, **controls)
        self.access: str = one_of("access", access, ACCESS)

    @property
    def needs_shared_memory(self) -> bool:
        return self.access != "free"
