"""Inputs that people give by mistake: one line with the file, the key, the value and what is allowed, and exit 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main
from rayopt.core.errors import LONGEST_VALUE, shortened

HEAD = "problem: {name: quadratic, dimension: 5}\nworkers: {count: 3, compute: i}\n"
METHODS = "methods: [{name: asgd, step_size: 0.1}]\n"
UNTIL = "until: {time: 5}\n"


@pytest.fixture
def refuse(tmp_path, monkeypatch):
    """Runs a workload that is refused, and returns the line that says why."""

    def run(text: str, *options: str) -> str:
        monkeypatch.chdir(tmp_path)
        Path("w.yaml").write_text(text, encoding="utf-8")
        result = CliRunner().invoke(main, ["run", "w.yaml", "--out", "out", *options])
        assert result.exit_code == 2, result.output
        assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        assert not Path("out").exists()
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("workers.count=1000000000000", "workers.count: 1,000,000,000,000 needs at least 200 TB of memory, and "),
        ("problem.dimension=20000000000000", "problem.dimension: 20,000,000,000,000 needs at least 640 TB of memory"),
        (
            "problem.dimension=1000000000000000000000000000000",
            "problem.dimension: 1000000000000000000000000000000 does not",
        ),
        ("seeds=[9223372036854775808]", "seeds: 9223372036854775808 does not fit into 64 bits"),
        ("problem.noise=1.0e+300", "problem.noise: 1e+300, whose variance is not a finite number"),
    ],
)
def test_numbers_too_large_for_the_machine(refuse, change, message):
    assert message in refuse(HEAD + METHODS + UNTIL, "--set", change)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (HEAD + "methods:\n\t- {name: asgd, step_size: 0.1}\n" + UNTIL, ["line 4", "spaces before a key, not tabs"]),
        (
            HEAD + "methods: !!python/object:os.system {}\n" + UNTIL,
            ["line 3", "'methods: !!python/object", "without a tag"],
        ),
        (HEAD + METHODS + METHODS + UNTIL, ["line 4", "YAML in which no key stands twice"]),
        (HEAD + "methods: [{name: asgd, step_size: 0.1}\n" + UNTIL, ["YAML such as 'key: value'"]),
        (HEAD + METHODS + UNTIL + "seeds: *other\n", ["line 5", "'seeds: *other'", "no aliases"]),
    ],
    ids=["tab", "tag", "twice", "bracket", "alias"],
)
def test_hints_fit_the_error(refuse, text, messages):
    line = refuse(text)
    assert all(message in line for message in messages), line


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("no", "true or false"),
        ("on", "true or false"),
        ("2024-01-01", "a date"),
        ("12", "a number"),
        ("1e3", "a number"),
    ],
)
def test_words_that_yaml_reads_as_something_else(refuse, written, kind):
    line = refuse(HEAD + f"methods: [{{name: asgd, step_size: 0.1, label: {written}}}]\n" + UNTIL)
    assert f'methods[0].label: YAML reads {written} as {kind}; allowed: a text; in quotes: "{written}"' in line


@pytest.mark.parametrize("place", ["method", "key", "label of two"])
def test_long_words_are_cut(refuse, place):
    long = "x" * 5000
    changed = {
        "method": HEAD + f"methods: [{{name: {long}, step_size: 0.1}}]\n" + UNTIL,
        "key": HEAD + METHODS + UNTIL + f"{long}: 1\n",
        "label of two": HEAD + "methods: [" + f"{{name: asgd, step_size: 0.1, label: {long}}}, " * 2 + "]\n" + UNTIL,
    }
    line = refuse(changed[place])
    assert "characters" in line
    assert len(line) < 2500


def test_the_place_of_a_long_value_is_kept():
    text = shortened("a" * 600 + "b" * 3000 + "c" * 600)
    assert text.startswith("a" * 500)
    assert text.endswith("c" * 100)
    assert "(4,200 characters)" in text
    assert len(text) < LONGEST_VALUE + 50
    assert shortened("short") == "short"


def test_rows_much_finer_than_the_events_are_thinned():
    """Fleet seconds of 1e9 a task, a row every 3: hundreds of millions of rows of an unchanged x."""
    result = ro.run(
        ro.methods.ASGD(0.1), ro.problems.Quadratic(dimension=5), ro.Workers(3, [1e9, 2e9, 3e9]),
        until=ro.Until(arrivals=40), record=ro.Record(every=3),
    )  # fmt: skip
    assert 1_000 < len(result.history) < 100_000
    assert result.history.time.is_monotonic_increasing
    assert result.table.arrivals.tolist() == [40]
    assert any("record.every is much shorter than the time between arrivals" in text
               for text in result.summary["problems"])  # fmt: skip


def test_the_interval_doubles_after_rows_without_an_arrival():
    from rayopt.runs.recorder import IDLE_ROWS

    result = ro.run(
        ro.methods.ASGD(0.1), ro.problems.Free(2), ro.Workers(1, [3.0 * IDLE_ROWS]),
        until=ro.Until(updates=2), record=ro.Record(every=1.0, trace=False),
    )  # fmt: skip
    steps = np.diff(result.history.time)
    assert set(steps[: IDLE_ROWS - 1]) == {1.0}
    assert set(steps[IDLE_ROWS + 1 : IDLE_ROWS + 100]) == {2.0}
    assert result.history.time.max() == 6.0 * IDLE_ROWS


MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)
    def forward(self, rows):
        return self.layer(rows)
"""


@pytest.mark.parametrize("place", ["beside the workload", "in the working folder"])
def test_a_module_of_the_user_is_found(tmp_path, place):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    work, files = tmp_path / "work", tmp_path / "files"
    work.mkdir()
    files.mkdir()
    name = f"net_{place.split()[0]}"
    (files if place.startswith("beside") else work).joinpath(f"{name}.py").write_text(MODULE)
    workload = {
        "problem": {"name": "torch", "module": f"{name}:Net", "data": "digits", "batch": 4},
        "workers": {"count": 2, "compute": "i"}, "methods": [{"name": "asgd", "step_size": 0.1}],
        "until": {"time": 3},
    }  # fmt: skip
    (files / "w.yaml").write_text(yaml.safe_dump(workload))
    environment = {**os.environ, "PYTHONPATH": str(Path(ro.__file__).parents[1])}
    command = [sys.executable, "-m", "rayopt", "run", str(files / "w.yaml"), "--out", "out", "-q"]
    ran = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "not writable" not in ran.stderr


def test_a_module_that_is_nowhere_says_where_it_was_looked_for(refuse, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    text = "problem: {name: torch, module: 'no_such_net:Net', data: digits}\nworkers: {count: 3, compute: i}\n"
    line = refuse(text + METHODS + UNTIL)
    assert "problem.module: 'no_such_net:Net' cannot be imported" in line
    assert f"looked in {tmp_path} and where Python looks" in line
