"""Amelie SGD: Malenia SGD on a network; only counters travel while gradients are collected."""

from __future__ import annotations

import math
from typing import Any

from rayopt.core.arrivals import Arrival, GradientSum
from rayopt.core.programs import COUNTERS, POINTS, SIGNALS, SUMS, Node
from rayopt.core.tasks import Gradient
from rayopt.methods.decentralized.base import (
    NetworkFleet,
    PivotMethod,
    TreeProgram,
    children_of,
)
from rayopt.theory import Setting, parameters


class Amelie(PivotMethod):
    """Amelie SGD: each node has its own data, and all weigh the same whatever their speed.

    .. math:: x^{k+1} = x^k
              - \\frac{\\gamma}{n} \\sum_{i=1}^n \\frac{1}{s_i} \\sum_{j=1}^{s_i} \\nabla f_i(x^k; \\xi_{ij}^k)

    with gamma = ``step_size``. A node adds up its s_i gradients at x^k and sends b_i, the sum of its children's and of
    1 / s_i, towards the pivot whenever it has changed and is finite: one float. When n / b >= S / n at the pivot,
    S = ``batch_size``, a signal goes down the tree; a node that it reaches stops, and the sums of g_j / s_j come up the
    tree, each vector once. That the signal freezes a node where it arrives is a reading of ours; the paper leaves it
    open.

    Server knows:
      sigma^2, L and eps; no times: any pivot and any shortest-path trees are optimal up to a constant.

    Guarantee:
      K >= 16 L Delta / eps updates with gamma = 1 / (2L) and S = max{ceil(sigma^2 / eps), n}, each of at most
      4 max mu + 2 (max h + (S / n) mean h) seconds [paper], and max mu more for the signal where a number takes as long
      as a vector [derived]; it matches the lower bound up to a constant.

    Args:
      step_size: gamma; 1 / (2L) in theory.
      batch_size: S.
      pivot: "best", "centre" or the number of a node.
      trees: to and from the pivot: "shortest" in seconds or "minimum_hops"; or the parents of the nodes, one tree for
        both ways or {"towards": parents, "outwards": parents}, -1 for the pivot.

    Raises:
      InvalidInput: an argument out of its range, or a pivot that the network does not have.

    Examples:
      >>> import rayopt as ro
      >>> network = ro.Network(ro.graphs.line(3), compute=[1.0, 1.7, 2.3], edges=0.5)
      >>> result = ro.run(ro.methods.Amelie(step_size=0.3, batch_size=6, pivot=1),
      ...                 ro.problems.Quadratic(dimension=5), network, until=ro.Until(updates=2))
      >>> len(result.rounds)
      2

    References:
      Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
      <https://arxiv.org/abs/2405.16218>`_, NeurIPS 2024, Algorithms 5 and 6.
    """

    name = "amelie"
    paper = "Tyurin & Richtarik 2024, arXiv 2405.16218"
    heterogeneous = True
    waits_for_everyone = True

    @classmethod
    def theory(cls, setting: Setting) -> dict[str, Any]:
        return parameters.malenia(setting)

    def make_programs(self, n: int) -> list[AmelieProgram]:
        ways = zip(self._towards, self._children, children_of(self._towards), strict=True)
        return [AmelieProgram(towards, children, self._dimension, inputs) for towards, children, inputs in ways]

    def after(self, node: int, fleet: NetworkFleet) -> None:
        """Process 0, on the pivot."""
        if node != self.pivot_node:
            return
        program: AmelieProgram = self.programs[node]
        n = len(self.programs)
        if not program.is_frozen and n / program.counter >= self.batch_size / n:
            program.freeze(fleet.nodes[node], self.updates)
        if (total := program.total()) is not None:
            self.step(total.sum() / n)
            self.note_round(fleet, total.count)
            self.spread(fleet)


class AmelieProgram(TreeProgram):
    """The process of a node.

    Attributes:
      inputs: the nodes that send counters and sums to this one.
      counters: b_p of each of them.
      subtrees: the sums of g_j / s_j that have come.
      is_frozen: whether the signal has come.
      sent_counter: the counter that was sent last.
    """

    def __init__(self, towards: int, children: list[int], dimension: int, inputs: list[int]) -> None:
        super().__init__(towards, children, dimension)
        self.inputs = inputs
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.is_frozen = False
        self.sent_counter = math.inf
        self.counters = dict.fromkeys(self.inputs, math.inf)
        self.subtrees: list[Any] = []

    @property
    def counter(self) -> float:
        """b_i: the sum of the children's and of 1 / s_i."""
        own = 1 / self.collected.count if self.collected.count else math.inf
        return sum(self.counters.values()) + own

    def computed(self, node: Node, arrival: Arrival) -> None:
        if arrival.version == self.newest and not self.is_frozen:
            self.collected.add(arrival)
            node.compute(Gradient(arrival.task.x, arrival.version))
            self.tell(node)

    def received(self, node: Node, sender: int, payload: tuple[Any, ...]) -> None:
        kind, content, k = payload
        if kind == POINTS:
            self.point(node, content, k)
        elif k != self.newest:
            return
        elif kind == SIGNALS:
            self.freeze(node, k)
        elif kind == SUMS:
            self.subtrees.append(content)
            self.hand_up(node)
        else:
            self.counters[sender] = content
            self.tell(node)

    def sent(self, node: Node, neighbour: int) -> None:
        if neighbour == self.towards:
            self.tell(node)

    def tell(self, node: Node) -> None:
        """Sends the counter towards the pivot if it has changed and is finite."""
        counter = self.counter
        if self.towards < 0 or self.is_frozen or counter == self.sent_counter or math.isinf(counter):
            return
        if node.is_free(self.towards, COUNTERS):
            self.sent_counter = counter
            node.send(self.towards, (COUNTERS, counter, self.newest), 1, COUNTERS)

    def freeze(self, node: Node, k: int) -> None:
        """Stops collecting, tells the children to, and sends the sum of the subtree up if they have all sent theirs."""
        self.is_frozen = True
        node.stop()
        for child in self.children:
            node.send(child, (SIGNALS, None, k), 1, SIGNALS)
        self.hand_up(node)

    def hand_up(self, node: Node) -> None:
        """Sends the sum of the subtree towards the pivot once it is complete."""
        total = self.total()
        if total is not None and self.towards >= 0:
            node.send(self.towards, (SUMS, total, self.newest), self.dimension, SUMS)

    def total(self) -> GradientSum | None:
        """Returns the sum of g_j / s_j over the subtree; None if it is not complete."""
        if not self.is_frozen or len(self.subtrees) < len(self.inputs):
            return None
        arrivals, _ = self.collected.parts
        found = GradientSum.of(list(arrivals), [1 / len(arrivals)] * len(arrivals))
        for subtree in self.subtrees:
            found.merge(subtree)
        return found
