"""Tests in two processes: those that start clusters are known."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import START_CLUSTERS

ROOT = Path(__file__).parents[1]
STARTS_A_CLUSTER = r'^ *import ray$|usefixtures\("cluster"|def test_\w+\([^)]*\bcluster\b'


def test_all_that_use_ray_or_its_fixture_are_listed():
    found = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")
             if re.search(STARTS_A_CLUSTER, path.read_text(), re.MULTILINE)]  # fmt: skip
    assert len(found) > 10
    assert [name for name in found if not name.startswith(START_CLUSTERS)] == []
