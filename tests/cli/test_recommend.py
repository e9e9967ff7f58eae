"""``rayopt recommend``: what theory says, what short runs show, and a workload that runs."""

from __future__ import annotations

import pytest
import yaml
from typer.testing import CliRunner

from rayopt.cli import main
from rayopt.experiments.config import load_workload

QUADRATIC = "{name: quadratic, dimension: 100, noise: 0.01}"


def recommend(*arguments):
    return CliRunner().invoke(main, ["recommend", *map(str, arguments)])


def test_the_whole_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = recommend("--times", "i", "-n", 12, "--problem", QUADRATIC, "--target", "grad_norm_sq=1e-3", "--seeds", 2)
    assert found.exit_code == 0, found.output
    assert "Theory favours" in found.output
    assert "Each method was tuned on one seed" in found.output
    # Worker 12 is 12 times slower than the first: waiting for it does not pay.
    answer = next(line for line in found.output.splitlines() if " reached " in line)
    assert "Minibatch" not in answer
    tree = yaml.safe_load((tmp_path / "recommended.yaml").read_text())
    assert [method["name"] for method in tree["methods"]] == ["minibatch", "rennala", "ringmaster", "asgd"]
    assert tree["seeds"] == [100, 101]
    result = load_workload(tmp_path / "recommended.yaml").build().run()
    assert result.best().time_to_target.notna().any()


def test_workers_with_data_of_their_own(tmp_path):
    problem = "{name: logistic_regression, data: digits, partition: {name: labels, shards_per_worker: 2}}"
    out = tmp_path / "w.yaml"
    found = recommend("--times", "1,2,3,4", "--problem", problem, "--target", "accuracy=0.6", "--out", out)
    assert found.exit_code == 0, found.output
    assert "Malenia" in found.output
    assert "Rennala" not in found.output.partition("method")[2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--times: missing"),
        (["--times", "i"], "--workers: missing"),
        (["--times", "i", "-n", "4", "--target", "acc"], "--target: 'acc' is not a target"),
        (["--times", "i", "-n", "4", "--problem", QUADRATIC, "--target", "accuracy=0.9"], "no metric 'accuracy'"),
        (["--times", "i", "-n", "4", "--seeds", "0"], "--seeds"),
        (["--times", "i", "-n", "4", "--out", "nowhere/w.yaml"], "--out"),
        (["--times", "1,-2"], "--times"),
        (["--times", "i", "-n", "4", "--profile", "p.csv"], "cannot be combined with"),
    ],
)
def test_bad_input(arguments, text):
    found = recommend(*arguments)
    assert found.exit_code == 2
    assert text in found.output
    assert len(found.output.strip().splitlines()) == 1
