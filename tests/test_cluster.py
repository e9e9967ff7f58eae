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
    assert Path(CLUSTER.parent / config["file_mounts"]["~/rayopt"]).resolve() == CLUSTER.parent


def test_a_wrong_cluster_file_would_be_noticed():
    import jsonschema
    import pytest

    config = yaml.safe_load(CLUSTER.read_text())
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**prepare_config(config), "workers": 3})
