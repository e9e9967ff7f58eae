"""The README's Python runs as written, and its workload file is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from rayopt.experiments.config import load_workload

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs_as_written(block, capsys):
    exec(block, {"__name__": "readme"})
    assert capsys.readouterr().out


def test_there_is_something_to_run():
    assert len(blocks("python")) == 2
    assert len(blocks("yaml")) == 2


def test_workload_file_is_one(tmp_path):
    path = tmp_path / "readme.yaml"
    path.write_text(blocks("yaml")[0])
    experiment = load_workload(path, ["problem.data=digits"]).build()
    assert [run.label for run in experiment.runs()][:2] == ["Rennala", "Ringmaster R=16"]


def test_the_network_runs_and_fragile_is_ahead(tmp_path):
    path = tmp_path / "network.yaml"
    path.write_text(blocks("yaml")[1])
    result = load_workload(path).build().run()
    gaps = result.table.set_index("label").gap
    assert gaps["Fragile"] < 0.5 * gaps["DecentralizedMinibatch"]


@pytest.mark.parametrize(
    "workload", sorted((Path(__file__).parents[1] / "workloads").glob("*.yaml")), ids=lambda p: p.name
)
def test_workloads_load_and_their_config_loads_again(workload, tmp_path):
    on_mnist = "data: mnist" in workload.read_text()
    experiment = load_workload(workload, ["problem.data=digits"] if on_mnist else []).build()
    again = tmp_path / "config.yaml"
    again.write_text(yaml.safe_dump(experiment.to_config()))
    assert load_workload(again).build().to_config() == experiment.to_config()


def test_commands_name_files_that_exist():
    for name in re.findall(r"(?:workloads|docs)/(?:\w+/)?\w+\.\w+|cluster\.yaml", README):
        assert (Path(__file__).parents[1] / name).is_file(), name
