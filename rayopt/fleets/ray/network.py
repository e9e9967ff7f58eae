"""The driver's side of a network on Ray: starts the actors of the nodes, watches them, records, and stops them."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rayopt.core.arrivals import Arrival
from rayopt.core.programs import Delivery
from rayopt.core.tasks import Gradient, float_bits_of
from rayopt.fleets.base import Job, OnCheckpoint, OnProgress, OnTrace, forget
from rayopt.fleets.evaluation import Evaluation
from rayopt.fleets.ray.shard_loading import make_loads, ship_modules
from rayopt.latency.network import Network
from rayopt.problems.base import Problem
from rayopt.runs.callbacks import OnEvent, disregard
from rayopt.runs.outcome import INTERRUPTED, Outcome
from rayopt.runs.recorder import Recorder

if TYPE_CHECKING:
    from rayopt.fleets.ray.node import NodeRecord, NodeReport

LOOK_EVERY = 0.05
"""Real seconds between two looks at all nodes."""
START_IN = 0.1
"""Real seconds from the call that lets all nodes start to the start."""


class WatchedNetwork:
    """The nodes of a run as its recorder sees them (see ``rayopt.runs.recorder.RecordedFleet``).

    Args:
      n: how many they are.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.now = 0.0
        self.cancelled: list[tuple[Any, ...]] = []
        self.busy = 0
        self.busy_seconds = 0.0
        self.is_stuck = False
        self.bits_sent = 0


class Watcher:
    """Puts together what the nodes tell, in the order of their clocks, and records it.

    Args:
      method: prepared; its programs only hold what the nodes have reported.
      recorder: has not begun.
      n: how many nodes there are.
    """

    def __init__(self, method: Any, recorder: Recorder, n: int) -> None:
        self._method = method
        self._recorder = recorder
        self._fleet = WatchedNetwork(n)
        self._waiting: list[deque[NodeRecord]] = [deque() for _ in range(n)]
        self._bits_of = [0] * n
        self._flows: dict[tuple[int, int], tuple[int, int]] = {}
        # When each update was made: a node cannot know how many others have made.
        self._made_at: list[float] = []
        self._record_arrival = recorder.watched_arrival if recorder.watched.arrivals else recorder.arrival
        recorder.begin(method, self._fleet)
        recorder.started()

    def take(self, reports: list[NodeReport]) -> None:
        """Records everything up to the time that all nodes have seen."""
        for waiting, report in zip(self._waiting, reports, strict=True):
            waiting.extend(report.records)
        seen_until = min(report.now for report in reports)
        while not self._recorder.finished:
            node = min(range(self._fleet.n), key=lambda number: (self._next(number), number))
            at = self._next(node)
            if self._recorder.due <= min(at, seen_until):
                self._fleet.now = self._recorder.due
                self._recorder.row()
            elif at <= seen_until:
                self._fleet.now = at
                self._record(node, self._waiting[node].popleft())
            else:
                return

    def end(self) -> None:
        """Writes the last row."""
        self._recorder.end()

    def flows(self) -> list[tuple[int, int, int, int]]:
        """Returns (from, to, messages, bits) of the edges over which something has come."""
        return [(*ends, *counted) for ends, counted in sorted(self._flows.items())]

    def _next(self, node: int) -> float:
        waiting = self._waiting[node]
        return waiting[0].time if waiting else float("inf")

    def _record(self, node: int, record: NodeRecord) -> None:
        self._fleet.bits_sent += record.bits_sent - self._bits_of[node]
        self._bits_of[node] = record.bits_sent
        for number, assigned_at, version in record.cancelled:
            found = [node], [number], [assigned_at], [self._version(version, assigned_at)]
            self._fleet.cancelled.append(tuple(np.array(part) for part in found))
            self._fleet.busy_seconds += record.time - assigned_at
        event: Arrival | None = record.event
        if isinstance(event, Delivery):
            messages, bits = self._flows.get((event.sender, node), (0, 0))
            self._flows[event.sender, node] = messages + 1, bits + float_bits_of(self._method.x.dtype) * event.floats
        if record.arrival is not None:
            number, assigned_at, version, used = record.arrival
            task = Gradient(self._method.x, self._version(version, assigned_at))
            event = Arrival(node, record.time, assigned_at, task, number, None)
            event.used = used
            self._fleet.busy_seconds += record.time - assigned_at
        if record.state is not None:
            before = self._method.updates
            self._method.take(node, record.state, self._fleet)
            self._made_at += [record.time] * (self._method.updates - before)
        assert event is not None
        self._record_arrival(event)

    def _version(self, version: int, assigned_at: float) -> int:
        """Returns at which update a task began: by its point, or where nodes have points of their own by the clock."""
        if self._method.node_points is None:
            return version
        return int(np.searchsorted(self._made_at, assigned_at, side="right"))


class NetworkOptions(NamedTuple):
    """How the actors of nodes run: arguments of ``RayFleet``."""

    time_scale: float = 1.0
    blas_threads: int = 1
    num_cpus: float = 0
    num_gpus: float = 0
    nodes: int = 1


