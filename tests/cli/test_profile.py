"""``rayopt profile`` and what reads its file, end to end."""

from __future__ import annotations

import pytest
import ray
import yaml
from typer.testing import CliRunner

from rayopt.cli import main
from rayopt.fleets.ray.connection import connect
from rayopt.latency.durations_file import read_durations

pytestmark = pytest.mark.timeout(240)
HEAD = "# units: seconds, bytes\nworker,kind,bytes,number,seconds\n"


@pytest.fixture
def rayopt(tmp_path, monkeypatch, workload_file):
    """Returns a function that runs a command in a folder with the small workload."""
    monkeypatch.chdir(tmp_path)
    workload_file(workers={"count": 2, "compute": 0.002})
    return lambda *arguments: CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def cluster():
    connect(None)
    yield
    ray.shutdown()


def test_from_measurement_to_replay_and_theory(rayopt, tmp_path, cluster):
    found = rayopt("profile", "small.yaml", "--repetitions", 10, "--transfers", 3, "--bytes", "1000")
    assert found.exit_code == 0, found.output
    assert "2 workers emulating fixed(times=0.002); the profile goes to profile.csv." in found.stdout
    assert "compute: {name: trace, path: profile.csv}" in found.stdout
    assert "upload: {name: trace, path: profile.csv, bytes: 96}" in found.stdout
    assert found.stdout.endswith("Profile: profile.csv\nFigure: profile.png\n")
    assert (tmp_path / "profile.png").is_file()
    assert read_durations("profile.csv").sizes("download") == [96, 1000]

    replay = "workers.compute={name: trace, path: profile.csv, order: resampled}"
    run = rayopt("run", "small.yaml", "--set", replay, "--set", "until.time=0.1", "--out", "replayed")
    assert run.exit_code == 0, run.output
    config = yaml.safe_load((tmp_path / "replayed" / "config.yaml").read_text())
    assert config["workers"]["compute"]["order"] == "resampled"
    run = rayopt("run", "replayed/config.yaml", "--out", "again")
    assert run.exit_code == 0, run.output

    for path in ("profile.csv", "replayed/trace.parquet"):
        theory = rayopt("theory", "--profile", path, "--noise-ratio", 4)
        assert theory.exit_code == 0, theory.output
        assert f"Times of {path}: the mean seconds of a gradient" in theory.stdout
        assert "Theory favours" in theory.stdout


def test_a_problem_and_a_count_in_place_of_a_file(rayopt, cluster):
    options = ["--repetitions", 3, "--transfers", 1, "--bytes", "", "--out", "q.csv", "--quiet"]
    found = rayopt("profile", "--problem", "{name: quadratic, dimension: 10}", "--count", 1, *options)
    assert found.exit_code == 0, found.output
    assert found.stdout == "q.csv\n"
    assert len(read_durations("q.csv").of("compute")[0]) == 3


def test_measured_in_virtual_time_says_what_to_do(rayopt):
    found = rayopt("run", "small.yaml", "--set", "workers.compute=measured")
    assert found.exit_code == 2
    assert "workers.compute: measured, and the fleet simulated has no times to measure" in found.stderr
    assert "`rayopt profile FILE`" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile"], "FILE: missing; allowed: a workload file, or --problem with --count"),
        (["profile", "--problem", "quadratic"], "--count: missing"),
        (["profile", "--problem", "quadratics", "--count", 2], "problem.name: 'quadratics' is unknown"),
        (["profile", "--problem", "{name: quadratic, dim: 3}", "--count", 2], "problem.dim: unknown key"),
        (["profile", "--problem", "[1]", "--count", 2], "problem: [1] is of the wrong type"),
        (["profile", "--problem", "quadratic", "--count", 0], "count: 0 is not an integer of at least 1"),
        (["profile", "small.yaml", "--count", 2], "--count: 2 beside the file small.yaml"),
        (["profile", "nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["profile", "small.yaml", "--out", "x.parquet"], "--out: x.parquet does not end in .csv"),
        (["profile", "small.yaml", "--out", "no/x.csv"], "--out: there is no folder no"),
        (["profile", "small.yaml", "--bytes", "1e3"], "--bytes: '1e3' is not a list of sizes"),
        (["profile", "small.yaml", "--repetitions", 0], "repetitions: 0 is not an integer of at least 1"),
        (
            ["profile", "small.yaml", "--set", "fleet={name: ray, workers_per_actor: 2}"],
            "fleet.workers_per_actor: 2 workers share a process",
        ),
        (["theory"], "--times: missing; allowed: one of --times and --profile"),
        (["theory", "--times", "1,2", "--profile", "p.csv"], "--times: cannot be combined with --profile"),
        (["theory", "--profile", "p.csv"], "--profile: 'p.csv' cannot be read"),
        (["theory", "--profile", "bad.csv"], "--profile: 'bad.csv', line 3: seconds nan"),
        (["theory", "--profile", "good.csv", "-n", 3], "--profile: 1 workers for 3"),
    ],
)
def test_bad_input_is_one_line(rayopt, tmp_path, arguments, message):
    (tmp_path / "bad.csv").write_text(HEAD + "0,compute,0,0,nan\n")
    (tmp_path / "good.csv").write_text(HEAD + "0,compute,0,0,1\n")
    found = rayopt(*arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    assert message in found.stderr
    assert found.stderr.count("\n") == 1


def test_help_teaches_by_example(rayopt):
    found = rayopt("profile", "--help")
    assert found.exit_code == 0
    assert "rayopt profile workloads/mnist_logreg.yaml --set workers.compute=measured" in found.stdout
