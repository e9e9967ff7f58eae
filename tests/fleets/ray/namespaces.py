"""Two hosts for tests: network namespaces joined by a slow link, a node of Ray in each."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PORT = 6379
RAY = Path(sys.executable).with_name("ray")


class NotAllowed(Exception):
    """The machine lets nobody make such hosts; the text says what failed."""


class Hosts:
    """A head and a far host.

    Args:
      name: what the namespaces' names begin with.
      subnet: the first three numbers of their addresses, which exist inside the namespaces alone.
    """

    def __init__(self, name: str, subnet: str) -> None:
        self.names = (f"{name}a", f"{name}b")
        self.addresses = (f"{subnet}.1", f"{subnet}.2")
        self.folder = tempfile.mkdtemp(prefix="ro")
        self.environment = {**os.environ, "RAY_TMPDIR": self.folder, "RAY_AUTH_MODE": "token"}
        self.environment["RAY_ADDRESS"] = f"{self.addresses[0]}:{PORT}"

    def command(self, host: int, arguments: Sequence[object]) -> list[str]:
        """Returns the command that runs on a host, 0 the head."""
        return ["ip", "netns", "exec", self.names[host], *map(str, arguments)]

    def connect(self, rate: str, delay: str) -> str:
        """Makes the namespaces and the link; returns how the link is slowed."""
        first, second = self.names
        for name in self.names:
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "near", "netns", first, "type", "veth", "peer", "name", "far", "netns", second)
        how = ""
        for name, device, address in zip(self.names, ("near", "far"), self.addresses, strict=True):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
            for link in ("lo", device):
                run("ip", "-n", name, "link", "set", link, "up")
            how = slow_down(name, device, rate, delay)
        return how

    def close(self) -> None:
        """Removes the namespaces, and the link with them."""
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def node(self, host: int, *arguments: str) -> Iterator[None]:
        """Runs a node of Ray on a host until the end of the block."""
        where = ["--head", f"--port={PORT}"] if host == 0 else [f"--address={self.environment['RAY_ADDRESS']}"]
        command = self.command(host, [RAY, "start", "--block", "--disable-usage-stats", *where, "--num-cpus=1",
                                      f"--node-ip-address={self.addresses[host]}", *arguments])  # fmt: skip
        environment = {key: value for key, value in self.environment.items() if key != "RAY_ADDRESS"}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as started:
            said = []
            assert started.stdout is not None
            for line in started.stdout:
                said.append(line)
                if "Ray runtime started" in line:
                    break
            else:
                raise AssertionError("".join(said))
            try:
                yield
            finally:
                started.terminate()
                started.wait(timeout=60)


def run(*command: str) -> None:
    """Runs a command that changes the network; raises NotAllowed if it may not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise NotAllowed(f"{command[0]}: {error}") from None
    if done.returncode:
        raise NotAllowed(f"{' '.join(command)}: {done.stderr.strip()}")


def slow_down(name: str, device: str, rate: str, delay: str) -> str:
    """Slows what leaves a device: rate and delay where the kernel has netem, else the rate alone."""
    add = ("tc", "-n", name, "qdisc", "add", "dev", device, "root")
    try:
        run(*add, "netem", "delay", delay, "rate", rate)
    except NotAllowed:
        run(*add, "tbf", "rate", rate, "burst", "256kb", "latency", "100ms")
        return f"tbf, {rate}"
    return f"netem, {rate} and {delay}"


@contextmanager
def two_hosts(rate: str = "400mbit", delay: str = "5ms") -> Iterator[tuple[Hosts, str]]:
    """Yields the hosts, a node of Ray on each (labels ``speed=near`` and ``speed=far``), and how slow the link is.

    Raises:
      NotAllowed: this machine does not allow it.
    """
    number = secrets.randbelow(200)
    hosts = Hosts(f"ro{os.getpid()}", f"10.213.{number}")
    with ExitStack() as stack:
        stack.callback(hosts.close)
        how = hosts.connect(rate, delay)
        stack.enter_context(
            hosts.node(0, "--labels=speed=near", "--include-dashboard=false", "--ray-client-server-port=25001")
        )
        stack.enter_context(hosts.node(1, "--labels=speed=far"))
        yield hosts, how
