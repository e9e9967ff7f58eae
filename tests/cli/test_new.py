"""``rayopt new``: what it writes runs, and its tests pass."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from rayopt.cli import main


def new(*arguments):
    return CliRunner().invoke(main, ["new", *map(str, arguments)])


@pytest.mark.parametrize("kind", ["workload", "method", "problem", "project"])
def test_what_is_written_runs_and_its_tests_pass(kind, tmp_path):
    found = new(kind, "my_own", "--in", tmp_path)
    assert found.exit_code == 0, found.output
    place = tmp_path / "my_own" if kind == "project" else tmp_path
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."], cwd=place, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    programs = {"method": "my_own.py", "problem": "my_own.py", "project": "my_own.py"}
    if kind in programs:
        run = subprocess.run([sys.executable, programs[kind]], cwd=place, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert run.stdout


def test_nothing_is_replaced(tmp_path):
    (tmp_path / "test_mine.py").write_text("precious")
    found = new("method", "mine", "--in", tmp_path)
    assert found.exit_code == 2
    assert "exists" in found.output
    assert [path.name for path in tmp_path.iterdir()] == ["test_mine.py"]
    assert (tmp_path / "test_mine.py").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "text"), [(["fleet", "x"], "KIND"), (["method", "../x"], "NAME"), (["method", "X"], "NAME"),
                            (["problem", "json"], "'json' is a module already")],
)  # fmt: skip
def test_bad_input(arguments, text, tmp_path):
    found = new(*arguments, "--in", tmp_path)
    assert found.exit_code == 2
    assert text in found.output
    assert not list(tmp_path.iterdir())
