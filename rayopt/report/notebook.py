"""What a notebook shows of a result."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

from rayopt.report.figure import draw, recorded_metrics
from rayopt.report.latex import best_of

RESOLUTION = 80


def result_html(result: Any) -> str:
    """Returns the answer, the table of the best step sizes, and the first metric against time."""
    table = best_of(result).to_html(index=False, float_format="{:.4g}".format, na_rep="–", border=0)
    parts = [f"<p><b>{html.escape(result.answer)}</b></p>" if result.answer else "", table]
    metrics = recorded_metrics(result.history)
    if metrics:
        target = result.summary["target"]
        metric = target["metric"] if target is not None and target["metric"] in metrics else metrics[0]
        pixels = io.BytesIO()
        draw(result.history, result.summary, metric).savefig(pixels, format="png", dpi=RESOLUTION)
        encoded = base64.b64encode(pixels.getvalue()).decode()
        parts.append(f'<img alt="{html.escape(metric)} against time" src="data:image/png;base64,{encoded}">')
    return "\n".join(part for part in parts if part)
