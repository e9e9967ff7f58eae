"""The right of a method's figure: how it converges, beside two others."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

import rayopt as ro
from rayopt.methods import Method
from rayopt.problems import Problem
from rayopt.report.figure import AXIS_TITLES, choose_scale, over_seeds

POINTS = 60
LINES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linewidth": 2.2},
    {"color": "#D55E00", "linewidth": 1.2, "linestyle": "--"},
    {"color": "0.35", "linewidth": 1.2, "linestyle": "-."},
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A problem over a fleet, on which methods are compared.

    Attributes:
      said: what they are, for the text under the figure.
      make: makes the problem.
      workers: the fleet.
      seconds: how long a run lasts.
      steps: the step sizes that every method may choose from, by the metric at the end.
      metric: what is shown.
      seeds: the line is their median, the band their quartiles.
      counts_worker_seconds: whether the metric is also shown against seconds of computation.
    """

    said: str
    make: Callable[[], Problem]
    workers: ro.Workers
    seconds: float
    steps: Sequence[float]
    metric: str = "gap"
    seeds: Sequence[int] = (0, 1, 2)
    counts_worker_seconds: bool = False
    _found: dict[str, ro.Result] = field(default_factory=dict)

    @cached_property
    def problem(self) -> Problem:
        return self.make()

    def run(self, method: Method) -> ro.Result:
        """Returns the runs of a method with all step sizes; those of a baseline are made once."""
        if repr(method) not in self._found:
            tuned = type(method)(**{**method.parameters, "step_size": list(self.steps)})
            trace = "all" if self.counts_worker_seconds else False
            record = ro.Record(every=self.seconds / POINTS, metrics=[self.metric], trace=trace)
            with warnings.catch_warnings():
                # A baseline may be one that is not made for the problem: it shows.
                warnings.filterwarnings("ignore", message=".*run by force", category=UserWarning)
                self._found[repr(method)] = ro.run(
                    tuned, self.problem, self.workers, until=ro.Until(time=self.seconds), record=record,
                    seed=self.seeds, force=True,
                )  # fmt: skip
        return self._found[repr(method)]

    def draw(self, panels: Sequence[Axes], methods: Sequence[Method]) -> None:
        """Draws the first method and those it is compared with, each with its best step size.

        Args:
          panels: against fleet time and, if the scene counts them, against worker-seconds.
          methods: at most three.
        """
        seen = []
        for style, method in reversed(list(zip(LINES, methods, strict=False))):
            result = self.run(method)
            best = result.table[result.table.best].step_size.iloc[0]
            times, quartiles = over_seeds(result.history[result.history.step_size == best], self.metric)
            spent_on = [times, self._worker_seconds(result, times)] if self.counts_worker_seconds else [times]
            for axes, spent in zip(panels, spent_on, strict=True):
                axes.plot(spent, quartiles[1], label=f"{type(method).__name__}, step {best:.3g}", **style)
                axes.fill_between(spent, quartiles[0], quartiles[2], color=style["color"], alpha=0.15, linewidth=0)
            seen.append(quartiles)
        for axes, title in zip(panels, ("fleet time (seconds)", "worker-seconds"), strict=False):
            choose_scale(axes, np.concatenate(seen, axis=1))
            _leave_room(axes)
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.set_xlabel(title, size=8)
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        if self.counts_worker_seconds:
            own_end = self._worker_seconds(self.run(methods[0]), np.array([self.seconds]))[0]
            panels[1].set_xlim(right=min(1.5 * own_end, panels[1].get_xlim()[1]))
        panels[0].set_ylabel(AXIS_TITLES[self.metric], size=8)
        handles, labels = panels[0].get_legend_handles_labels()
        panels[0].legend(handles[::-1], labels[::-1], loc="upper right", fontsize=7.5, frameon=False, handlelength=2.2)

    def _worker_seconds(self, result: ro.Result, times: np.ndarray) -> np.ndarray:
        """Returns the seconds of computation of all workers up to each time, the mean over the seeds."""
        return np.mean([spent_until(trace, times) for _, trace in result.trace.groupby("seed")], axis=0)


def _leave_room(axes: Axes) -> None:
    """Makes room above the lines for the legend."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(top=top * (top / bottom) ** 0.35 if axes.get_yscale() == "log" else top + 0.35 * (top - bottom))


def spent_until(trace: pd.DataFrame, times: np.ndarray) -> np.ndarray:
    """Returns the seconds that tasks had taken until each time; what runs at the end is not in a trace."""
    begun, ended = trace.assigned_at.to_numpy(), trace.time.to_numpy()
    return np.array([np.clip(np.minimum(ended, time) - begun, 0.0, None).sum() for time in times])
