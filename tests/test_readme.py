"""The README's Python runs as written, and the files that it names are there."""

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
    assert len(blocks("python")) == 1


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
    for name in re.findall(r"(?:workloads|docs)/(?:[\w-]+/)?[\w-]+\.\w+", README):
        assert (Path(__file__).parents[1] / name).is_file(), name
