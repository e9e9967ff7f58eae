"""A table for a paper."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

COLUMNS = {
    "label": "method", "step_size": "step size", "updates": "updates", "used": "used", "ignored": "ignored",
    "cancelled": "cancelled", "failed": "failed", "time_to_target": "time to target",
    "times_lower_bound": "multiple of bound", "time": "seconds", "worker_seconds": "worker-seconds",
    "bits_up": "bits sent", "value": "loss", "gap": "f − f*", "grad_norm_sq": "‖∇f‖²", "accuracy": "accuracy",
}  # fmt: skip
"""Of a table for people, by the key of a row."""

SPECIAL = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
           "~": r"\textasciitilde{}",
           "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "−": "$-$", "‖∇f‖²": r"$\|\nabla f\|^2$"}  # fmt: skip


def latex_of(result: Any) -> str:
    """Returns the best step sizes of a result, the best method first, as a ``tabular``."""
    return latex_table(best_of(result))


def best_of(result: Any) -> pd.DataFrame:
    """Returns the rows of the best step sizes, the best method first, with titles for people and no empty column."""
    best = result.best()
    shown = [key for key in COLUMNS if key in best and best[key].notna().any()]
    return best[shown].rename(columns=COLUMNS)


def latex_table(frame: pd.DataFrame) -> str:
    """Returns a frame as a ``tabular`` with the rules of booktabs, numbers with four digits, texts escaped."""
    columns = "".join("l" if frame[name].map(lambda value: isinstance(value, str)).any() else "r" for name in frame)
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(frame.columns), r"\midrule"]
    lines += [_line(row) for row in frame.itertuples(index=False)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _line(cells: Any) -> str:
    return " & ".join(_cell(cell) for cell in cells) + r" \\"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "--"
    if isinstance(value, str):
        return SPECIAL.get(value, "".join(SPECIAL.get(letter, letter) for letter in value))
    if isinstance(value, bool):
        return str(value)
    return f"{int(value):,}" if float(value).is_integer() and abs(value) < 10_000_000 else f"{value:.4g}"
