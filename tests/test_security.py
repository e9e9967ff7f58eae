"""What docs/security.md promises of files: no pickle is read, YAML is safe, a run stays in its folder."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rayopt as ro
from rayopt import workload_file
from rayopt.errors import InvalidInput
from rayopt.report.figure import save_figures

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("rayopt", "workloads", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
READERS_OF_PICKLES = {"pickle", "cPickle", "dill", "shelve", "marshal"}


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
        assert not imported & READERS_OF_PICKLES
    for name, call in calls(tree):
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert keywords.get("allow_pickle", "False") == "False"
        assert name.rpartition(".")[2] not in ("read_pickle", "unsafe_load", "full_load")
        assert name not in ("joblib.load", "eval", "exec")
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
