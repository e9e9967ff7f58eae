"""Best values at the edge of what was tried, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Edge:
    """A best value that is the smallest or the largest of its grid.

    Attributes:
      label: of the method.
      parameter: its argument.
      is_largest: at which end.
      goes_on: whether values beyond the edge are allowed.
    """

    label: str
    parameter: str
    is_largest: bool
    goes_on: bool = True


def notes_on_edges(edges: Iterable[Edge]) -> list[str]:
    """Returns a sentence for each parameter and end, with all methods that are there.

    Examples:
      >>> notes_on_edges([Edge("Rennala", "step_size", False), Edge("Ringmaster", "step_size", False)])
      ['The smallest step size that was tried is the best of Rennala, Ringmaster: a smaller one may be better.']
    """
    labels: dict[tuple[str, bool, bool], list[str]] = {}
    for edge in sorted(edges, key=lambda edge: edge.is_largest):
        labels.setdefault((edge.parameter, edge.is_largest, edge.goes_on), []).append(edge.label)
    return [_sentence(*place, ", ".join(found)) for place, found in labels.items()]


def _sentence(parameter: str, is_largest: bool, goes_on: bool, labels: str) -> str:
    extreme, direction = ("largest", "larger") if is_largest else ("smallest", "smaller")
    outlook = f"a {direction} one may be better" if goes_on else f"no {direction} one is allowed"
    return f"The {extreme} {parameter.replace('_', ' ')} that was tried is the best of {labels}: {outlook}."
