"""How results draw themselves: the one place where experiments reach up to what shows them.

A user expects a result to draw itself, as a DataFrame does; everything else hands its displays in from above.
"""

from __future__ import annotations

from typing import Any


def result(*arguments: Any) -> Any:
    """Returns the figure of a result (see ``rayopt.report.figure.draw``)."""
    from rayopt.report.figure import draw

    return draw(*arguments)


def latex(result: Any) -> str:
    """Returns the table of a result for a paper (see ``rayopt.report.latex``)."""
    from rayopt.report.latex import latex_of

    return latex_of(result)


def html(result: Any) -> str:
    """Returns what a notebook shows of a result (see ``rayopt.report.notebook``)."""
    from rayopt.report.notebook import result_html

    return result_html(result)


def tuning(*arguments: Any) -> Any:
    """Returns the figure of a tuning (see ``rayopt.report.heat_map.draw``)."""
    from rayopt.report.heat_map import draw

    return draw(*arguments)
