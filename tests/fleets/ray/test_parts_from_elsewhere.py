"""Parts of a module that lies beside a workload travel to the actors, which have no such file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from rayopt.experiments.config import load_workload

pytestmark = pytest.mark.cluster
SAMPLE = Path(__file__).parents[3] / "docs" / "how-to" / "sample-plugin" / "rayopt_sample" / "__init__.py"


def test_method_problem_latency_and_compressor_travel(cluster, registries, tmp_path):
    shutil.copy(SAMPLE, tmp_path / "travelling_parts.py")
    file = tmp_path / "workload.yaml"
    file.write_text(yaml.safe_dump({
        "module": "travelling_parts.py",
        "problem": "bowl",
        "workers": {"count": 2, "compute": {"name": "coffee", "times": 1}, "upload": {"name": "coffee", "times": 0}},
        "fleet": {"name": "ray", "time_scale": 0.01},
        "methods": [{"name": "patient_asgd", "step_size": 0.1},
                    {"name": "qsgd", "step_size": 0.1, "compressor": "natural"},
                    {"name": "ef21", "step_size": 0.1, "compressor": "largest"}],
        "until": {"time": 60},
    }))  # fmt: skip
    result = load_workload(file).build().run(tmp_path / "run")
    assert [(run["ended_by"], run["problem"]) for run in result.summary["runs"]] == [("time", "")] * 3
    assert (result.table.updates > 3).all()
