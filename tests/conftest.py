"""What many tests share: small experiments, and traces that read like the specification's."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import sys
import tempfile
import zlib

# Small products: more threads of BLAS only wait for each other. It must be known before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Every cluster of the tests, also one of `ray start`, asks for a token, and none is written into the home folder.
os.environ.setdefault("RAY_AUTH_MODE", "token")
if "RAY_AUTH_TOKEN_PATH" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="rayopt-token-")
    os.environ["RAY_AUTH_TOKEN_PATH"] = os.path.join(_folder.name, "token")
    with open(os.environ["RAY_AUTH_TOKEN_PATH"], "w") as _file:
        _file.write(secrets.token_hex(32))
# Every process has clusters of its own, in a folder of its own: Ray would take the cluster of another process for its
# own, or one that runs on this machine already, or look for one that was killed. Sockets need a short path.
# Commands that tests call in this process stay in it, but for those that say otherwise.
os.environ.setdefault("RAYOPT_ON", "here")
# Processes that Ray starts before anybody has work for them cost a test's cluster a second.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ro")
if "RAY_ADDRESS" in os.environ:
    del os.environ["RAY_ADDRESS"]

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import yaml

import rayopt as ro
from rayopt.experiments import plugins
from rayopt.fleets.base import Job
from rayopt.methods import Method
from rayopt.problems import Free, Problem
from rayopt.runs.outcome import Outcome
from rayopt.runs.record import Record
from rayopt.storage.trace.rows import OUTCOMES
from rayopt.testing import workers_for

# Doctests are looked for in every module; conftest is the name of several, and without PyTorch one cannot be imported.
collect_ignore_glob = ["*conftest.py"]
collect_ignore = [] if importlib.util.find_spec("torch") else ["problems/torch_modules.py"]
# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile("rayopt")
hypothesis.settings.load_profile("rayopt")

THREE = (1.0, 2.3, 3.7)
START_CLUSTERS = (
    "tests/fleets/ray/", "tests/fleets/shared_memory/", "tests/fleets/simulated/parallel/test_ahead.py",
    "tests/experiments/profiling/", "tests/cli/test_profile.py", "tests/fleets/conftest.py",
)  # fmt: skip
"""Folders and files of tests that start Ray clusters; they have the mark ``cluster``."""
LANES = [
    tuple(f"tests/fleets/{name}.py" for name in names)
    for names in (
        ("ray/test_ray_up", "ray/test_two_hosts", "ray/test_restarts", "ray/test_node_loss"),
        ("ray/test_signals", "simulated/parallel/test_ahead", "ray/test_replay_on_ray", "ray/test_resume_on_ray",
         "ray/test_nodes", "ray/test_spread_on_ray"),
    )
]  # fmt: skip
"""Two thirds of them by time; all others are the third. Those that make hosts, which have fixed names, are in one."""
LONG = ("tests/test_documents.py", "tests/test_papers.py")
"""Modules of long tests that have nothing in common: each is given to a process by itself."""
SMALL_WORKLOAD = {
    "problem": {"name": "quadratic", "dimension": 12},
    "workers": {"count": 4, "compute": "sqrt(i)"},
    "methods": [
        {"name": "rennala", "step_size": [0.5, 0.25], "batch_size": 3},
        {"name": "ringmaster", "step_size": 0.1, "threshold": 4, "label": "Ring"},
    ],
    "until": {"time": 20},
    "seeds": [0, 1],
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``-n 3``, gives each module to one process; those that start clusters share all three."""
    from xdist.scheduler import LoadScopeScheduling

    class ModuleByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if path.startswith(LONG):
                return nodeid
            if not path.startswith(START_CLUSTERS):
                return path
            return f"clusters {lane_of(path)}"

    config.option.loadscopereorder = False
    return ModuleByModule(config, log)


