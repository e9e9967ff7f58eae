"""What notebooks show of objects: a name, a sentence, and a table of what there is to know."""

from __future__ import annotations

import html
import inspect
from collections.abc import Mapping
from typing import Any

from rayopt.core.errors import shortened

MOST_LETTERS = 200


def object_html(thing: object, facts: Mapping[str, Any]) -> str:
    """Returns a table of facts below the class of an object and the first sentence of its documentation."""
    about = (inspect.getdoc(type(thing)) or "").partition("\n")[0]
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(shortened(_text(value), MOST_LETTERS))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<p><b>{html.escape(type(thing).__name__)}</b>: {html.escape(about)}</p><table>{rows}</table>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}" if isinstance(value, float) else repr(value)
