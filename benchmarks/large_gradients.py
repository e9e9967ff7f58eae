"""Ray with gradients of 8 MB, the bytes that cross between two hosts, and the start of a second method."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

import rayopt as ro
from benchmarks.measure import REPEATS, Row, interleaved, seconds
from benchmarks.real_time import AT_ONCE, BareServer
from rayopt.fleets.base import Job
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.fleet import RaySession
from rayopt.problems import Problem, Quadratic
from rayopt.runs.record import Record

MILLION = 1_000_000
TWO_HOSTS = Path(__file__).parents[1] / "tests" / "fleets" / "ray"


def rows() -> Iterator[Row]:
    """Yields the rows of large gradients and of starts."""
    connect(None)
    try:
        yield used_per_second()
        yield second_method()
    finally:
        ray.shutdown()
    yield between_two_hosts()


def used_per_second(duration: float = 5.0) -> Row:
    """Four actors with gradients of 8 MB, beside a bare loop that fetches every one."""
    problem = Quadratic(MILLION)
    with RaySession(ro.RayFleet(), problem, ro.Workers(4, AT_ONCE)) as session:
        bare = BareServer.remote()

        def ours() -> float:
            outcome = _run(session, ro.methods.Ringmaster(0.1, threshold=4), problem, ro.Until(time=duration))
            return outcome.counts.used / outcome.time

        def floor() -> float:
            return ray.get(bare.run.remote(session.actors, problem.start_point(), duration))

        ours()
        measured, bare_rate = interleaved(ours, floor)
        ray.kill(bare)
    return Row("Ray, 4 actors, Ringmaster, gradients of 8 MB", f"{measured:.0f} used/s", "at least 45 used/s",
               measured >= 45, f"bare drained ray.wait {bare_rate:.0f}")  # fmt: skip


def second_method() -> Row:
    """From the call to the first arrival of a method, on a fleet of 32 that has just run another one."""
    problem = Quadratic(100)
    first = ro.Until(arrivals=1)
    with RaySession(ro.RayFleet(), problem, ro.Workers(32, 0.001)) as session:
        _run(session, ro.methods.Minibatch(0.1), problem, ro.Until(updates=3))
        found = statistics.median(
            seconds(lambda: _run(session, ro.methods.ASGD(0.1), problem, first)) for _ in range(REPEATS)
        )
    return Row("Ray, second method on a running fleet of 32, to its first arrival and its end", f"{found:.3f} s",
               "under 0.2 s", found < 0.2, "a task of 0.001 s")  # fmt: skip


def between_two_hosts() -> Row:
    """Bytes that the server's host receives while Ringmaster ignores what the other host computes."""
    path = "Ray, two hosts, 8 MB gradients of the far one ignored"
    sys.path.append(str(TWO_HOSTS))
    from namespaces import NotAllowed, two_hosts

    try:
        with two_hosts() as (hosts, how):
            ignored = over_the_link(hosts, "ringmaster", 60)
            used = over_the_link(hosts, "asgd", 30)
    except NotAllowed as error:
        return Row(path, f"not measured: {error}", "network namespaces", False)
    count, each = ignored["far"]["ignored"], used["bytes"] / used["far"]["used"]
    return Row(path, f"{ignored['bytes'] / 1e6:.2f} MB for {count} ignored ({how})", "less than one gradient",
               ignored["bytes"] < 8 * MILLION, f"ASGD uses them: {each / 1e6:.2f} MB each")  # fmt: skip


def _run(session: RaySession, method: ro.methods.Method, problem: Problem, until: ro.Until) -> Any:
    record = Record(metrics=(), trace="all").resolve(problem.metric_names, until)
    return session.run(Job(method, 0, until, record), lambda rows: None, lambda progress: None)


def over_the_link(hosts: Any, method: str, arrivals: int, far: int = 0) -> dict[str, Any]:
    """Returns what a run on two hosts has brought over the link (see ``tests/fleets/ray/far_worker.py``)."""
    command = hosts.command(0, [sys.executable, TWO_HOSTS / "far_worker.py", method, MILLION, arrivals, far])
    done = subprocess.run(command, env=hosts.environment, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])