def one_transport_each(items: list[pytest.Item]) -> set[str]:
    """Returns tests of one transport of Ray whose twin of the other one runs: which of the two is a matter of chance.

    A start of an actor takes a second of a processor. With ``RAYOPT_BOTH_TRANSPORTS=1`` all of them run.
    """
    names = {item.nodeid for item in items}
    left_out = set()
    for name in names:
        twin = name.replace("direct", "packed")
        if twin != name and twin in names:
            left_out.add(name if zlib.crc32(twin.encode()) % 2 else twin)
    return left_out


def lane_of(path: str) -> int:
    """Returns which tests that start clusters run in one process, one after the other."""
    return next((number for number, lane in enumerate(LANES) if path in lane), len(LANES))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks what starts a cluster, and runs it first: it waits more than it computes."""
    if "RAYOPT_BOTH_TRANSPORTS" not in os.environ:
        left_out = one_transport_each(items)
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
        items[:] = [item for item in items if item.nodeid not in left_out]
    for item in items:
        if item.nodeid.startswith(START_CLUSTERS):
            item.add_marker("cluster")

    def rank(item: pytest.Item) -> int:
        path = item.nodeid.partition("::")[0]
        if path.startswith(START_CLUSTERS):
            return lane_of(path)
        # What takes long comes before what is short, so that no process is left with it at the end.
        return len(LANES) + (1 if path.startswith(LONG) else 2)

    items.sort(key=rank)


def pytest_unconfigure() -> None:
    """Removes the folder of this process's clusters."""
    shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


class Ran:
    """One run with its trace in memory."""

    def __init__(self, method: Method, outcome: Outcome, rows: np.ndarray) -> None:
        self.method = method
        self.outcome = outcome
        self.rows = rows

    @property
    def events(self) -> list[tuple[Any, ...]]:
        """(time, worker from 1, delay, outcome, updates) of every row."""
        return [
            (round(float(row["time"]), 9), int(row["worker"]) + 1, int(row["delay"]), OUTCOMES[row["outcome"]],
             int(row["updates"]))
            for row in self.rows
        ]  # fmt: skip

    def of(self, *outcomes: str) -> list[tuple[Any, ...]]:
        """(time, worker from 1, delay) of the rows with one of these outcomes."""
        return [event[:3] for event in self.events if event[3] in outcomes]

    def update_times(self) -> list[float]:
        """Times at which k grew."""
        before, found = 0, []
        for time, _, _, _, updates in self.events:
            if updates > before:
                found.append(time)
            before = updates
        return found


@pytest.fixture
def simulate() -> Callable[..., Ran]:
    """Runs one method in virtual time."""

    def run(
        method: Method,
        problem: Problem | None = None,
        times: Any = THREE,
        until: ro.Until | None = None,
        seed: int = 0,
        n: int | None = None,
        trace: str | bool = "all",
        **latencies: Any,
    ) -> Ran:
        problem = problem or Free(2)
        until = until or ro.Until(time=12)
        compute = list(times) if isinstance(times, tuple) else times
        workers = workers_for(method, n or len(times), compute, **latencies)
        chunks: list[np.ndarray] = []
        record = Record(trace=trace).resolve(problem.metric_names, until)
        with ro.SimulatedFleet().open(problem, workers) as session:
            outcome = session.run(
                Job(method, seed, until, record), lambda rows: chunks.append(rows.copy()), lambda progress: None
            )
        return Ran(method, outcome, np.concatenate(chunks) if chunks else np.zeros(0))

    return run


@pytest.fixture
def workload_file(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that writes the small workload with other top-level keys (None leaves one out)."""

    def write(**changes: Any) -> Path:
        tree = {key: value for key, value in {**SMALL_WORKLOAD, **changes}.items() if value is not None}
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The parts that are known by name are as before after the test; so is where Python looks."""
    before = {group: dict(kind.registry) for group, kind in plugins.KINDS.items()}
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    yield
    for group, kind in plugins.KINDS.items():
        kind.registry.clear()
        kind.registry.update(before[group])
    # Of the modules that are new, those that a test has written.
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(tmp_path):
            del sys.modules[name]
    plugins.load_plugins.cache_clear()
