"""The left of a method's figure: what three workers do, and when x changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import rayopt as ro
from rayopt.experiments.components import arguments_of
from rayopt.methods import Method

TIMES = (1.0, 2.3, 3.7)
HORIZON = 12.0
EDGE_SECONDS = 0.4
"""Of a message between two neighbours on the line of three nodes, for methods without a server."""
RUNNING = "running at the end"
STYLES: dict[str, dict[str, Any]] = {
    "used": {"facecolor": "#009E73", "edgecolor": "white"},
    "ignored": {"facecolor": "#E69F00", "edgecolor": "white"},
    "cancelled": {"facecolor": "#D9D9D9", "edgecolor": "white", "hatch": "////"},
    "failed": {"facecolor": "#CC79A7", "edgecolor": "white"},
    RUNNING: {"facecolor": "white", "edgecolor": "0.6"},
}
INK = {"used": "white", "ignored": "black", "cancelled": "0.25", "failed": "black", RUNNING: "0.25"}


@dataclass(frozen=True)
class Timeline:
    """A method on three workers for twelve seconds.

    Attributes:
      method: with the arguments that are shown.
      fails: the probability that a task never ends.
      upload: seconds per message of each worker.
      seed: of the run.
    """

    method: Method
    fails: float = 0.0
    upload: float | tuple[float, ...] = 0.0
    seed: int = 0

    def bars(self) -> pd.DataFrame:
        """Returns the tasks that begin before the end, rows of a trace, in order; a message after the first of a task
        begins when the one before it has come.

        One that ends later has the outcome RUNNING and the end as its time.
        """
        # Without failures these are the fixed times.
        compute = ro.latency.infinite_bernoulli(base=TIMES, probability=1 - self.fails)
        # A trace has no row of a task that still runs: the run goes on for long enough to see them end.
        until = ro.Until(time=4 * HORIZON)
        problem: ro.problems.Problem = ro.problems.Quadratic(dimension=10, noise=0.0)
        if self.method.needs_components:
            problem = ro.problems.NonconvexQuadratics(components=4, dimension=10)
        record = ro.Record(every=until.time, metrics=["value"])
        workers = ro.Workers(3, compute, self.upload)
        if self.method.decentralized:
            workers = ro.Network(ro.graphs.line(3), compute, edges=EDGE_SECONDS)
        result = ro.run(self.method, problem, workers, until=until, record=record, seed=self.seed)
        trace = result.trace.astype({"outcome": str})
        trace["assigned_at"] = trace.groupby(["worker", "number"]).time.shift().fillna(trace.assigned_at)
        bars = trace[trace.assigned_at < HORIZON].copy()
        late = bars.time > HORIZON
        bars.loc[late, "outcome"] = RUNNING
        bars["time"] = bars.time.clip(upper=HORIZON)
        if self.method.decentralized:
            # Updates come with messages, which are no tasks.
            bars.attrs["updates"] = result.rounds.time[result.rounds.time <= HORIZON].tolist()
        return bars

    def draw(self, axes: Axes) -> None:
        """Draws a bar per task with the version of x that it works on, and a line where x changes."""
        bars = self.bars()
        bar: Any
        for bar in bars.itertuples():
            length = bar.time - bar.assigned_at
            axes.barh(bar.worker, length, 0.66, bar.assigned_at, linewidth=0.8, **STYLES[bar.outcome])
            if length > 0.3:
                middle = bar.assigned_at + length / 2
                axes.text(middle, bar.worker, bar.version, ha="center", va="center", size=7, color=INK[bar.outcome])
        updates = np.array(bars.attrs.get("updates", update_times(bars)))
        axes.vlines(updates, -0.5, 2.5, color="#0072B2", linewidth=0.9, linestyle=(0, (3, 2)), zorder=3)
        _number(axes, updates)
        axes.set_ylim(2.55, -0.55)
        axes.set_xlim(0, HORIZON)
        axes.set_xticks(np.arange(0, HORIZON + 1, 2))
        axes.set_yticks(range(3), [f"worker {i + 1}\n{seconds:g} s" for i, seconds in enumerate(TIMES)], size=8)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlabel("fleet time (seconds)", size=8)
        axes.set_title(said(self.method), loc="left", size=9, pad=14)
        axes.spines[["top", "right", "left"]].set_visible(False)
        _explain(axes, [outcome for outcome in STYLES if (bars.outcome == outcome).any()])


def said(method: Method) -> str:
    """Returns the method as a call, without its step size, which curves choose."""
    told = [f"{name}={value!r}" for name, value in chosen(method).items() if name != "step_size"]
    return type(method).__name__ + (f"({', '.join(told)})" if told else "")


def update_times(bars: pd.DataFrame) -> np.ndarray:
    """Returns the times at which k grew."""
    grown = bars[bars.outcome != RUNNING]
    before = grown.updates.shift(fill_value=0)
    return grown.time[grown.updates > before].to_numpy()


def _number(axes: Axes, updates: np.ndarray) -> None:
    """Writes k above the lines, where there is room for it."""
    last = -1.0
    for k, time in enumerate(updates, start=1):
        if time - last >= 0.42:
            axes.text(time, -0.58, str(k), ha="center", va="bottom", size=7, color="#0072B2")
            last = time


def _explain(axes: Axes, outcomes: list[str]) -> None:
    handles: list[Patch | Line2D] = [Patch(**STYLES[outcome], label=outcome) for outcome in outcomes]
    handles.append(Line2D([], [], color="#0072B2", linewidth=0.9, linestyle="--", label="update, new $k$"))
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=len(handles), frameon=False,
        fontsize=8, handlelength=1.3, columnspacing=1.2,
    )  # fmt: skip


def chosen(method: Method) -> dict[str, Any]:
    """Returns the arguments of a method that are not the default, by name."""
    defaults = {name: parameter.default for name, parameter in arguments_of(type(method)).items()}
    return {name: value for name, value in method.parameters.items() if value != defaults[name]}
