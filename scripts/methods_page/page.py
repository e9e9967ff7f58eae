"""The text of the page, made from the docstrings."""

from __future__ import annotations

import json
from typing import Any

from methods_page.docstrings import entries, inline, parse, to_markdown
from methods_page.gallery import CASES, Case
from methods_page.timeline import HORIZON, TIMES, chosen, said
from rayopt import methods
from rayopt.experiments.description import plain
from rayopt.methods import METHODS, Method

FIGURES = "methods"
TITLE = """# The methods

<!-- Written by scripts/make_methods_page.py from the docstrings in rayopt/methods; change those. -->
"""
SECONDS = f"{TIMES[0]:g}, {TIMES[1]:g} and {TIMES[2]:g} seconds"
HOW_TO_READ = f"""The figures are drawn by rayopt. On the left of each, three workers need {SECONDS} for a gradient
and are followed for {HORIZON:g} seconds. A bar is a task, and the number in it the k of the point x^k at which it
computes; its colour says whether the server used what came of it, ignored it, cancelled the task, or was told that it
failed. A dashed line is an update, with its k above. On the right, the method converges beside two others, each with
the step size, of a grid, whose final value is the best; lines are medians over seeds, bands quartiles."""


def text() -> str:
    """Returns the page.

    Raises:
      ValueError: a method has no place in the gallery, or there is no such method.
    """
    placed = [name for cases in CASES.values() for name in cases]
    if sorted(placed) != sorted(METHODS):
        raise ValueError(f"the gallery and METHODS differ in {sorted(set(placed) ^ set(METHODS))}")
    parts = [TITLE, to_markdown(parse(methods).body), inline(HOW_TO_READ), _table()]
    for group, cases in CASES.items():
        parts.append(f"## {group}")
        parts += [_section(METHODS[name], case) for name, case in cases.items()]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _table() -> str:
    rows = ["| method | | data | waits for everyone | paper |", "|---|---|---|---|---|"]
    for cases in CASES.values():
        for method in map(METHODS.__getitem__, cases):
            title = f"[{method.__name__}](#{method.__name__.lower()})"
            data = "heterogeneous" if method.heterogeneous else "homogeneous"
            data += ", convex f" if method.convex else ""
            waits = "yes" if method.waits_for_everyone else "no"
            cells = (title, inline(parse(method).summary), data, waits, inline(method.paper))
            rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows)


def _section(method: type[Method], case: Case) -> str:
    documented = parse(method)
    arguments = "\n".join(f"- `{name}`: {said}" for name, said in entries(documented.sections["Args"]).items())
    return "\n\n".join(
        [
            f"### {method.__name__}",
            inline(documented.summary),
            f"**Update**\n\n{to_markdown(documented.body)}",
            f"**Server knows**\n\n{to_markdown(documented.sections['Server knows'])}",
            f"**Guarantee**\n\n{to_markdown(documented.sections['Guarantee'])}",
            f"**Figure**\n\n![{_alternative(case)}]({FIGURES}/{method.name}.png)\n\n{_caption(case)}",
            f"**Arguments**\n\n{arguments}",
            f"In a workload file, as on the left of the figure:\n\n```yaml\n{workload_line(case.timeline.method)}\n```",
            f"**Paper**: {to_markdown(documented.sections['References'])}",
        ]
    )


def _alternative(case: Case) -> str:
    panels = "fleet time and worker-seconds" if case.scene.counts_worker_seconds else "fleet time"
    return f"Three workers of {type(case.compared).__name__}, and its convergence against {panels}"


def _caption(case: Case) -> str:
    endless = f" A task never ends with probability {case.timeline.fails:g}." if case.timeline.fails else ""
    others = " and ".join(type(method).__name__ for method in case.beside)
    return (
        f"Left: `{said(case.timeline.method)}`.{endless} Right: `{said(case.compared)}` beside {others}; "
        f"{inline(case.scene.said)}."
    )


def workload_line(method: Method) -> str:
    """Returns a method as an item of the methods of a workload file, without the arguments that are the default."""
    # JSON is YAML on one line.
    told: dict[str, Any] = plain({"name": method.name, **chosen(method)})
    values = (f"{key}: {value if key == 'name' else json.dumps(value)}" for key, value in told.items())
    return "- {" + ", ".join(values) + "}"
