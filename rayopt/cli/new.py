"""``rayopt new``: a commented, running example with its test."""

from __future__ import annotations

import importlib.util
import re
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from rayopt.cli.app import main, open_console
from rayopt.core.errors import InvalidInput, one_of
from rayopt.storage.files import write_text

FILES = {
    "workload": {"workload.yaml": "{name}.yaml", "test_workload.py": "test_{name}.py"},
    "method": {"method.py": "{name}.py", "test_method.py": "test_{name}.py"},
    "problem": {"problem.py": "{name}.py", "test_problem.py": "test_{name}.py"},
}
FILES["project"] = {
    "method.py": "{name}_method.py", "test_method.py": "test_{name}_method.py", "problem.py": "{name}_problem.py",
    "test_problem.py": "test_{name}_problem.py", "project.py": "{name}.py", "README.md": "README.md",
}  # fmt: skip


@main.command()
def new(
    kind: Annotated[str, typer.Argument(help="workload, method, problem or project.", metavar="KIND")],
    name: Annotated[str, typer.Argument(help="Its name, such as my_method.", metavar="NAME")],
    folder: Annotated[Path, typer.Option("--in", help="Where to. A project has a folder of its own in it.")] = Path(),
) -> None:
    """Write a running example to begin with, and its test. Files that exist are never replaced.

    \b
    rayopt new workload first      first.yaml, test_first.py
    rayopt new method patient      patient.py, test_patient.py
    rayopt new problem mine        mine.py, test_mine.py
    rayopt new project fast        fast/ with a method, a problem, their tests and a program
    """
    one_of("KIND", kind, tuple(FILES))
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,60}", name):
        raise InvalidInput("NAME", f"{name!r} is not a name", "small letters, digits and _, such as my_method")
    if kind != "workload" and importlib.util.find_spec(name) is not None and not (folder / f"{name}.py").exists():
        raise InvalidInput("NAME", f"{name!r} is a module already, which this file would hide", "another name")
    place = folder / name if kind == "project" else folder
    written = {source: place / target.format(name=name) for source, target in FILES[kind].items()}
    for path in written.values():
        if path.exists():
            raise InvalidInput("NAME", f"{path} exists", "another name, or --in another folder")
    place.mkdir(parents=True, exist_ok=True)
    console = open_console()
    for source, path in written.items():
        stem = f"{name}_{source.split('.')[0].removeprefix('test_')}" if kind == "project" else name
        stem = name if source in ("project.py", "README.md") else stem
        text = (resources.files("rayopt.cli") / "templates" / f"{source}.txt").read_text(encoding="utf-8")
        write_text(path, text.replace("NAME", stem).replace("CLASS", _class_name(stem)).replace("PROJECT", name)
                   .replace("OWN", _class_name(name)))  # fmt: skip
        console.out(f"Written: {path}", highlight=False)
    runs = f"rayopt run {written['workload.yaml']}" if kind == "workload" else f"python -m pytest {place}"
    console.out(f"Next: {runs}", highlight=False)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