class NetworkSession:
    """Actors of nodes that run one job after the other (see ``rayopt.fleets.base.Session``).

    Args:
      options: how to run.
      problem: the oracle, not yet split.
      network: the graph and its times.
      owns_connection: whether to shut Ray down at the end.
    """

    def __init__(
        self, options: NetworkOptions, problem: Problem, network: Network, owns_connection: bool = False
    ) -> None:
        import ray

        from rayopt.fleets.ray.node import NetworkActor
        from rayopt.fleets.ray.nodes import wait_for_nodes

        for component in (problem, network, network.edges):
            ship_modules(component)
        self._ray = ray
        self._options = options
        self._problem = problem
        self._network = network
        self._owns_connection = owns_connection
        self._stop_reason = ""
        self._runs = 0
        self._recorder: Recorder | None = None
        wait_for_nodes(options.nodes)
        common = {"num_cpus": options.num_cpus, "num_gpus": options.num_gpus, "enable_task_events": False}
        groups = {"status": 1, "inbox": 1}
        make: Any = ray.remote
        actor = make(**common, scheduling_strategy="SPREAD", concurrency_groups=groups)(NetworkActor)
        self._nodes = [actor.remote(number) for number in range(network.count)]

    def __enter__(self) -> NetworkSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self._nodes:
            self._ray.kill(node)
        if self._owns_connection:
            self._ray.shutdown()

    def run(
        self,
        job: Job,
        on_trace: OnTrace,
        on_progress: OnProgress,
        on_checkpoint: OnCheckpoint = forget,
        on_event: OnEvent = disregard,
    ) -> Outcome:
        """Runs one job to its end; it takes no checkpoints, as no node knows the state of all.

        Raises:
          WorkerLost: the process of a node died.
          WorkerFailed: a node brings an error.
        """
        from rayopt.fleets.ray.failures import WorkerLost

        ship_modules(job.method)
        problem = self._problem.split(self._network.count, job.seed)
        self._load(problem, job.seed)
        job.method.use_problem(problem)
        job.method.use_network(self._network)
        job.method.prepare(problem.start_point(), self._network.count)
        recorder = self._recorder = Recorder(
            job.record, job.until, Evaluation(problem, job.record.metrics or (), job.method), on_trace,
            lambda recorder: on_progress(recorder.progress()), watched=job.watched, on_event=on_event,
        )  # fmt: skip
        if self._stop_reason:
            recorder.stop(self._stop_reason)
        try:
            self._begin(job)
            watcher = Watcher(job.method, recorder, self._network.count)
            while not recorder.finished:
                time.sleep(LOOK_EVERY)
                watcher.take(self._reports())
            watcher.end()
        finally:
            self._stop_reason = ""
            # Of a node that is lost, the error that ended the run tells.
            with suppress(self._ray.exceptions.RayError, WorkerLost):
                self._ask([node.end.remote() for node in self._nodes])
        outcome = recorder.outcome(recorder.wall_seconds)
        outcome.estimate = job.method.evaluated_point if job.keep_estimate else None
        outcome.rounds = list(job.method.rounds)  # type: ignore[attr-defined]
        outcome.edges = watcher.flows()
        return outcome

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends the running job."""
        self._stop_reason = self._stop_reason or reason
        if self._recorder is not None:
            self._recorder.stop(reason)

    def _load(self, problem: Problem, seed: int) -> None:
        from rayopt.fleets.ray.messages import Profile

        times = self._network.times(seed, problem.dimension, problem.float_bits)
        whole, *profiles = [
            Profile(shard, times, seed, self._options.time_scale, self._options.blas_threads)
            for shard in (problem, *(problem.shard(node) for node in range(self._network.count)))
        ]
        own = self._ray.get_runtime_context().get_node_id()
        _, loads, _ = make_loads(whole, profiles, self._nodes, own, None)
        self._ask([node.load.remote(loads[node]) for node in self._nodes])

    def _begin(self, job: Job) -> None:
        neighbours: list[dict[int, Any]] = [{} for _ in self._nodes]
        for tail, head in self._network.graph.edges:
            neighbours[tail][head] = self._nodes[head]
        self._runs += 1
        method = self._ray.put(job.method)
        network = self._ray.put(self._network)
        self._ask([
            node.begin.remote(self._runs, method, network, job.seed, own)
            for node, own in zip(self._nodes, neighbours, strict=True)
        ])  # fmt: skip
        started_at = time.monotonic() + START_IN
        self._ask([node.go.remote(started_at) for node in self._nodes])

    def _reports(self) -> list[NodeReport]:
        from rayopt.fleets.ray.failures import WorkerFailed

        reports: list[NodeReport] = self._ask([node.report.remote() for node in self._nodes])
        for number, report in enumerate(reports):
            if report.error:
                raise WorkerFailed(f"node {number} raised an error:\n{report.error}")
        return reports

    def _ask(self, calls: list[Any]) -> list[Any]:
        """Returns what calls bring, one of each node.

        Raises:
          WorkerLost: the process of a node died.
        """
        from rayopt.fleets.ray.failures import WorkerLost

        found = []
        for number, call in enumerate(calls):
            try:
                found.append(self._ray.get(call))
            except self._ray.exceptions.RayActorError as error:
                raise WorkerLost(
                    f"node {number} has lost its process, and with it the state of its program, which nobody else has: "
                    f"{error}"
                ) from error
        return found
