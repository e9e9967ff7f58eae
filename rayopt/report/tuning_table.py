"""The table that a person reads at the end of a tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rayopt.experiments.summary import seeds_text

if TYPE_CHECKING:
    from rayopt.experiments.tuning.result import TuningResult

MEASURES = {"value": "loss", "gap": "f - f*", "grad_norm_sq": "||grad||²"}


def render(result: TuningResult) -> RenderableType:
    """Returns what was chosen of each method, tuned against confirmed, with its footnotes."""
    tuning = result.tuning
    parameters = list(dict.fromkeys(key for choice in result.best.values() for key in choice.values))
    measure = MEASURES.get(result.metric, result.metric.replace("_", " "))
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, show_edge=False)
    drawn.add_column("method", overflow="fold")
    for parameter in parameters:
        drawn.add_column(parameter.replace("_", "\n"), justify="right", no_wrap=True)
    measures = [f"{measure}\n{when}" for when in ("tuned", "confirmed")]
    if tuning.until.target is not None:
        measures += [f"time to target\n{when}" for when in ("tuned", "confirmed")]
    for title in measures:
        drawn.add_column(title, justify="right", no_wrap=True)
    for label, choice in result.best.items():
        confirmed = result.confirmed_row(label) or {}
        cells = [_cell(choice.tuned), _cell(confirmed.get(result.metric))]
        if tuning.until.target is not None:
            cells += [_time(choice.time_to_target), _time(confirmed.get("time_to_target"))]
        values = ["" if key not in choice.values else _cell(choice.values[key]) for key in parameters]
        drawn.add_row(label, *values, *cells)
    notes = [
        f"Tuned: {_over(tuning.seeds)}; confirmed: {_over(tuning.confirm)}.",
        *_target_note(result),
        *result.notes,
    ]
    indented = [Padding(Text(note, style="dim"), (0, 0, 0, 2), expand=False) for note in notes]
    answer = [] if result.confirmed is None else [Text(result.confirmed.answer, style="bold")]
    return Group(*([drawn] if result.best else []), *indented, *(text for text in answer if text.plain))


def _target_note(result: TuningResult) -> list[str]:
    target = result.tuning.until.target
    if target is None:
        return []
    return [
        f"Time to target: fleet seconds until {target.metric} is {target.bound} {target.reaches:g}; runs end there."
    ]


def _over(seeds: Sequence[int]) -> str:
    return f"median over {seeds_text(seeds)}" if len(seeds) > 1 else seeds_text(seeds)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _time(value: float | None) -> str:
    return "never" if value is None else f"{value:.4g}"
