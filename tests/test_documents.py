"""The pages of the documentation: every command, snippet and notebook in them runs, and prints what they show.

Blocks of a page run in their order, in one folder: ``python`` in one namespace, ``bash`` commands of rayopt, and
``yaml`` whose first line names a file is that file. A block without a language right below one is what it prints, "..."
standing for anything. What needs machines of one's own is marked ``console``.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main
from rayopt.theory.setting import SYMBOLS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md"), *DOCS.glob("how-to/*.md"), ROOT / "README.md"])
NOTEBOOKS = sorted(DOCS.glob("tutorials/*.ipynb"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$(?:\n\n^```\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
RUN = ("python", "bash", "yaml")
NEEDS = {"your-own-network": "torch"}
"""Packages that a page needs."""
ON_RAY = ("start", "unequal-machines", "performance")
"""Pages that start a cluster."""
OF_PROCESSES = ("shell-completion", "plug-in")
"""Pages whose commands ask how a process was started, or install something."""


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(language, text, what it prints) of each block that runs."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, text, shown) for language, text, shown in found if language in RUN]


PLAYED = [page for page in PAGES if page.stem not in ("README", "methods", "contributing", "security") and blocks(page)]


def same(printed: str, shown: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown, printed, flags)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.cluster] if page.stem in ON_RAY else []) for page in PLAYED],
    ids=lambda page: page.stem,
)  # fmt: skip
def test_a_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch):
    if page.stem in NEEDS and importlib.util.find_spec(NEEDS[page.stem]) is None:
        pytest.skip(f"{NEEDS[page.stem]} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    names: dict[str, object] = {"__name__": page.stem}
    for language, text, shown in blocks(page):
        if language == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", text)
            assert name, f"a workload needs a file's name in its first line: {text}"
            Path(name[1]).write_text(text)
            continue
        printed = ""
        if language == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(text, str(page), "exec"), names)
            printed = stream.getvalue()
        else:
            run = in_a_process if page.stem in (*ON_RAY, *OF_PROCESSES) else rayopt
            for line in text.splitlines():
                printed += run(line)
        if shown or language == "python":
            assert same(printed, shown), f"{text}\nprints\n{printed}\nand not\n{shown}"


def rayopt(line: str) -> str:
    """What a command prints; here, as the start of a process takes longer than most commands."""
    done = CliRunner(env={"COLUMNS": "120"}).invoke(main, arguments_of(line), catch_exceptions=False)
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.stdout


def in_a_process(line: str) -> str:
    """What a command prints in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "rayopt", *arguments_of(line)], capture_output=True, text=True,
                          env=os.environ | {"COLUMNS": "120"}, check=False)  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def arguments_of(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    assert program == "rayopt", line
    return arguments


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_keeps(path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    kept = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(fresh, timeout=120, kernel_name="python3").execute()

    def printed(notebook):
        return [
            output.get("text") or output.get("data", {}).get("text/plain")
            for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
        ]  # fmt: skip

    assert printed(fresh) == printed(kept)
    assert any("text/html" in output.get("data", {}) for cell in fresh.cells if cell.cell_type == "code"
               for output in cell.outputs)  # fmt: skip


def test_there_are_pages_and_notebooks():
    assert len(PLAYED) >= 14
    assert len(NOTEBOOKS) == 3


def test_every_symbol_of_theory_has_a_row():
    table = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "theory.md").read_text(), flags=re.MULTILINE))
    for name, meaning in SYMBOLS.items():
        assert table[name].replace("\\|", "|") == meaning


def test_every_column_of_the_files_has_a_row(tmp_path):
    page = (DOCS / "file-formats.md").read_text()
    result = ro.run(ro.methods.ASGD(0.1), ro.problems.Quadratic(3), ro.Workers(2, "i"), until=ro.Until(time=3),
                    out=tmp_path / "run")  # fmt: skip
    for name in ("history", "trace"):
        section = page.partition(f"### {name}.parquet")[2].partition("\n#")[0]
        for column in pd.read_parquet(tmp_path / "run" / f"{name}.parquet").columns:
            assert f"`{column}`" in section or f"`{column}`" in page.partition("### history.parquet")[2]
    for file in result.folder.path.iterdir():
        assert file.name in page or file.suffix == ".png"
