"""``ray up``, ``ray submit`` and ``ray down`` with cluster.yaml over real SSH, each host a set of namespaces."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from namespaces import NotAllowed
from ssh_hosts import ssh_hosts

from rayopt.problems.data.mnist import SUBSET

ROOT = Path(__file__).parents[3]
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
HEAD, *WORKERS = "head", *(f"worker{number}" for number, _ in enumerate(CLUSTER["provider"]["worker_ips"], 1))
# What the hosts cannot do, as they have neither the Internet nor a firewall, and what stands for it.
REPLACED = {
    "python3 -m venv ~/rayopt-venv": f"ln -sfn {sys.prefix} ~/rayopt-venv",
    "~/rayopt-venv/bin/pip install ~/rayopt": "echo 'export PYTHONPATH=~/rayopt' >> ~/.bashrc",
    "sudo ufw allow OpenSSH": "true",
    "sudo ufw allow from 192.0.2.0/24": "true",
    "sudo ufw --force enable": "true",
}
# Workers come and go sooner than after Ray's 5 and 60 seconds, and MNIST is not looked for in the Internet.
ENVIRONMENT = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "4",
    "RAYOPT_DATA": str(SUBSET),
}
# A minute long they try to tell the head, which is gone, that theirs has ended; then they end too.
LAST_TO_GO = {"ray::DashboardAgent", "ray::RuntimeEnvAgent"}
pytestmark = pytest.mark.timeout(280)


def for_these_hosts(config):
    """The configuration with nothing changed but what the hosts cannot do."""
    commands = config["setup_commands"]
    # A command of the file that is not found here would be run as it is: it would reach for the Internet.
    assert set(REPLACED) < set(commands)
    return {**config, "setup_commands": [REPLACED.get(command, command) for command in commands]}


def of_ray(host):
    """The environment of each process of Ray on a host by its command line."""
    processes = host.processes().items()
    return {line: found for line, found in processes if "/ray/" in line or "ray::" in line or "ray start" in line}


class Laptop:
    """Where the commands of the README are typed: a host with the checkout, a key and a token."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.host = hosts["laptop"]
        key = self.host.home / CLUSTER["auth"]["ssh_private_key"].removeprefix("~/")
        key.parent.mkdir()
        shutil.copy(self.host.key, key)
        (self.host.home / "rayopt").symlink_to(ROOT)
        (self.host.home / "cluster.yaml").write_text(yaml.safe_dump(for_these_hosts(CLUSTER)))
        self("export RAY_AUTH_MODE=token; ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token")

    def __call__(self, line, on="laptop", fails=False):
        """What a command printed, without colours."""
        line = f"export PATH={sys.prefix}/bin:$PATH; cd ~/rayopt; {line}"
        done = subprocess.run(
            self.hosts[on].command(line), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=200,
        )  # fmt: skip
        printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout)
        assert (done.returncode != 0) == fails, printed
        return printed


@pytest.fixture(scope="module")
def laptop():
    """A laptop from which ``ray up`` has started the cluster of cluster.yaml."""
    provider = CLUSTER["provider"]
    addresses = {"laptop": "192.0.2.1", HEAD: provider["head_ip"]}
    addresses |= dict(zip(WORKERS, provider["worker_ips"], strict=True))
    try:
        with ssh_hosts(addresses, CLUSTER["auth"]["ssh_user"], ENVIRONMENT, [ROOT]) as hosts:
            laptop = Laptop(hosts)
            printed = laptop("ray up -y ~/cluster.yaml")
            assert "up-to-date" in printed
            give_up = time.monotonic() + 90
            # `ray up` is done when the head runs: the head starts the workers.
            while not re.search(r"Active:\s+3 local", printed := laptop("ray exec ~/cluster.yaml 'ray status'")):
                assert time.monotonic() < give_up, printed
                time.sleep(0.5)
            yield laptop
    except NotAllowed as error:
        pytest.skip(f"no hosts with SSH on this machine: {error}")


@pytest.mark.parametrize("name", [HEAD, *WORKERS])
def test_every_host_has_the_code_and_the_token(laptop, name):
    home = laptop.hosts[name].home
    assert (home / "rayopt/rayopt/__init__.py").read_text() == (ROOT / "rayopt/__init__.py").read_text()
    assert not (home / "rayopt/.git").exists()
    token = home / ".ray/auth_token"
    assert token.read_text() == (laptop.host.home / ".ray/auth_token").read_text()
    assert token.stat().st_mode & 0o777 == 0o600


def test_submit_runs_the_workload_unchanged_on_all_hosts(laptop):
    printed = laptop("ray submit ~/cluster.yaml workloads/mnist_logreg.py --workers 6 --time 1")
    assert "MNIST, 12,000 training and 2,000 test images" in printed
    for label in ("Minibatch", "MSync", "Rennala", "Ringmaster"):
        # Its row of the table: step size, updates, used, ignored, cancelled, time to target, loss, accuracy.
        assert re.search(
            rf"^{label} +0\.\d+ +[1-9][\d,]* +[1-9][\d,]*( +(never|[\d.,]+)){{5}}\s*$", printed, re.MULTILINE
        ), printed
    folder = laptop.hosts[HEAD].home / "runs/mnist_logreg"
    assert {"config.yaml", "history.parquet", "trace.parquet", "value.png"} <= {path.name for path in folder.iterdir()}
    for name in (HEAD, *WORKERS):
        assert ":actor_name:Worker" in laptop("grep -rh actor_name /tmp/ray/session_latest/logs", on=name)


def test_every_host_asks_for_the_token(laptop):
    for name in (HEAD, *WORKERS):
        daemons = {line: found for line, found in of_ray(laptop.hosts[name]).items() if "/core/src/ray/" in line}
        assert len(daemons) == (2 if name == HEAD else 1)  # the control service and the node's own daemon
        assert all(found["RAY_AUTH_MODE"] == "token" for found in daemons.values())
    status = f"ray status --address={CLUSTER['provider']['head_ip']}:6379"
    for wrong in ("RAY_AUTH_MODE=disabled", "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=0123"):
        assert "InvalidAuthToken" in laptop(f"{wrong} {status}", fails=True)
    assert "Active" in laptop(f"RAY_AUTH_MODE=token {status}")


def test_the_dashboard_is_on_loopback_alone(laptop):
    listening = [line.split()[3] for line in laptop("ss -Hltn", on=HEAD).splitlines()]
    assert [address for address in listening if address.endswith(":8265")] == ["127.0.0.1:8265"]


def test_down_leaves_no_process(laptop):
    assert of_ray(laptop.hosts[WORKERS[0]])
    laptop("ray down -y ~/cluster.yaml")
    assert not of_ray(laptop.hosts[HEAD])
    give_up = time.monotonic() + 60
    for name in WORKERS:
        while set(left := of_ray(laptop.hosts[name])) - LAST_TO_GO:
            assert time.monotonic() < give_up, left
            time.sleep(0.2)
