"""What docs/security.md promises of files: no pickle is read, YAML is safe, a run stays in its folder."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main
from rayopt.core.errors import InvalidInput
from rayopt.experiments import workload_file
from rayopt.experiments.config import build_problem
from rayopt.report.figure import save_figures

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("rayopt", "workloads", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
READERS_OF_PICKLES = {"pickle", "cPickle", "dill", "shelve", "marshal"}
SOCKETS = ROOT / "rayopt" / "fleets" / "simulated" / "parallel" / "channels.py"
"""Reads pickles from sockets, behind a key that both ends have proved to know: from memory alone, by ``loads``."""
SHARED = ROOT / "rayopt" / "experiments" / "spread" / "shared_object.py"
"""Reads a pickle that the process which started this one has put into memory for it, by ``loads``."""


def calls(tree):
    """(dotted name, call) of every call in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_is_read_from_a_file(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        imported = {alias.name.partition(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom):
            imported = {(node.module or "").partition(".")[0]}
        assert not imported & READERS_OF_PICKLES - ({"pickle"} if path in (SOCKETS, SHARED) else set())
    for name, call in calls(tree):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert keywords.get("allow_pickle", "False") == "False"
        assert name.rpartition(".")[2] not in ("read_pickle", "unsafe_load", "full_load")
        assert name not in ("joblib.load", "pickle.load", "pickle.Unpickler", "eval", "exec")
        if name == "torch.load":
            assert keywords.get("weights_only") == "True"
        if name == "np.load":
            assert keywords.get("allow_pickle") == "False"


def test_a_pickle_in_a_data_file_is_refused(tmp_path):
    path = tmp_path / "hostile.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(path, allow_pickle=False)["x"]


def test_yaml_makes_no_objects(tmp_path):
    path = tmp_path / "hostile.yaml"
    path.write_text("problem: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InvalidInput, match="python/object"):
        workload_file.read(path)


CODE = {
    "the module": ({"module": "subprocess:check_output", "module_arguments": {"args": ["touch", "mark"]}}, "module"),
    "an import": ({"module": "leaves_a_mark:Net"}, "module"),
    "the loss": ({"module": "torch.nn:Linear", "loss": "leaves_a_mark:loss"}, "module"),
    "the data": ({"module": "torch.nn:Linear", "data": {"function": "leaves_a_mark:rows"}}, "data.function"),
}


@pytest.fixture
def at_a_mark(tmp_path, monkeypatch):
    """A folder with a module that leaves a file when it is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "leaves_a_mark.py").write_text("import pathlib\npathlib.Path('mark').touch()\n")
    yield tmp_path
    sys.modules.pop("leaves_a_mark", None)


@pytest.fixture(params=CODE.values(), ids=CODE.keys())
def hostile(request, at_a_mark):
    """The text of a workload that names code, and the key that does."""
    arguments, key = request.param
    pytest.importorskip("torch")
    workload = {
        "problem": {"name": "torch", "data": "digits", **arguments}, "workers": {"count": 2, "compute": 1},
        "methods": [{"name": "asgd", "step_size": 0.1}], "until": {"time": 3},
    }  # fmt: skip
    return yaml.safe_dump(workload), key


def in_one_line(*arguments):
    found = CliRunner().invoke(main, [*arguments])
    assert (found.exit_code, len(found.stderr.splitlines())) == (2, 1)
    return found.stderr


def test_a_run_folder_runs_no_code(hostile, at_a_mark):
    text, key = hostile
    ro.run(ro.methods.ASGD(0.1), ro.problems.Quadratic(3), ro.Workers(2, 1), until=ro.Until(time=3), out="sent")
    Path("sent/config.yaml").write_text(text)
    for arguments in (["replay", "sent"], ["replay", "sent", "--method", "asgd"]):
        told = in_one_line(*arguments)
        assert told.startswith(f"sent/config.yaml: problem.{key}: '")
        assert "names code" in told
        assert "--trust-code" in told
    with pytest.raises(InvalidInput, match="names code"):
        ro.replay("sent")
    Path("killed/unfinished").mkdir(parents=True)
    Path("killed/unfinished/config.yaml").write_text(text)
    assert f"killed/unfinished/config.yaml: problem.{key}: '" in in_one_line("resume", "killed")
    assert CliRunner().invoke(main, ["report", "sent"]).exit_code == 0
    assert not Path("mark").exists()
    assert "leaves_a_mark" not in sys.modules


def test_nor_does_a_workload_call_what_makes_no_module(at_a_mark):
    pytest.importorskip("torch")
    arguments, _ = CODE["the module"]
    problem = yaml.safe_dump({"name": "torch", "data": "digits", **arguments}, default_flow_style=True)
    with pytest.raises(InvalidInput, match="does not say that it makes a module"):
        build_problem(problem)
    assert not Path("mark").exists()


def test_code_that_is_trusted_runs(at_a_mark):
    torch = pytest.importorskip("torch")
    with Path("leaves_a_mark.py").open("a") as module:
        module.write("import torch\nclass Net(torch.nn.Linear): pass\n")
    sides = {"in_features": 64, "out_features": 10}
    problem = ro.problems.TorchProblem.from_config("leaves_a_mark:Net", data="digits", module_arguments=sides)
    assert issubclass(problem.module, torch.nn.Module)
    ro.run(ro.methods.ASGD(0.1), problem, ro.Workers(2, 1), until=ro.Until(time=3), out="mine")
    assert "names code" in in_one_line("replay", "mine")
    found = CliRunner().invoke(main, ["replay", "mine", "--trust-code"])
    assert found.exit_code == 0, found.output
    assert ro.replay("mine", trust_code=True).is_equal


def test_a_label_does_not_leave_the_run_folder(tmp_path):
    ro.run(
        ro.methods.ASGD(0.1), ro.problems.Quadratic(3), ro.Workers(2, "i"), until=ro.Until(time=5),
        labels=["../../escaped"], out=tmp_path / "runs" / "one",
    )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"]


def test_nor_does_a_metric(tmp_path):
    history = pd.DataFrame(
        {"method": "asgd", "label": "A", "seed": 0, "step_size": 0.1, "time": [0.0, 1.0], "updates": [0, 1],
         "arrivals": [0, 1], "../../escaped": [1.0, 0.5]}
    )  # fmt: skip
    summary = {"table": [{"label": "A", "step_size": 0.1, "best": True}], "target": None, "problem": ""}
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    assert save_figures(history, summary, folder) == [folder / "escaped.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
