"""``rayopt replay`` on the command line."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rayopt.cli import main
from rayopt.runs.fingerprints import Fingerprint
from tests.experiments.replay.tampering import rewrite


@pytest.fixture
def rayopt(tmp_path, monkeypatch, workload_file):
    """Returns a function that runs a command beside the run folder ``out``."""
    monkeypatch.chdir(tmp_path)
    run = lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])  # noqa: E731
    assert run("run", workload_file(record={"every": 5}), "--out", "out", "--quiet").exit_code == 0
    return run


def test_says_that_every_run_is_equal(rayopt):
    found = rayopt("replay", "out")
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert len(lines) == 4
    assert all("x equal to the bit at all 6 recorded hashes" in line for line in lines)
    assert lines[0].startswith("Rennala, seed 0: ")


@pytest.mark.parametrize(
    ("choice", "replayed"),
    [
        (["--label", "Ring"], ["Ring, seed 0", "Ring, seed 1"]),
        (["--seed", 1], ["Rennala, seed 1", "Ring, seed 1"]),
        (["--seed", 1, "--label", "Rennala"], ["Rennala, seed 1"]),
    ],
)
def test_a_label_and_a_seed_choose_the_runs(rayopt, choice, replayed):
    found = rayopt("replay", "out", *choice)
    assert found.exit_code == 0, found.output
    assert [line.partition(":")[0] for line in found.stdout.splitlines()] == replayed


def test_what_is_not_chosen_is_not_looked_at(rayopt, tmp_path):
    def change(about):
        about["hashes"][1][2][Fingerprint._fields.index("sha256")] = "0"

    rewrite(tmp_path / "out", change_about=change)
    assert rayopt("replay", "out", "--label", "Rennala").exit_code == 0
    assert rayopt("replay", "out", "--label", "Ring").exit_code == 1


def test_a_difference_ends_with_1(rayopt, tmp_path):
    def change(about):
        about["hashes"][1][2][Fingerprint._fields.index("sha256")] = "0"

    rewrite(tmp_path / "out", change_about=change)
    found = rayopt("replay", "out")
    assert found.exit_code == 1
    assert "Ring, seed 0: differs with arrival " in found.stdout


@pytest.mark.parametrize("text", ["asgd", "{name: rennala, step_size: 0.4, batch_size: 2}"])
def test_another_method(rayopt, text):
    found = rayopt("replay", "out", "--method", text, "--label", "Ring", "--out", "other")
    assert found.exit_code == 0, found.output
    assert "Durations of Ring, seed 0: " in found.stdout
    assert rayopt("report", "other").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "a folder that `rayopt run` wrote"),
        (["out", "--method", "rennalla"], "did you mean 'rennala'"),
        (["out", "--method", "rennala"], "--method.batch_size: missing"),
        (["out", "--method", "[1]"], "is not a method"),
        (["out", "--method", "asgd", "--label", "Nobody"], "Rennala, Ring"),
        (["out", "--label", "Nobody"], "label: 'Nobody' is not in out; allowed: Rennala, Ring"),
        (["out", "--seed", "7"], "seed: 7 is not in out; allowed: 0, 1"),
        (["out", "--label", "Ring", "--out", "other"], "--out: 'other' without --method; allowed: --method METHOD"),
        (["out", "--assign", "cyclic"], "--assign: 'cyclic' without --method; allowed: --method METHOD"),
        (["out", "--method", "asgd", "--out", "out"], "out: out holds the run that was recorded; allowed: another fo"),
    ],
)
def test_errors_are_one_line(rayopt, arguments, text):
    found = rayopt("replay", *arguments)
    assert found.exit_code == 2
    assert text in found.stderr
    assert len(found.stderr.splitlines()) == 1
