"""Writes docs/api.md: the public names, from ``rayopt.__all__`` and the folders that are public names themselves.

python scripts/make_api_page.py
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import rayopt as ro

PAGE = Path(__file__).parents[1] / "docs" / "api.md"


def page() -> str:
    """Returns the page."""
    lines = [
        "# Public names",
        "",
        "Made by `python scripts/make_api_page.py` from `rayopt.__all__`. What is not here may change at any time; the",
        'rule for what is here stands under "Deprecation" in [CONTRIBUTING.md](../CONTRIBUTING.md).',
        "`help(rayopt.NAME)` shows arguments, units and errors.",
        "",
        "| name | kind | what it is |",
        "|---|---|---|",
    ]  # fmt: skip
    lines += [_row(f"rayopt.{name}", getattr(ro, name)) for name in ro.__all__]
    for name in ro.__all__:
        module = getattr(ro, name)
        if inspect.ismodule(module):
            lines += ["", f"## rayopt.{name}", "", "| name | kind | what it is |", "|---|---|---|"]
            lines += [_row(own, getattr(module, own)) for own in module.__all__]
    return "\n".join(lines) + "\n"


def _row(name: str, found: Any) -> str:
    kind = "module" if inspect.ismodule(found) else "class" if inspect.isclass(found) else "function"
    if not (inspect.ismodule(found) or callable(found)):
        return f"| `{name}` | {type(found).__name__} | |"
    first = (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| `{name}` | {kind} | {first} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
