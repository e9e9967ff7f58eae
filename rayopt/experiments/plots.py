"""``Result.plot`` and ``TuningResult.plot``: the one place where experiments reach up to what shows them.

A user expects a result to draw itself, as a DataFrame does; everything else hands its displays in from above.
"""

from __future__ import annotations

from typing import Any


def result(*arguments: Any) -> Any:
    """Returns the figure of a result (see ``rayopt.report.figure.draw``)."""
    from rayopt.report.figure import draw

    return draw(*arguments)


def tuning(*arguments: Any) -> Any:
    """Returns the figure of a tuning (see ``rayopt.report.heat_map.draw``)."""
    from rayopt.report.heat_map import draw

    return draw(*arguments)
