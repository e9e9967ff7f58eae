"""Parts from elsewhere: a sample package that is built and installed, broken ones, and modules beside a workload."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml

import rayopt as ro
from rayopt.core.errors import InvalidInput
from rayopt.experiments import plugins
from rayopt.experiments.config import load_workload

SAMPLE = Path(__file__).parents[2] / "docs" / "how-to" / "sample-plugin"
WORKLOAD = {
    "problem": "bowl",
    "workers": {"count": 3, "compute": {"name": "coffee", "times": "i"}},
    "methods": [
        {"name": "patient_asgd", "step_size": 0.1, "patience": 3},
        {"name": "ef21", "step_size": 0.1, "compressor": "largest"},
    ],
    "until": {"time": 500},
    "callbacks": [{"name": "good_enough", "level": 0.01}],
}


@pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed: nothing builds it"
)
def test_the_sample_package_is_built_installed_and_used(tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(SAMPLE, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
         "--target", str(installed), str(source)], check=True,
    )  # fmt: skip
    file = tmp_path / "workload.yaml"
    file.write_text(yaml.safe_dump(WORKLOAD))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}

    def rayopt(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "rayopt", *arguments], env=env, capture_output=True, text=True,
                              cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout

    for command, name in (("methods", "patient_asgd"), ("problems", "bowl"), ("latencies", "coffee"),
                          ("compressors", "largest"), ("callbacks", "good_enough")):  # fmt: skip
        assert name in rayopt(command)
    assert "patience: 10" in rayopt("methods", "patient_asgd")
    assert "methods: patient_asgd of rayopt-sample 0.1.0" in rayopt("doctor", "--no-ray").replace("\n", " ")
    rayopt("run", str(file), "--out", "run", "-q")
    summary = ro.load(tmp_path / "run").summary
    assert [run["ended_by"] for run in summary["runs"]] == ["callback", "callback"]
    assert "GoodEnough: the value is below 0.01" in summary["problems"][0]


def entries(*told):
    """What importlib.metadata would find."""
    return lambda group: [
        importlib.metadata.EntryPoint(name, value, group) for name, value, own in told if own == group
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_package:Thing", "No module named 'no_such_package'"),
        ("rayopt:nothing", "has no attribute 'nothing'"),
        ("rayopt:run", "is not derived from Method"),
        ("rayopt.problems:Quadratic", "is not derived from Method"),
        ("rayopt.methods:Method", "has no name"),
    ],
)
def test_a_broken_plug_in_is_one_warning(value, said, monkeypatch, registries):
    plugins.load_plugins.cache_clear()
    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", entries(("broken", value, "rayopt.methods")))
    with pytest.warns(UserWarning, match=rf"the plug-in broken = {value} is left out: .*{said}") as warned:
        found = [plugins.load_plugins(), plugins.load_plugins()]
    assert found == [(), ()]
    assert len([warning for warning in warned if warning.category is UserWarning]) == 1


def test_no_plug_in_takes_the_name_of_a_part_of_rayopt(monkeypatch, registries, tmp_path):
    (tmp_path / "impostor.py").write_text(
        "from rayopt.methods import Rennala\nclass Impostor(Rennala):\n    name = 'rennala'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load_plugins.cache_clear()
    monkeypatch.setattr(plugins.importlib.metadata, "entry_points",
                        entries(("rennala", "impostor:Impostor", "rayopt.methods")))  # fmt: skip
    with pytest.warns(UserWarning, match=r"Impostor has the name 'rennala', which rayopt.methods.rennala has"):
        plugins.load_plugins()
    assert plugins.METHODS["rennala"] is ro.methods.Rennala


# ---- module: in a workload ----


@pytest.fixture
def beside(tmp_path, registries):
    """A workload with a module beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(SAMPLE / "rayopt_sample" / "__init__.py", folder / "own_parts.py")
    (folder / "workload.yaml").write_text(yaml.safe_dump({**WORKLOAD, "module": "own_parts.py"}))
    return folder / "workload.yaml"


@pytest.mark.parametrize("name", ["own_parts.py", "own_parts"])
def test_a_module_beside_the_workload_brings_its_parts(beside, name, tmp_path, monkeypatch):
    beside.write_text(yaml.safe_dump({**WORKLOAD, "module": name}))
    result = load_workload(beside).build().run(tmp_path / "run")
    assert result.summary["runs"][0]["ended_by"] == "callback"
    # The folder says where the module is, whatever the working folder.
    monkeypatch.chdir("/")
    again = load_workload(tmp_path / "run" / "config.yaml").build()
    assert again.modules == [str(beside.with_name("own_parts.py"))]
    assert type(again.methods[0]).__module__ == "own_parts"


def test_the_command_line_wants_to_be_told_that_it_is_trusted(beside, tmp_path):
    def rayopt(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rayopt", *arguments], capture_output=True, text=True, cwd=tmp_path
        )

    refused = rayopt("run", str(beside), "--out", "run", "-q")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "module: 'own_parts.py' names code, which would run; allowed: no module; --trust-code" in refused.stderr
    done = rayopt("run", str(beside), "--out", "run", "-q", "--trust-code")
    assert (done.returncode, done.stderr) == (0, "")
    refused = rayopt("replay", "run")
    assert (refused.returncode, "--trust-code" in refused.stderr) == (2, True)


def test_processes_of_a_tuning_find_the_module_too(beside, tmp_path):
    tree = yaml.safe_load(beside.read_text())
    tree["methods"] = [{"name": "patient_asgd", "step_size": [0.05, 0.1], "patience": {"grid": [2, 5]}}]
    tree["tune"] = {"seeds": [0], "confirm": [1]}
    beside.write_text(yaml.safe_dump(tree))
    done = subprocess.run([sys.executable, "-m", "rayopt", "tune", str(beside), "--processes", "2", "--out", "tuned",
                           "--trust-code", "-q"], capture_output=True, text=True, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    tuned = yaml.safe_load((tmp_path / "tuned" / "tuned.yaml").read_text())
    assert tuned["module"] == [str(beside.with_name("own_parts.py"))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "module: there is no file own_parts.py"),
        ("import nothing_like_it", r"cannot be imported \(ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("this is no Python", r"cannot be imported \(SyntaxError"),
        ("x = 1", "'own_parts.py' has no part; allowed: a module with classes derived from one of Method, Problem"),
        ("from rayopt.methods import Rennala\nclass Mine(Rennala):\n    pass", "Mine has the name 'rennala', which"),
    ],
)
def test_a_module_that_cannot_be_used_is_one_error(beside, text, said):
    module = beside.with_name("own_parts.py")
    module.unlink() if text is None else module.write_text(text)
    with pytest.raises(InvalidInput, match=said) as error:
        load_workload(beside)
    assert str(error.value).startswith(str(beside))


def test_a_module_of_the_same_name_elsewhere_is_not_taken_for_it(beside):
    module = beside.with_name("json.py")
    beside.with_name("own_parts.py").rename(module)
    beside.write_text(yaml.safe_dump({**WORKLOAD, "module": "json.py"}))
    with pytest.raises(InvalidInput, match=r"Python has another module 'json' already, .*json/__init__.py"):
        load_workload(beside)


def test_without_plug_ins_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(plugins.load_plugins(), tuple)
