"""The driver's side: starts the actors once, and runs every job of an experiment on them."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from rayopt.core.errors import InvalidInput, NotBegun, RayoptError, ServerLost, at_least, boolean, positive
from rayopt.fleets.base import FleetKind, forget
from rayopt.fleets.contended import ClockOptions
from rayopt.fleets.ray.connection import connect
from rayopt.fleets.ray.placement import read_label, read_placement
from rayopt.fleets.ray.shard_loading import make_loads, ship_modules
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.runs.callbacks import disregard
from rayopt.runs.logs import LOGGER
from rayopt.runs.outcome import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rayopt.fleets.base import Job, OnCheckpoint, OnProgress, OnTrace
    from rayopt.fleets.ray.network import NetworkSession
    from rayopt.fleets.ray.nodes import Seat
    from rayopt.fleets.ray.paced import Pacing
    from rayopt.fleets.ray.supervision import FailurePolicy
    from rayopt.latency.workers import TaskTimes
    from rayopt.methods.base import Method
    from rayopt.problems.base import Problem
    from rayopt.runs.callbacks import OnEvent
    from rayopt.runs.outcome import Outcome

REPORT_EVERY = 0.2
RESTART_TIMEOUT = 30.0
GRACE = 60.0
ABANDON_TIMEOUT = 5.0
"""Real seconds that a run which nobody follows any more may take to end before its server is replaced."""
STAMPS = 10**12
"""More than one server ever gives: the next one begins above them."""


class RayFleet(FleetKind):
    """Real time on Ray: a server actor holds x and the method, every worker is an actor with its own shard.

    Args:
      workers_per_actor: 1: every worker is an actor of its own; more: so many workers are packed in one
        actor, which emulates thousands on a few processes.
      time_scale: real seconds per fleet second; 0.01 runs a fleet of seconds in hundredths.
      address: "auto" or "host:port" of a cluster that runs; by default the one that RAY_ADDRESS or
        ``ray start`` made, else a new local one, which ends with the experiment.
      placement: where the worker actors run: "spread" evenly over the nodes, "pack" on few nodes, or
        ``{labels: {fast: {share: 1, compute: 0.01}, slow: {share: 3, compute: 0.1}}}``: of every four workers in
        turn, one on nodes with the label ``speed=fast`` and three on nodes with ``speed=slow`` (``KEY=VALUE`` names
        another label); the latencies, if given, replace those of the workers.
      nodes: nodes that must be up before the actors are placed, the head among them; those of ``ray up`` join minutes
        after it. Waits up to ten minutes for them. Nodes that come later are used only by workers that lose theirs.
      server_node: where the server runs: "head", "driver", a node's address or a label; by default anywhere.
      num_cpus: CPUs that each worker actor reserves. 0, the default, reserves none: workers whose times are emulated
        mostly wait, and many share a core. Give 1 where gradients are slow and are to run side by side.
      num_gpus: GPUs that each worker actor reserves, a part of one or whole ones.
      grace: real seconds that a worker's process may be away before a method that waits for every worker ends
        with an error; other methods go on without it.
      blas_threads: threads that products of matrices may use in each worker actor: 1 leaves the cores to the other
        workers, and makes a replay equal to the bit wherever the processor is of the same type.
      overlap: whether a worker that has computed a gradient begins another one at the same point while it sends, as in
        :class:`SimulatedFleet`.
      server_bandwidth: floats of 64 bits per fleet second that the server sends, and as many that it receives, shared
        fairly as in :class:`SimulatedFleet`. The server holds messages back until they would be there; what really
        travels is not slowed down.

    Raises:
      InvalidInput: an argument that is not allowed.
    """

    name: ClassVar[str] = "ray"
    is_real_time: ClassVar[bool] = True

    def __init__(
        self,
        workers_per_actor: int = 1,
        time_scale: float = 1.0,
        address: str | None = None,
        placement: str | Mapping[str, Any] = "spread",
        server_node: str | None = None,
        nodes: int = 1,
        num_cpus: float = 0,
        num_gpus: float = 0,
        grace: float = GRACE,
        blas_threads: int = 1,
        overlap: bool = False,
        server_bandwidth: float | None = None,
    ) -> None:
        self.overlap = boolean("overlap", overlap)
        self.server_bandwidth = None if server_bandwidth is None else positive("server_bandwidth", server_bandwidth)
        self.workers_per_actor = at_least("workers_per_actor", workers_per_actor, 1)
        self.time_scale = positive("time_scale", time_scale)
        if address is not None and not isinstance(address, str):
            raise InvalidInput("address", f"{address!r} is not an address", "auto, or host:port of a Ray cluster")
        self.address = address
        self.placement = read_placement(placement, num_cpus, num_gpus)
        if server_node is not None and server_node not in ("head", "driver"):
            read_label("server_node", server_node)
        self.server_node = server_node
        self.nodes = at_least("nodes", nodes, 1)
        self.grace = positive("grace", grace)
        self.blas_threads = at_least("blas_threads", blas_threads, 1)

    def emulated(self, workers: Workers) -> Workers:
        """Returns the workers with the latencies that stand for the nodes they run on."""
        return self.placement.emulated(workers)

    def open(self, problem: Problem, workers: Workers) -> RaySession | NetworkSession:
        """Returns a session, to be used in a ``with`` statement.

        Raises:
          InvalidInput: no cluster answers at the address, its nodes do not come, or cannot hold the workers.
        """
        if isinstance(workers, Network):
            from rayopt.fleets.ray.network import NetworkOptions, NetworkSession

            placed = self.placement
            options = NetworkOptions(self.time_scale, self.blas_threads, placed.num_cpus, placed.num_gpus, self.nodes)
            return NetworkSession(options, problem, workers, owns_connection=connect(self.address))
        return RaySession(self, problem, self.emulated(workers), owns_connection=connect(self.address))

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal fleet."""
        config: dict[str, Any] = {"name": self.name, "workers_per_actor": self.workers_per_actor}
        config["time_scale"] = self.time_scale
        given = {"address": self.address, "server_node": self.server_node}
        config |= {key: value for key, value in given.items() if value is not None}
        if self.nodes != 1:
            config["nodes"] = self.nodes
        if self.grace != GRACE:
            config["grace"] = self.grace
        if self.blas_threads != 1:
            config["blas_threads"] = self.blas_threads
        if self.overlap:
            config["overlap"] = True
        if self.server_bandwidth is not None:
            config["server_bandwidth"] = self.server_bandwidth
        return config | self.placement.to_config()

    def check_workers(self, workers: Workers) -> None:
        """Raises InvalidInput if the workers are to be measured in seconds that are none."""
        if isinstance(workers, Network):
            self._check_network()
        if workers.are_measured and self.time_scale != 1.0:
            raise InvalidInput("fleet.time_scale", f"{self.time_scale:g} beside compute: measured", "1: real seconds")
        if workers.are_measured and self.is_paced:
            key = "overlap" if self.overlap else "server_bandwidth"
            raise InvalidInput(
                f"fleet.{key}", f"{getattr(self, key)!r} beside compute: measured", "emulated times with it"
            )

    def _check_network(self) -> None:
        """Raises InvalidInput if something is asked for that only workers of a server have."""
        for key, value, default in (
            ("workers_per_actor", self.workers_per_actor, 1), ("overlap", self.overlap, False),
            ("server_bandwidth", self.server_bandwidth, None), ("server_node", self.server_node, None),
            ("placement", self.placement.to_config().get("placement", "spread"), "spread"),
        ):  # fmt: skip
            if value != default:
                raise InvalidInput(f"fleet.{key}", f"{value!r} with a network, which has no server", f"{default}")

    @property
    def is_paced(self) -> bool:
        """Whether the server holds messages back."""
        return self.overlap or self.server_bandwidth is not None

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.to_config().items() if key != "name")
        return f"RayFleet({arguments})"


