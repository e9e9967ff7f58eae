"""Measures a fleet: the seconds of gradients on every worker, and of payloads on every way."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rayopt.core.errors import InvalidInput, RayoptError, ServerLost, at_least, one_of, positive
from rayopt.core.tasks import Gradient
from rayopt.fleets.base import FleetKind
from rayopt.latency import zero
from rayopt.latency.base import Array, read_only
from rayopt.latency.durations_file import UNITS, Durations
from rayopt.latency.workers import Workers
from rayopt.problems.base import Problem

if TYPE_CHECKING:
    from rayopt.fleets.ray.fleet import RayFleet

PAYLOADS = (1_000, 100_000, 1_000_000)
"""Bytes that are sent besides a gradient of the problem's own size."""
SECONDS_PER_CALL = 0.25
"""Gradients of one call take about so long, so that calls weigh little and progress shows."""

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """What to measure, and how often.

    Args:
      repetitions: gradients of each worker.
      warm_up: gradients of each worker before them, which are not counted.
      transfers: how often each payload is sent each way.
      payloads: bytes to send besides a point of the problem's own size.
      at_most: real seconds after which no further gradients are measured.

    Raises:
      InvalidInput: an argument that is not allowed.
    """

    repetitions: int = 200
    warm_up: int = 3
    transfers: int = 20
    payloads: Sequence[int] = PAYLOADS
    at_most: float = 120.0

    def __post_init__(self) -> None:
        for name, least in (("repetitions", 1), ("warm_up", 1), ("transfers", 1)):
            at_least(name, getattr(self, name), least)
        for size in self.payloads:
            at_least("payloads", size, 1)
        positive("at_most", self.at_most)


def profile(
    problem: Problem,
    workers: Workers,
    fleet: RayFleet | None = None,
    plan: Plan | None = None,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Durations:
    """Measures the workers of a fleet and returns what they took.

    First payloads go to each worker and back while it is idle; then all workers compute gradients at the same
    time, as they do in training, and the fast ones go on until the last has enough. With ``compute: measured``
    these are the real times of the machines; with any other latency they are its emulation. Emulated links are
    left out.

    Args:
      problem: whose gradients are computed, each worker's on its own shard.
      workers: how many, and how fast.
      fleet: :class:`RayFleet` with one worker per actor; by default a local one.
      plan: what to measure, and how often.
      seed: of the split of the data and of the samples.
      on_progress: called with what is measured, the number done and the total.

    Returns:
      The durations: ``found.of("compute")`` has the fleet seconds of every worker, ``found.of("upload", bytes)`` and
      ``found.of("download", bytes)`` those of payloads;
      ``rayopt.experiments.profiling.save.save(found, path)`` writes them.

    Raises:
      InvalidInput: a fleet without times, packed workers, a worker that finished no gradient in ``plan.at_most``.
      WorkerFailed: a gradient raised an error.
      WorkerLost: a worker's process died.
      ServerLost: the server's process died.
    """
    from rayopt.fleets.ray.connection import connect
    from rayopt.fleets.ray.fleet import RayFleet, RaySession

    fleet = RayFleet() if fleet is None else fleet
    plan = plan or Plan()
    workers = fleet.emulated(workers)
    check_fleet(fleet, workers)
    alone = Workers(workers.count, workers.compute, zero(), zero())
    report = on_progress or (lambda stage, done, total: None)
    own = problem.dimension * np.dtype(np.float64).itemsize
    # Not the fleet's choice: what is measured are workers of a server.
    with RaySession(fleet, problem, alone, owns_connection=connect(fleet.address)) as session:
        server, actors = session.loaded(seed)
        links = _time_links(server, actors, sorted({own, *plan.payloads}), plan, report)
        processors = _processors(actors)
        compute = _Gradients(actors, problem.start_point(), plan, report, fleet.time_scale).run()
    found = {("compute", 0): compute}
    for worker, of_worker in enumerate(links):
        for key, seconds in of_worker.items():
            found.setdefault(key, {})[worker] = read_only(np.array(seconds) / fleet.time_scale)
    return Durations("", found, _header(problem, alone, fleet, own, processors))


def check_fleet(fleet: FleetKind, workers: Workers) -> None:
    """Raises InvalidInput for a fleet whose workers cannot be measured one by one."""
    one_of("fleet", fleet.name, ("ray",))
    packed = getattr(fleet, "workers_per_actor", 1)
    if packed != 1:
        raise InvalidInput("fleet.workers_per_actor", f"{packed} workers share a process", "1, to measure each of them")
    fleet.check_workers(workers)


def _time_links(server: Any, actors: Sequence[Any], sizes: list[int], plan: Plan, report: OnProgress) -> list[Any]:
    """Returns the seconds of the payloads of each worker, one worker after the other."""
    found = []
    for worker, actor in enumerate(actors):
        report("transfers", worker, len(actors))
        found.append(_answer(worker, server.time_links.remote(actor, sizes, plan.transfers), from_server=True))
    report("transfers", len(actors), len(actors))
    return found


class _Gradients:
    """Gradients of all workers at the same time.

    Args:
      actors: the workers.
      x: the point.
      plan: how many.
      report: called with the number done and the total.
      time_scale: real seconds per fleet second.
    """

    def __init__(self, actors: Sequence[Any], x: Array, plan: Plan, report: OnProgress, time_scale: float) -> None:
        self._actors = actors
        self._task = Gradient(x, 0)
        self._plan = plan
        self._report = report
        self._time_scale = time_scale
        self._found: list[list[float]] = [[] for _ in actors]
        self._given = [0] * len(actors)
        self._pending: dict[Any, int] = {}

    def run(self) -> dict[int, Array]:
        """Returns the fleet seconds of each worker's gradients."""
        import ray

        self._began_at = time.monotonic()
        warming_up = {self._call(worker, self._plan.warm_up): worker for worker in range(len(self._actors))}
        per_call = [1] * len(self._actors)
        self._pending = dict(warming_up)
        while self._pending and self._wanted() and (left := self._time_left()) > 0:
            ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=left)
            for reference in ready:
                worker = self._pending.pop(reference)
                seconds = _answer(worker, reference)
                if reference in warming_up:
                    fastest = max(min(seconds) * self._time_scale, 1e-6)
                    per_call[worker] = int(min(max(SECONDS_PER_CALL / fastest, 1), self._plan.repetitions))
                    self._given[worker] = 0
                else:
                    self._found[worker] += seconds[: self._plan.repetitions - len(self._found[worker])]
                self._pending[self._call(worker, per_call[worker])] = worker
            self._report("gradients", sum(map(len, self._found)), self._plan.repetitions * len(self._actors))
        for worker, seconds in enumerate(self._found):
            if not seconds:
                raise InvalidInput(
                    "at_most", f"worker {worker} finished no gradient in {self._plan.at_most:g} s",
                    "more seconds, or workers whose gradients end",
                )  # fmt: skip
        return {worker: read_only(np.array(seconds)) for worker, seconds in enumerate(self._found)}

    def _call(self, worker: int, count: int) -> Any:
        from rayopt.fleets.ray.messages import Order

        now = (time.monotonic() - self._began_at) / self._time_scale
        first = self._given[worker]
        self._given[worker] += count
        orders = [Order(worker, 0, number, self._task, now, 0.0) for number in range(first, first + count)]
        return self._actors[worker].time_gradients.remote(orders)

    def _wanted(self) -> bool:
        return any(len(seconds) < self._plan.repetitions for seconds in self._found)

    def _time_left(self) -> float:
        return self._plan.at_most - (time.monotonic() - self._began_at)


