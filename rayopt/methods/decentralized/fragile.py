"""Fragile SGD: Rennala SGD on a network, its gradients summed on their way to the pivot."""

from __future__ import annotations

from typing import Any

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.programs import POINTS, SUMS, Node
from rayopt.core.tasks import Gradient
from rayopt.methods.decentralized.base import NetworkFleet, PivotMethod, TreeProgram
from rayopt.theory import Setting, parameters


class Fragile(PivotMethod):
    """Fragile SGD: the pivot makes a step with the first S gradients at x^k that reach it over a tree.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{s_k} \\sum_{j=1}^{s_k} \\nabla f(x^k; \\xi_j^k), \\quad s_k \\ge S

    with gamma = ``step_size`` and S = ``batch_size``. Every node forwards a new point to its children, computes
    gradients at the newest point, adds them and those of its children up, and sends the sum towards the pivot whenever
    the edge is free. Gradients at older points are ignored. A node keeps one point and one sum.

    Server knows:
      sigma^2, L and eps; times only to choose the pivot and the trees.

    Guarantee:
      K >= 16 L Delta / eps updates with gamma = 1 / (2L) and S = max{ceil(sigma^2 / eps), 1}, each of at most 3 times
      2 t*(S, h, [tau_ij + tau_ji]) seconds (Theorem 3, Corollary 1 [paper]); it matches the lower bound up to log n
      where ways take equally long in both directions (Theorem 1 [paper]).

    Args:
      step_size: gamma; 1 / (2L) in theory.
      batch_size: S.
      pivot: "best", argmin_j t*(S, h, [tau_ij + tau_ji]); "centre"; or the number of a node.
      trees: to and from the pivot: "shortest" in seconds or "minimum_hops"; or the parents of the nodes, one tree for
        both ways or {"towards": parents, "outwards": parents}, -1 for the pivot.

    Raises:
      InvalidInput: an argument out of its range, or a pivot that the network does not have.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.line(3), compute=[1.0, 1.7, 2.3], edges=0.5)
      >>> result = ro.run(ro.methods.Fragile(step_size=0.3, batch_size=4, pivot=1),
      ...                 ro.problems.Quadratic(dimension=5), network, until=ro.Until(updates=3))
      >>> result.rounds.collected.tolist()
      [4, 4, 4]

    References:
      Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, NeurIPS 2024, Algorithms 1 and 2.
    """

    name = "fragile"
    paper = "Tyurin & Richtarik 2024, arXiv 2405.16218"

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.rennala(setting)

    def make_programs(self, n: int) -> list[FragileProgram]:
        return [
            FragileProgram(towards, children, self._dimension)
            for towards, children in zip(self._towards, self._children, strict=True)
        ]

    def after(self, node: int, fleet: NetworkFleet) -> None:
        """Process 0, on the pivot."""
        if node != self.pivot_node:
            return
        collected = self.programs[node].collected
        if collected.count >= self.batch_size:
            self.step(collected.mean())
            self.note_round(fleet, collected.count)
            self.spread(fleet)


class FragileProgram(TreeProgram):
    """Processes A, B and C of a node."""

    def computed(self, node: Node, arrival: Arrival) -> None:
        """The end of A: the gradient counts if its point is the newest."""
        if arrival.version == self.newest:
            self.collected.add(arrival)
            node.compute(Gradient(arrival.task.x, arrival.version))
            self.pass_on(node)

    def received(self, node: Node, sender: int, payload: tuple[Any, ...]) -> None:
        """The begin of A, a new point; or B, a sum of a child."""
        kind, content, k = payload
        if kind == POINTS:
            self.point(node, content, k)
            return
        self.learn(k)
        if k == self.newest:
            self.collected.merge(content)
            self.pass_on(node)

    def sent(self, node: Node, neighbour: int) -> None:
        if neighbour == self.towards:
            self.pass_on(node)

    def pass_on(self, node: Node) -> None:
        """C: a free edge takes what has been accumulated as soon as there is something."""
        if self.towards >= 0 and self.collected.count and node.is_free(self.towards, SUMS):
            collected, self.collected = self.collected, GradientSum()
            node.send(self.towards, (SUMS, collected, self.newest), self.dimension, SUMS)
