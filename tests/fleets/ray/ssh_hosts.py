"""Hosts for tests that are reached by SSH alone: each has a network, processes, a home and a /tmp of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from namespaces import NotAllowed, run

SSHD = "/usr/sbin/sshd"
# A home folder is what the list of users says: the list is covered rather than the home, where this Python may live.
# sshd wants a folder in /run, and writes down in /var/log who has logged in.
PREPARE = """
hostname {name}
mount --bind {folder}/passwd /etc/passwd
mount -t tmpfs tmpfs /run
mkdir /run/sshd
mount -t tmpfs tmpfs /var/log
touch /var/log/lastlog
mount --bind /tmp /mnt
mount -t tmpfs tmpfs /tmp
for path in {kept}; do mkdir -p $path; mount --bind /mnt${{path#/tmp}} $path; done
umount /mnt
exec {sshd} -D -e -f {folder}/sshd_config
"""
CONFIG = """
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {key}.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
{environment}
"""


class Host:
    """One host, with an SSH server.

    Args:
      name: what it calls itself.
      space: the name of its network namespace.
      address: its address in it.
      user: who logs in; it has all rights.
      key: the file of the key that opens it.
      folder: its files; ``home`` is among them.
    """

    def __init__(self, name: str, space: str, address: str, user: str, key: Path, folder: Path) -> None:
        self.name = name
        self.space = space
        self.address = address
        self.user = user
        self.key = key
        self.folder = folder
        self.home = folder / "home"

    @contextmanager
    def running(self, environment: Mapping[str, str], kept: Sequence[Path]) -> Iterator[None]:
        """Runs the SSH server until the end of the block; all other processes and mounts of the host end with it.

        They end as well when this process is killed.

        Args:
          environment: what whoever logs in finds in the environment.
          kept: folders that the host sees although they may be in /tmp.
        """
        self.home.mkdir(parents=True)
        (self.home / ".bashrc").touch()
        make_key(self.folder / "host_key")
        user = f"{self.user}:x:0:0::{self.home}:/bin/bash\n"
        (self.folder / "passwd").write_text(user + Path("/etc/passwd").read_text())
        words = " ".join(f"{key}={value}" for key, value in environment.items())
        config = CONFIG.format(
            address=self.address, folder=self.folder, key=self.key, environment=f"SetEnv {words}" if words else ""
        )
        (self.folder / "sshd_config").write_text(config)
        inside = [shlex.quote(str(path)) for path in kept if path.is_relative_to("/tmp")]
        script = PREPARE.format(name=self.name, folder=self.folder, kept=" ".join(inside), sshd=SSHD)
        with (self.folder / "sshd.log").open("w") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.space, "unshare", "--mount", "--uts",
                 "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-euc", script],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            self._wait_for_the_server()
            yield
        finally:
            self._process.kill()
            self._process.wait()

    def _wait_for_the_server(self) -> None:
        log = self.folder / "sshd.log"
        while "Server listening" not in log.read_text():
            try:
                self._process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
            raise NotAllowed(f"host {self.name}: {log.read_text().strip()}")

    def command(self, line: str) -> list[str]:
        """Returns the command that runs a line in a shell of the host, as its user after logging in."""
        options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        target = ["-o", "LogLevel=ERROR", "-i", str(self.key), f"{self.user}@{self.address}"]
        return ["ip", "netns", "exec", self.space, "ssh", *options, *target, f"bash -lc {shlex.quote(line)}"]

    def processes(self) -> dict[str, dict[str, str]]:
        """Returns the environment of each process of this host by its command line."""
        here = os.readlink(f"/proc/{self._process.pid}/ns/pid_for_children")
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "ns/pid") != here:
                    continue
                line = (folder / "cmdline").read_text().replace("\0", " ").strip()
                words = (folder / "environ").read_text().split("\0")
            except OSError:  # it has ended, or is not ours
                continue
            found[line] = dict(word.partition("=")[::2] for word in words if word)
        return found


def make_key(path: Path) -> None:
    """Makes a pair of SSH keys without a password."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rayopt-test", "-f", str(path))


def connect(spaces: Mapping[str, str], network: str) -> None:
    """Gives each namespace an address in one network, joined by a bridge in a namespace of its own."""
    run("ip", "-n", network, "link", "add", "bridge", "type", "bridge")
    run("ip", "-n", network, "link", "set", "bridge", "up")
    for number, (space, address) in enumerate(spaces.items()):
        port = f"port{number}"
        run("ip", "link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", network)
        run("ip", "-n", network, "link", "set", port, "master", "bridge", "up")
        run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            run("ip", "-n", space, "link", "set", link, "up")
        # It leads nowhere; but Ray finds a host's own address by the way to the Internet.
        run("ip", "-n", space, "route", "add", "default", "dev", "eth0")


@contextmanager
def ssh_hosts(
    addresses: Mapping[str, str], user: str, environment: Mapping[str, str], kept: Sequence[Path]
) -> Iterator[dict[str, Host]]:
    """Yields running hosts by name.

    Args:
      addresses: the address of each host by its name; they exist inside the hosts alone.
      user: who may log in on each.
      environment: what whoever logs in finds in the environment.
      kept: folders of this machine that the hosts see although they may be in /tmp.

    Raises:
      NotAllowed: this machine does not allow it, or lacks a program for it.
    """
    for program in (SSHD, "ssh", "rsync", "ip", "unshare", "setpriv"):
        if shutil.which(program) is None:
            raise NotAllowed(f"no {program}")
    folder = Path(tempfile.mkdtemp(prefix="ro"))
    network = f"ro{os.getpid()}"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        spaces = {f"{network}{name}": address for name, address in addresses.items()}
        for space in (network, *spaces):
            run("ip", "netns", "add", space)
            stack.callback(subprocess.run, ["ip", "netns", "del", space], capture_output=True)
        connect(spaces, network)
        make_key(folder / "key")
        hosts = {}
        for name, (space, address) in zip(addresses, spaces.items(), strict=True):
            hosts[name] = Host(name, space, address, user, folder / "key", folder / name)
            stack.enter_context(
                hosts[name].running(environment, [folder, Path(sys.prefix), Path(sys.base_prefix), *kept])
            )
        yield hosts