def _answer(worker: int, reference: Any, from_server: bool = False) -> Any:
    """Returns what a call about a worker has answered.

    Args:
      worker: the worker's number.
      reference: of the call.
      from_server: whether it is the server that was asked, which asks the worker.

    Raises:
      WorkerLost: the worker's process died.
      WorkerFailed: a gradient raised an error.
      ServerLost: the server's process died.
    """
    import ray

    from rayopt.fleets.ray.failures import NotLoaded, WorkerLost, is_loss

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, RayoptError):
            raise cause from None
        if isinstance(cause, NotLoaded):
            raise WorkerLost(f"the process of worker {worker} died while it was measured") from error
        within = cause if isinstance(cause, ray.exceptions.RayError) else None
        if not is_loss(within or error):
            raise
        if from_server and within is None:
            raise ServerLost(f"the process of the server died: {error}") from error
        raise WorkerLost(f"the process of worker {worker} died: {within or error}") from error


def _processors(actors: Sequence[Any]) -> dict[str, list[int]]:
    """Returns which workers run on which kind of processor."""
    found: dict[str, list[int]] = {}
    for worker, reference in enumerate([actor.processor.remote() for actor in actors]):
        found.setdefault(_answer(worker, reference), []).append(worker)
    return found


def _header(
    problem: Problem, workers: Workers, fleet: RayFleet, own: int, processors: dict[str, list[int]]
) -> dict[str, str]:
    import ray

    from rayopt.core.version import __version__

    compute = "measured, at full speed" if workers.are_measured else f"emulated, {workers.compute!r}"
    versions = f"rayopt {__version__}, Python {platform.python_version()}, NumPy {np.__version__}"
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "problem": f"{problem.name}, d = {problem.dimension}",
        "workers": f"{workers.count}, compute {compute}",
        "fleet": repr(fleet),
        "versions": f"{versions}, Ray {ray.__version__}",
        **{f"processor of {_span(found)}": kind for kind, found in processors.items()},
        "payload": f"{own}",
        "units": UNITS,
    }


def _span(workers: list[int]) -> str:
    """Returns the workers with ranges written short."""
    breaks = [0, *(i for i in range(1, len(workers)) if workers[i] != workers[i - 1] + 1), len(workers)]
    spans = [workers[first:stop] for first, stop in pairwise(breaks)]
    texts = [f"{span[0]}" if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans]
    return f"worker{'s' if len(workers) > 1 else ''} {', '.join(texts)}"
