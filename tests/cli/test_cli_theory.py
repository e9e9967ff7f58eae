"""``rayopt theory``, end to end."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rayopt.cli import main


@pytest.fixture
def theory(tmp_path, monkeypatch):
    """Returns a function that runs the command in a folder with two files of times."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "times.txt").write_text("# measured\n1.5\n2.5\n\ninf\n")
    (tmp_path / "times.csv").write_text("worker,seconds\n0,1.5\n1,2.5\n2,inf\n")
    (tmp_path / "bad.csv").write_text("seconds\n1.0\nfast\n")
    (tmp_path / "empty.txt").write_text("")
    return lambda *arguments: CliRunner().invoke(main, ["theory", *arguments])


def test_json_has_the_reference_numbers(theory):
    found = theory("--times", "i", "-n", "6174", "--noise-ratio", "100", "--json")
    assert found.exit_code == 0, found.output
    numbers = json.loads(found.stdout)
    assert list(numbers) == ["lower_bound", "m_star", "R", "methods"]
    assert numbers["lower_bound"] == pytest.approx(32.52, abs=5e-3)
    assert (numbers["m_star"], numbers["R"]) == (32, 100)
    seconds = numbers["methods"]
    assert (seconds["Hero"], seconds["Minibatch"]) == (101, 6274)
    assert seconds["ASGD"] == pytest.approx(674.2, abs=5e-2)
    assert seconds["Rennala"] == seconds["Ringmaster"] == numbers["lower_bound"]


def test_a_network_without_a_server(theory, tmp_path):
    found = theory("--graph", "mesh:10x10", "--edges", "10", "--noise-ratio", "120", "--json", "--plot", "graph.png")
    assert found.exit_code == 0, found.output
    numbers = json.loads(found.stdout)
    # Five nodes within 20 s there and back: max{20, 120 / 5}; Minibatch: (1 + 120 / 100) 180 s of the farthest two.
    assert numbers["methods"]["Fragile"] == pytest.approx(24)
    assert numbers["methods"]["DecentralizedMinibatch"] == pytest.approx(2.2 * 180)
    assert len(numbers["contributors"]) == 5
    assert (tmp_path / "graph.png").stat().st_size > 10_000
    found = theory("--graph", "line:4", "--edges", "i", "--times", "1,2,3,4", "--noise-ratio", "8", "--heterogeneous",
                   "--json")  # fmt: skip
    # max{1 + 2 + 3 there or 4 + 3 + 2 back, 4, 8 / 4 * 2.5}
    assert json.loads(found.stdout)["methods"]["Amelie"] == 9


def test_finite_sums(theory):
    found = theory("--times", "sqrt(i)", "-n", "100", "--components", "60000", "--eps", "1e-4", "--json")
    numbers = json.loads(found.stdout)
    # t(m) + 1e4 t(sqrt(m)) and the same of the bound, by the sums 1 / sqrt(i) up to j
    assert numbers["methods"]["FreyaPAGE"] == pytest.approx(188_793.1, abs=0.1)
    assert numbers["methods"]["HeroGD"] == pytest.approx(6e8)
    assert numbers["lower_bound"] == pytest.approx(135_219.2, abs=0.1)
    assert (numbers["R"], numbers["m_star"]) == (None, 100)
    clash = theory("--times", "1", "--components", "5", "--convex")
    assert clash.exit_code == 2
    assert "--components: cannot be combined with --convex" in clash.output
    wrong = theory("--times", "1", "--components", "0")
    assert wrong.exit_code == 2
    assert "--components: 0" in wrong.output


def test_a_million_workers(theory):
    found = theory("--times", "sqrt(i)", "-n", "1000000", "--noise-ratio", "1e4", "--json")
    assert json.loads(found.stdout)["lower_bound"] == pytest.approx(100.73, abs=5e-3)


def test_the_constants_scale_the_times(theory):
    once = json.loads(theory("--times", "1,2", "--noise-ratio", "3", "--json").stdout)
    scaled = theory(
        "--times", "1,2", "--noise-ratio", "3", "--smoothness", "2", "--delta", "3", "--eps", "0.5", "--json"
    )
    assert json.loads(scaled.stdout)["lower_bound"] == pytest.approx(12 * once["lower_bound"])


