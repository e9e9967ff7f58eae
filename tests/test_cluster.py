"""cluster.yaml is what Ray's own schema asks for."""

from __future__ import annotations

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CLUSTER = Path(__file__).parents[1] / "cluster.yaml"


def test_cluster_file_fits_the_schema_of_ray():
    config = yaml.safe_load(CLUSTER.read_text())
    validate_config(prepare_config(config))
    assert config["provider"]["worker_ips"]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert Path(CLUSTER.parent / config["file_mounts"]["~/rayopt"]).resolve() == CLUSTER.parent


def test_every_node_asks_for_the_token_and_the_dashboard_stays_on_loopback():
    config = yaml.safe_load(CLUSTER.read_text())
    for place in ("head", "worker"):
        starts = [command for command in config[f"{place}_start_ray_commands"] if "ray start" in command]
        assert len(starts) == 1
        assert starts[0].startswith("export RAY_AUTH_MODE=token")
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


def test_a_wrong_cluster_file_would_be_noticed():
    import jsonschema
    import pytest

    config = yaml.safe_load(CLUSTER.read_text())
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**prepare_config(config), "workers": 3})
