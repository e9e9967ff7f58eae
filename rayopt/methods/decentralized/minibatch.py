"""Decentralised Minibatch SGD: a gradient of everyone, summed up the tree."""

from __future__ import annotations

from typing import Any, Unpack

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.programs import POINTS, SUMS, Node
from rayopt.methods.controls import Controls, StepSize
from rayopt.methods.decentralized.base import NetworkFleet, PivotMethod, TreeProgram, children_of
from rayopt.theory import Setting, parameters


class DecentralizedMinibatch(PivotMethod):
    """Decentralised Minibatch SGD: the pivot sends its point over a tree, and one gradient of everyone comes back.

    .. math:: x^{k+1} = x^k - \\frac{\\gamma}{n} \\sum_{i=1}^n \\nabla f_i(x^k; \\xi_i^k)

    with gamma = ``step_size``. A node computes as soon as it has the point, and sends the sum of its subtree when it is
    complete. (The authors' simulator lets nobody compute before all have the point.)

    Server knows:
      sigma^2, L and eps, for the step size; times only to choose the pivot and the trees.

    Guarantee:
      L Delta / eps + sigma^2 L Delta / (n eps^2) rounds of max{max tau_ij, max h} seconds, up to constants [paper].

    Args:
      step_size: gamma.
      pivot: "best" (for n gradients), "centre" or the number of a node.
      trees: to and from the pivot: "shortest" in seconds or "minimum_hops"; or the parents of the nodes, one tree for
        both ways or {"towards": parents, "outwards": parents}, -1 for the pivot.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.line(3), compute=[1.0, 1.7, 2.3], edges=0.5)
      >>> result = ro.run(ro.methods.DecentralizedMinibatch(step_size=0.3, pivot=1), ro.problems.Quadratic(dimension=5),
      ...                 network, until=ro.Until(updates=2))
      >>> result.rounds.time.round(9).tolist()
      [3.3, 6.6]

    References:
      Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, NeurIPS 2024, Table 1.
    """

    name = "decentralized_minibatch"
    paper = "Tyurin & Richtarik 2024, arXiv 2405.16218"
    heterogeneous = True
    waits_for_everyone = True

    def __init__(
        self, step_size: StepSize, pivot: Any = "best", trees: Any = "shortest", **controls: Unpack[Controls]
    ) -> None:
        super().__init__(step_size, 1, pivot, trees, **controls)

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.minibatch(setting)

    @property
    def gradients_wanted(self) -> int:
        return self._network.count

    def make_programs(self, n: int) -> list[MinibatchProgram]:
        ways = zip(self._towards, self._children, children_of(self._towards), strict=True)
        return [MinibatchProgram(towards, children, self._dimension, len(inputs)) for towards, children, inputs in ways]

    def after(self, node: int, fleet: NetworkFleet) -> None:
        program = self.programs[node]
        if node == self.pivot_node and program.is_complete:
            collected = program.collected
            self.step(collected.mean())
            self.note_round(fleet, collected.count)
            self.spread(fleet)


class MinibatchProgram(TreeProgram):
    """The process of a node.

    Attributes:
      parts_missing: of the node itself and the nodes that send to it, how many have not brought their part.
    """

    def __init__(self, towards: int, children: list[int], dimension: int, inputs: int) -> None:
        super().__init__(towards, children, dimension)
        self.inputs = inputs
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.parts_missing = self.inputs + 1

    @property
    def is_complete(self) -> bool:
        """Whether the sum of the subtree is complete."""
        return not self.parts_missing

    def computed(self, node: Node, arrival: Arrival) -> None:
        self.collected.add(arrival)
        self._one_part(node)

    def received(self, node: Node, sender: int, payload: tuple[Any, ...]) -> None:
        kind, content, k = payload
        if kind == POINTS:
            self.point(node, content, k)
        else:
            self.learn(k)
            self.collected.merge(content)
            self._one_part(node)

    def _one_part(self, node: Node) -> None:
        self.parts_missing -= 1
        if self.is_complete and self.towards >= 0:
            total, self.collected = self.collected, GradientSum()
            node.send(self.towards, (SUMS, total, self.newest), self.dimension, SUMS)
