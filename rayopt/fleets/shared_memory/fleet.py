"""The driver's side: the fleet that a user chooses, and its session of actors around one segment of memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from rayopt.core.errors import InvalidInput
from rayopt.fleets.base import FleetKind, Job, OnCheckpoint, OnProgress, OnTrace, forget
from rayopt.fleets.shared_memory.rates import note_on_rates
from rayopt.methods.hogwild import Hogwild
from rayopt.problems import SparseLogisticRegression
from rayopt.runs.callbacks import disregard
from rayopt.runs.outcome import INTERRUPTED

if TYPE_CHECKING:
    from rayopt.fleets.base import Finished
    from rayopt.fleets.shared_memory.segment import Segment
    from rayopt.latency.workers import Workers
    from rayopt.methods.base import Method
    from rayopt.problems.base import Problem
    from rayopt.runs.callbacks import OnEvent
    from rayopt.runs.outcome import Outcome


class SharedMemoryFleet(FleetKind):
    """Real time on one machine: every worker is a Ray actor that changes the one x in shared memory, without a server.

    Runs :class:`rayopt.methods.Hogwild` on a sparse logistic regression, and nothing else. A worker is as fast as its
    core: the emulated times of the workers are not used. There are no arrivals, so no trace; an update is one row's.
    A run until a number of updates makes exactly so many, and with ``access: serial`` it is the same to the bit
    each time (unless its step size follows time). The k of a schedule counts the updates of all workers, each of which
    takes a few thousand numbers at once, a millisecond's worth. Needs the extra ``hogwild`` (Numba).

    Args:
      address: as for :class:`rayopt.RayFleet`; the driver must run on a node of the cluster, and its node is used.

    Raises:
      InvalidInput: an argument that is not allowed, or Numba is not installed.
    """

    name: ClassVar[str] = "shared_memory"
    has_arrivals: ClassVar[bool] = False
    is_real_time: ClassVar[bool] = True

    def __init__(self, address: str | None = None) -> None:
        if address is not None and (not isinstance(address, str) or address.startswith("ray://")):
            raise InvalidInput("address", f"{address!r} is not a cluster that this machine is a node of",
                               "auto, or host:port of a Ray cluster")  # fmt: skip
        if importlib.util.find_spec("numba") is None:
            raise InvalidInput("fleet", "shared_memory needs Numba, which is not installed",
                               'pip install "rayopt[hogwild]", or another fleet')  # fmt: skip
        self.address = address

    def open(self, problem: Problem, workers: Workers) -> SharedMemorySession:
        """Returns a session, to be used in a ``with`` statement.

        Raises:
          InvalidInput: no cluster answers at the address.
        """
        from rayopt.fleets.ray.connection import connect

        return SharedMemorySession(problem, workers, owns_connection=connect(self.address))

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal fleet."""
        return {"name": self.name} if self.address is None else {"name": self.name, "address": self.address}

    def incompatibility(self, method: Method, problem: Problem) -> str:
        """Returns why a method cannot run here on a problem, or ""."""
        if not isinstance(method, Hogwild):
            return f"{type(method).__name__} has a server that receives arrivals; here only Hogwild runs"
        if method.controls:
            return f"here x is changed in place, without a server: not with {' and '.join(method.controls)}"
        if not isinstance(problem, SparseLogisticRegression):
            return f"here Hogwild runs on sparse_logistic_regression alone, not on {problem.name}"
        if problem.batch != 1:
            return f"here an update is one row's, and the problem has batch {problem.batch}"
        return ""

    def notes(self, runs: Sequence[Finished]) -> list[str]:
        """Returns how fast each kind of access was, and what this fleet does not do."""
        return [
            *note_on_rates(runs),
            "In shared memory a worker is as fast as its core (no emulated times), and there is no trace.",
        ]

    def __repr__(self) -> str:
        return f"SharedMemoryFleet({'' if self.address is None else f'address={self.address!r}'})"