class RaySession:
    """Actors that run one job after the other (see ``rayopt.fleets.base.Session``).

    Args:
      fleet: how to run.
      problem: the oracle, not yet split.
      workers: how many, and how fast.
      owns_connection: whether to shut Ray down at the end.
    """

    def __init__(self, fleet: RayFleet, problem: Problem, workers: Workers, owns_connection: bool = False) -> None:
        import ray

        from rayopt.fleets.ray.evaluation import RETRIES, Evaluator
        from rayopt.fleets.ray.server import Server
        from rayopt.fleets.ray.worker import PackedWorkers, Worker

        for component in (problem, workers, workers.upload, workers.download):
            ship_modules(component)
        self._ray = ray
        self._fleet = fleet
        self._problem = problem
        self._workers = workers
        self._owns_connection = owns_connection
        self._loaded_seed: int | None = None
        self._stop_reason = ""
        # Retries would run a task twice in silence; task events cost a tenth of the throughput.
        common = {"num_cpus": 0, "enable_task_events": False, "scheduling_strategy": "SPREAD"}
        make: Any = ray.remote
        n, per_actor = workers.count, fleet.workers_per_actor
        held = fleet.placement.actors(n, per_actor)
        # Before any actor is made: the cluster may have no room for all of them.
        at_server = {**common, "scheduling_strategy": self._place(held)}
        self._evaluator = make(**common, max_restarts=-1, max_task_retries=RETRIES)(Evaluator).remote()
        self._servers_lost = 0
        self._make_server = lambda: make(**at_server, concurrency_groups={"status": 1, "inbox": 1})(Server).remote(
            self._evaluator, fleet.time_scale, self._servers_lost * STAMPS
        )
        self._server = self._make_server()
        # The driver holds the workers' handles: workers that the server made would end with it.
        restarting = {**common, "max_restarts": -1, "max_task_retries": 0}
        if per_actor == 1:
            actor = make(**restarting, concurrency_groups={"control": 1})(Worker)
        else:
            actor = make(**restarting, concurrency_groups={"watch": 1})(PackedWorkers)
        self._is_packed = per_actor > 1
        self.actors = [actor.options(**options).remote() for options in self._reservations.options]
        of = {worker: made for made, (_, own) in zip(self.actors, held, strict=True) for worker in own}
        self._actor_of = [of[worker] for worker in range(n)]

    def __enter__(self) -> RaySession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for actor in [*self.actors, self._server, self._evaluator]:
            self._ray.kill(actor)
        self.actors = []
        self._reservations.close()
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
        """Runs one job to its end.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
          NotBegun: it was to end while the workers were still loaded.
          WorkerLost: workers that the method needs are gone for longer than the grace time.
          WorkerFailed: a worker brings nothing but errors.
          ServerLost: the server's process died; the session continues with a new one.
        """
        try:
            return self._run(job, on_trace, on_progress, on_checkpoint, on_event)
        except self._ray.exceptions.RayActorError as error:
            of_the_server = getattr(error, "actor_id", None) == self._server._actor_id.hex()
            if isinstance(error, self._ray.exceptions.RayTaskError) or not of_the_server:
                raise
            self._replace_server()
            raise ServerLost(f"the process of the server died: {error}") from error
        finally:
            # Not at the begin: a wish that came just before it counts.
            self._stop_reason = ""

    def _replace_server(self) -> None:
        """Starts another server; what the lost one asked of the workers is superseded."""
        self._ray.kill(self._server)
        self._servers_lost += 1
        self._server = self._make_server()
        self._loaded_seed = None
        if not self._is_packed:
            for actor in self.actors:
                actor.cancel.remote(self._servers_lost * STAMPS)

    def _run(
        self, job: Job, on_trace: OnTrace, on_progress: OnProgress, on_checkpoint: OnCheckpoint, on_event: OnEvent
    ) -> Outcome:
        from rayopt.fleets.ray.report_poller import ReportPoller

        ship_modules(job.method)
        self.loaded(job.seed)
        self._warn_of_store(job.method)
        running = self._server.run.remote(
            job, self._problem.start_point(), self._emulated_times(job.seed), self._shard_sizes, self._actor_of,
            self._failure_policy(job.method), self._whole, self._pacing(job.seed),
        )  # fmt: skip
        follower = ReportPoller(job, on_trace, on_progress, on_checkpoint, on_event)
        done: list[Any] = []
        while not done:
            done, _ = self._ray.wait([running], timeout=REPORT_EVERY)
            if self._stop_reason:
                self._server.stop.remote(self._stop_reason)
            report = self._ray.get(self._server.report.remote())
            try:
                follower.take(report)
            except Exception:
                self._abandon(running)
                raise
        try:
            return self._ray.get(running)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, RayoptError):
                raise error.cause from None
            raise

    def _emulated_times(self, seed: int) -> TaskTimes:
        """Returns what the workers' processes emulate: without links, if the server holds messages back."""
        workers = Workers(self._workers.count, self._workers.compute) if self._fleet.is_paced else self._workers
        return workers.times(seed, self._problem.dimension, self._problem.float_bits)

    def _pacing(self, seed: int) -> Pacing | None:
        if not self._fleet.is_paced:
            return None
        from rayopt.fleets.ray.paced import Pacing

        options = ClockOptions(self._fleet.server_bandwidth, self._fleet.overlap)
        return Pacing(self._workers.times(seed, self._problem.dimension, self._problem.float_bits), options)

    def _abandon(self, running: Any) -> None:
        """Ends a job that nobody follows any more, so that the next one finds neither it nor its record."""
        give_up = time.monotonic() + ABANDON_TIMEOUT
        done: list[Any] = []
        try:
            while not done and time.monotonic() < give_up:
                self._server.stop.remote()
                done, _ = self._ray.wait([running], timeout=REPORT_EVERY)
            self._ray.get(self._server.report.remote())
        except self._ray.exceptions.RayActorError:
            done = []
        if not done:
            self._replace_server()

    def _place(self, reservations: Sequence[Seat]) -> Any:
        """Reserves the reservations of the worker actors; returns the scheduling strategy of the server."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from rayopt.fleets.ray.nodes import Reservations, alive_nodes, check_room, find_node, wait_for_nodes

        asked = self._fleet.server_node
        try:
            wait_for_nodes(self._fleet.nodes)
            nodes = alive_nodes()
            own = self._ray.get_runtime_context().get_node_id()
            server = None if asked is None else find_node(asked, nodes, own)
            check_room(self._fleet.placement, reservations, nodes)
            self._reservations = Reservations(self._fleet.placement, reservations, nodes)
        except InvalidInput:
            if self._owns_connection:
                self._ray.shutdown()
            raise
        LOGGER.info(
            "%d worker actors on %d nodes of Ray, server on %s",
            len(reservations),
            len(nodes),
            "any" if server is None else server.address,
        )
        return "SPREAD" if server is None else NodeAffinitySchedulingStrategy(server.id, soft=False)

    def loaded(self, seed: int) -> tuple[Any, list[Any]]:
        """Returns the server and, by worker, the actor that holds it; they have their shards of this seed.

        Raises:
          NotBegun: the run was asked to end.
          WorkerLost: no worker has a process.
        """
        if self._loaded_seed != seed:
            self._load(seed)
        return self._server, self._actor_of

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends the running job, also one that still loads its workers."""
        self._stop_reason = self._stop_reason or reason

    def _load(self, seed: int) -> None:
        """Gives every worker its shard, its durations and the seed; nodes need no data folder."""
        from rayopt.fleets.ray.failures import WorkerLost
        from rayopt.fleets.ray.messages import Profile

        n = self._workers.count
        problem = self._problem.split(n, seed)
        times = self._emulated_times(seed)
        self._shard_sizes = problem.shard_sizes
        node = self._get(self._server.node.remote())
        # Kept as long as the session: processes that die fetch them again.
        whole, *profiles = [
            Profile(shard, times, seed, self._fleet.time_scale, self._fleet.blas_threads)
            for shard in (problem, *(problem.shard(worker) for worker in range(n)))
        ]
        server = self._server if self._is_packed else None
        self._whole, self._loads, self._stored_bytes = make_loads(whole, profiles, self._actor_of, node, server)
        self._load_all()
        try:
            self._get(self._evaluator.load.remote(self._whole))
        except self._ray.exceptions.RayActorError as error:
            raise WorkerLost(f"the process that computes metrics dies when it loads the problem: {error}") from error
        self._loaded_seed = seed

    def _warn_of_store(self, method: Method) -> None:
        """Warns, before the run starts, of an object store that is too small for it."""
        from rayopt.fleets.ray.memory_estimate import MemoryEstimate, collected, warn_if_scarce
        from rayopt.fleets.ray.nodes import alive_nodes

        point = self._problem.start_point().nbytes * len(method.members())
        n = self._workers.count
        warn_if_scarce(MemoryEstimate.of(self._stored_bytes, point, n, collected(method, n)), alive_nodes())

    def _failure_policy(self, method: Method) -> FailurePolicy:
        """Returns how a run of this method treats workers that fail."""
        from rayopt.fleets.ray.supervision import FailurePolicy

        return FailurePolicy(self._loads, self._fleet.grace, type(method).__name__ if method.waits_for_everyone else "")

    def _load_all(self) -> None:
        """Calls ``load`` of every actor; waits for those that restart, the server later for those that stay away.

        Raises:
          NotBegun: the run was asked to end.
          WorkerLost: none of them is there.
        """
        from rayopt.fleets.ray.failures import WorkerLost

        loaded: set[Any] = set()
        give_up = time.monotonic() + RESTART_TIMEOUT
        last_error = ""
        while len(loaded) < len(self.actors) and time.monotonic() < give_up:
            calls = [(actor, actor.load.remote(load)) for actor, load in self._loads.items() if actor not in loaded]
            for actor, call in calls:
                try:
                    self._get(call)
                    loaded.add(actor)
                except self._ray.exceptions.RayActorError as error:
                    last_error = str(error)
            time.sleep(REPORT_EVERY if len(loaded) < len(self.actors) else 0)
        if not loaded and last_error:
            raise WorkerLost(f"no worker has a process; last error: {last_error}")

    def _get(self, call: Any) -> Any:
        """Returns what a call to an actor brings.

        Raises:
          NotBegun: the run was asked to end.
        """
        done: list[Any] = []
        while not done:
            if self._stop_reason:
                raise NotBegun
            done, _ = self._ray.wait([call], timeout=REPORT_EVERY)
        return self._ray.get(call)
