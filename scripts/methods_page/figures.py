"""The figures: a PNG for each method."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from methods_page.gallery import CASES, Case

RESOLUTION = 110
COLOURS = 64
"""Of the palette of a PNG; flat drawings need no more, and the files are a third of the size."""


def draw(case: Case) -> Figure:
    """Returns the figure of a method: its timeline, and one panel or two of its convergence."""
    curves = 2 if case.scene.counts_worker_seconds else 1
    figure = Figure(figsize=(6.2 + 3.6 * curves, 3.0), layout="constrained")
    panels = figure.subplots(1, 1 + curves, width_ratios=[1.6, *[1.0] * curves])
    case.timeline.draw(panels[0])
    case.scene.draw(panels[1:], (case.compared, *case.beside))
    return figure


def write(folder: Path, names: Collection[str] = ()) -> Iterator[Path]:
    """Writes ``NAME.png`` of the methods with these names, of all if there are none, and yields each path."""
    folder.mkdir(parents=True, exist_ok=True)
    for cases in CASES.values():
        for name, case in cases.items():
            if not names or name in names:
                path = folder / f"{name}.png"
                save(draw(case), path)
                yield path


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG with a palette."""
    pixels = io.BytesIO()
    figure.savefig(pixels, dpi=RESOLUTION)
    with Image.open(pixels) as image:
        image.convert("RGB").quantize(COLOURS).save(path, optimize=True)
