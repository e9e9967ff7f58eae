"""Two hosts joined by a slow link: shards, points and gradients travel, ignored gradients do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from namespaces import NotAllowed, two_hosts

PROGRAM = Path(__file__).with_name("far_worker.py")
DIMENSION = 1_000_000
GRADIENT = 8 * DIMENSION
pytestmark = pytest.mark.timeout(280)


@pytest.fixture(scope="module")
def hosts():
    try:
        with two_hosts() as (found, how):
            print(f"link: {how}")
            yield found
    except NotAllowed as error:
        pytest.skip(f"no network namespaces on this machine: {error}")


def ran(hosts, method, arrivals):
    command = hosts.command(0, [sys.executable, PROGRAM, method, DIMENSION, arrivals])
    done = subprocess.run(command, env=hosts.environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_an_ignored_gradient_does_not_cross_the_link(hosts):
    found = ran(hosts, "ringmaster", 30)
    assert found["far"]["ignored"] >= 3
    assert found["far"].get("used", 0) == 0
    # Much less than a single gradient: what Ray itself has to say.
    assert found["bytes"] < GRADIENT / 4


def test_a_gradient_that_is_used_does(hosts):
    found = ran(hosts, "asgd", 20)
    used = found["far"]["used"]
    assert used >= 2
    assert found["bytes"] > used * GRADIENT