@pytest.mark.parametrize(
    "times", [["1.5,2.5,inf"], ["[1.5, 2.5, inf]", "-n", "3"], ["@times.txt"], ["@times.csv:seconds"]]
)
def test_times_from_a_list_or_a_file(theory, times):
    numbers = json.loads(theory("--times", *times, "--noise-ratio", "3", "--json").stdout)
    # (2 + 3) / (1 / 1.5 + 1 / 2.5)
    assert numbers["lower_bound"] == pytest.approx(4.6875)
    assert numbers["m_star"] == 2


def test_one_number_for_all(theory):
    numbers = json.loads(theory("--times", "2", "-n", "4", "--json").stdout)
    assert numbers["methods"]["Minibatch"] == pytest.approx(2 * (1 + 1 / 4))


def test_the_table_and_the_figure(theory, tmp_path):
    found = theory("--times", "sqrt(i)", "-n", "50", "--convex", "--lipschitz", "2", "--plot", "theory.png")
    assert found.exit_code == 0, found.output
    assert "AcceleratedRennala" in found.stdout
    assert "Seconds until E f - f* is at most eps" in found.stdout
    assert found.stdout.endswith("Figure: theory.png\n")
    assert (tmp_path / "theory.png").is_file()


def test_json_stays_json_beside_a_figure(theory):
    found = theory("--times", "i", "-n", "5", "--json", "--plot", "theory.png")
    assert json.loads(found.stdout)["m_star"] == 1
    assert found.stderr == "Figure: theory.png\n"


def test_help_teaches_by_example(theory):
    found = theory("--help")
    assert found.exit_code == 0
    assert "rayopt theory --times" in found.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--graph", "mesh:3x3"], "--edges: missing beside --graph"),
        (["--graph", "blob", "--edges", "1"], "--graph"),
        (["--graph", "line:3", "--edges", "1", "--times", "1,x"], "--graph.compute.times: '(1, x)' is not"),
        (["--times", "sqrt(k)", "-n", "4"], "--times: unknown name 'k'; allowed: numbers, i (the worker"),
        (["--times", "sqrt(i)"], "--workers: missing; allowed: -n N, the number of workers, with a formula"),
        (["--times", "i", "-n", "0"], "--workers: 0 is not an integer of at least 1"),
        (["--times", "1,2", "-n", "5"], "--times: 2 times for 5 workers; allowed: as many times as workers"),
        (["--times", "0", "-n", "5"], "--times: 0 for worker 0; allowed: times above 0"),
        (["--times=-1,2"], "--times: -1 for worker 0; allowed: numbers"),
        (["--times", "1,nan"], "--times: nan for worker 1; allowed: numbers"),
        (["--times", "@nowhere"], "--times: 'nowhere' cannot be read"),
        (["--times", "@empty.txt"], "--times: 'empty.txt' holds no times"),
        (
            ["--times", "@times.csv"],
            "--times: 'times.csv' has 2 columns; allowed: one of them, as in @times.csv:worker",
        ),
        (["--times", "@times.csv:second"], "--times: 'times.csv' has no column 'second'; allowed: worker, seconds"),
        (["--times", "@bad.csv"], "--times: 'bad.csv' has no number in data row 2"),
        (["--times", "1", "-n", "2", "--eps", "0"], "--eps: 0.0 is not a positive number; allowed: a finite number"),
        (["--times", "1", "-n", "2", "--eps", "nan"], "--eps: nan is not a positive number"),
        (["--times", "1", "-n", "2", "--noise-ratio", "-1"], "--noise-ratio: -1.0 is not a number of at least 0"),
        (["--times", "1", "-n", "2", "--smoothness", "0"], "--smoothness: 0.0 is not a positive number"),
        (["--times", "1", "-n", "2", "--delta", "inf"], "--delta: inf is not a number of at least 0"),
        (
            ["--times", "1", "-n", "2", "--convex", "--heterogeneous"],
            "--convex: cannot be combined with --heterogeneous; allo",
        ),
        (["--times", "1", "-n", "2", "--plot", "x.doc"], "--plot: '.doc' is unknown"),
        (["--times", "1", "-n", "2", "--plot", "no/x.png"], "--plot: there is no folder no; allowed: a file in a fo"),
    ],
)
def test_bad_input_is_one_line(theory, options, message):
    found = theory(*options)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.startswith(message)
    assert found.stderr.count("\n") == 1
