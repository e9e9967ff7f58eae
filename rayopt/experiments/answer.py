"""The answer of a comparison, in one sentence: which method was soonest, by how much, on how many seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayopt.runs.until import Target, larger_is_better

NAMES = {"value": "loss", "gap": "f - f*", "grad_norm_sq": "squared gradient norm", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Scores:
    """One method with its best step size, a number for every seed; of two methods the smaller number is better.

    Attributes:
      label: of the method.
      values: fleet seconds to the target, infinite where it was not reached, or a metric at the end.
    """

    label: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        """The median over the seeds."""
        values = np.sort(np.asarray(self.values, dtype=np.float64))
        # Not np.median: the mean of infinity and minus infinity is none.
        middle = values[(len(values) - 1) // 2], values[len(values) // 2]
        return float(middle[0] if middle[0] == middle[1] else np.mean(middle))

    @property
    def spread(self) -> float:
        """The interquartile range over the seeds, of those whose value is finite; 0 of one seed."""
        finite = [value for value in self.values if math.isfinite(value)]
        return float(np.subtract(*np.percentile(finite, [75, 25]))) if finite else 0.0


def time_answer(times: Sequence[Scores], target: Target, resolution: float, best_values: Mapping[str, float]) -> str:
    """Returns which method met the target first.

    A method is first only if it is ahead by more than the spread over seeds of either, and by more than the time
    between two history rows.

    Args:
      times: fleet seconds to the target, in the order of the methods.
      target: the metric and the value to reach.
      resolution: fleet seconds between two history rows.
      best_values: by label, the target's metric at the end, the median over the seeds.
    """
    goal = f"{NAMES.get(target.metric, target.metric)} {target.reaches:g}"
    there = sorted((one for one in times if math.isfinite(one.median)), key=lambda one: one.median)
    absent = [one for one in times if not math.isfinite(one.median)]
    if not there:
        known = {label: value for label, value in best_values.items() if math.isfinite(value)}
        if not known:
            return f"No method reached {goal}."
        label = (max if larger_is_better(target.metric) else min)(known, key=known.__getitem__)
        return f"No method reached {goal}; {label} came closest with {known[label]:.4g}."
    first, others = there[0], there[1:]
    level = [one for one in others if not _is_ahead(first, one, resolution)]
    late = [one for one in others if one not in level]
    if level:
        names = listed([first.label, *(one.label for one in level)])
        last = max(one.median for one in level)
        span = f"{first.median:.4g} to {last:.4g} s{_reached([first, *level])}"
        text = (f"{names} reached {goal} in {span} with no clear winner among them,"
                " as the differences are within the spread over seeds and history rows")  # fmt: skip
    else:
        text = f"{first.label} reached {goal} in {first.median:.4g} s{_reached([first])}"
    if late:
        slower = [f"{one.median / first.median:.2g} times sooner than {one.label}" if first.median > 0 else
                  f"before {one.label}" for one in late]  # fmt: skip
        text += f"{'; they were' if level else ','} {listed(slower)}"
    if absent:
        text += f"; {listed([one.label for one in absent])} did not reach it"
    return f"{text}."


def final_answer(finals: Sequence[Scores], metric: str, seconds: Sequence[float]) -> str:
    """Returns which method had the best metric at the end.

    Args:
      finals: the metric at the end, its negative where larger is better.
      metric: its name.
      seconds: fleet seconds at the end of the runs.
    """
    sign = -1.0 if larger_is_better(metric) else 1.0
    there = sorted((one for one in finals if math.isfinite(one.median)), key=lambda one: one.median)
    if not there:
        return "No method ended with a finite metric."
    name = NAMES.get(metric, metric)
    least, most = min(seconds), max(seconds)
    end = f"after {most:.4g} s" if least == most else f"after {least:.4g} to {most:.4g} s"
    first, others = there[0], there[1:]
    level = [one for one in others if not _is_ahead(first, one, 0.0)]
    shown = [f"{one.label} {sign * one.median:.4g}" for one in others]
    if level:
        return (f"No winner {end}: {listed([first.label, *(one.label for one in level)])} have a {name} within the "
                f"spread over seeds ({first.label} {sign * first.median:.4g}, {', '.join(shown)}).")  # fmt: skip
    best = "highest" if sign < 0 else "lowest"
    beside = f"; {', '.join(shown)}" if shown else ""
    return f"{first.label} had the {best} {name} {end}: {sign * first.median:.4g}{beside}."


def listed(words: Iterable[str]) -> str:
    """Returns "a", "a and b" or "a, b and c"."""
    found = list(words)
    return " and ".join(filter(None, [", ".join(found[:-1]), *found[-1:]]))


def _is_ahead(first: Scores, other: Scores, resolution: float) -> bool:
    """Whether the medians differ by more than the spread over seeds.

    Two methods see the same workers and samples on one seed, so the spread is that of their differences on the seeds
    that both have; where one of them has an infinite value, it is the larger of their own.
    """
    spread = max(first.spread, other.spread)
    if len(first.values) == len(other.values):
        differences = np.subtract(other.values, first.values)
        if np.isfinite(differences).all():
            spread = Scores("", differences.tolist()).spread
    return other.median - first.median > max(spread, resolution * (1 + 1e-9))


def _reached(methods: Sequence[Scores]) -> str:
    """Returns on how many seeds the target was reached, "" if there is one seed alone."""
    if all(len(one.values) == 1 for one in methods):
        return ""
    counts = [f"{sum(map(math.isfinite, one.values))} of {len(one.values)} seeds" for one in methods]
    return f" ({counts[0] if len(set(counts)) == 1 else ', '.join(counts)})"