class SharedMemorySession:
    """Actors around one segment, for one job after the other (see ``rayopt.fleets.base.Session``).

    Args:
      problem: a sparse logistic regression, not yet split.
      workers: how many.
      owns_connection: whether to shut Ray down at the end.
    """

    def __init__(self, problem: Problem, workers: Workers, owns_connection: bool = False) -> None:
        import ray

        from rayopt.fleets.ray.shard_loading import ship_modules

        ship_modules(problem)
        self._ray = ray
        self._problem = problem
        self._count = workers.count
        self._owns_connection = owns_connection
        self._segment: Segment | None = None
        self._actors: list[Any] = []
        self._loaded_seed: int | None = None
        self._stop_reason = ""

    def __enter__(self) -> SharedMemorySession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_actors()
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
        """Runs one job to its end; there are no checkpoints, as x has no state between two events.

        Raises:
          RayoptError: the machine has not enough shared memory.
          WorkerLost: a worker's process died.
          WorkerFailed: a worker raised an error.
        """
        from rayopt.fleets.shared_memory.monitor import RunMonitor
        from rayopt.fleets.shared_memory.worker import Assignment

        method = job.method
        assert isinstance(method, Hogwild)
        self._stop_reason = ""
        problem = self._problem.split(self._count, job.seed)
        segment = self._begin_actors()
        active = self._actors[:1] if method.access == "serial" else self._actors
        try:
            self._load(problem, job.seed)
            self._call("warm_up", [(method.access,)] * len(active))
            method.prepare(problem.start_point(), self._count)
            segment.reset(method.x)
            watch = RunMonitor(job, problem, segment, len(active), on_progress, lambda: self._stop_reason, on_event)
            # The only member of a grid is a grid still.
            step_size = method.with_step_size(*method.members()).step_size
            limit = min(job.until.updates, job.until.arrivals)
            return watch.run(active, Assignment(method.access, step_size, job.seed, limit))
        except BaseException:
            # A worker that died has left the others its half of an update, and the lock at worst.
            self._end_actors()
            raise

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends the running job within milliseconds, also one that still loads its workers."""
        self._stop_reason = self._stop_reason or reason
        if self._segment is not None:
            self._segment.stop()

    def _begin_actors(self) -> Segment:
        """Returns the segment, with the actors around it; makes both if they are not there."""
        if self._segment is not None:
            return self._segment
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from rayopt.fleets.shared_memory.segment import Segment
        from rayopt.fleets.shared_memory.worker import MemoryWorker

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        make: Any = self._ray.remote
        actor = make(num_cpus=0, enable_task_events=False, scheduling_strategy=here)(MemoryWorker)
        self._segment = segment = Segment(self._count, self._problem.dimension)
        try:
            self._actors = [actor.remote(worker) for worker in range(self._count)]
            self._call("attach", [(self._count, self._problem.dimension, segment.name)] * self._count)
        except BaseException:
            self._end_actors()
            raise
        segment.remove_name()
        return segment

    def _end_actors(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors, self._loaded_seed = [], None
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _load(self, problem: Problem, seed: int) -> None:
        """Gives every worker its rows; workers of one machine share those of one shard."""
        if self._loaded_seed == seed:
            return
        shards = [problem.shard(worker) for worker in range(self._count)]
        stored = {id(shard): self._ray.put(shard) for shard in shards}
        self._call("load", [(stored[id(shard)],) for shard in shards])
        self._loaded_seed = seed

    def _call(self, name: str, arguments: Sequence[tuple[Any, ...]]) -> None:
        """Calls a method of the first actors, with the arguments for each, and waits for all.

        Raises:
          WorkerLost: a worker's process died.
          WorkerFailed: a worker raised an error.
        """
        from rayopt.fleets.ray.failures import check

        called = [getattr(actor, name).remote(*own) for actor, own in zip(self._actors, arguments, strict=False)]
        for worker, reference in enumerate(called):
            check(f"worker {worker}", reference)
