"""The server actor: it holds x and the method, and runs the loop in real time."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import ray
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput
from rayopt.fleets.base import Job
from rayopt.fleets.ray.batches import ReplyBatch
from rayopt.fleets.ray.evaluation import Evaluations
from rayopt.fleets.ray.event_log import Notice
from rayopt.fleets.ray.link_timing import Links, time_links
from rayopt.fleets.ray.messages import Load
from rayopt.fleets.ray.metrics import MeteredRecorder, RunMetrics
from rayopt.fleets.ray.paced import PacedWorkers, Pacing
from rayopt.fleets.ray.supervision import FailurePolicy, Supervision
from rayopt.fleets.ray.transport import DirectTransport, PackedTransport, Transport
from rayopt.fleets.ray.workers import RayWorkers
from rayopt.latency.workers import TaskTimes
from rayopt.runs.callbacks import RunEvent
from rayopt.runs.loop import serve
from rayopt.runs.outcome import INTERRUPTED, Outcome, Progress
from rayopt.runs.recorder import Recorder
from rayopt.runs.snapshot import asking_for_checkpoints, offer, restore
from rayopt.storage.encoding import Encoded

Array = NDArray[np.float64]


class Report(NamedTuple):
    """The progress report that the driver receives while a job runs.

    Attributes:
      progress: where the run stands; None before it began.
      record: since the last report, in order, chunks of the trace, what is watched, and states of the run, or why there
        is none.
      notices: what happened to workers, as levels of ``logging`` and sentences.
    """

    progress: Progress | None
    record: list[NDArray[np.void] | Encoded | InvalidInput | RunEvent]
    notices: list[Notice]


class Server:
    """The actor that holds x and the method.

    ``run`` blocks; reports, stops and packed replies come in on other threads.

    Args:
      evaluator: the actor that computes metrics.
      time_scale: real seconds per fleet second.
      last_stamp: the largest that a server before it may have given.
    """

    def __init__(self, evaluator: Any, time_scale: float, last_stamp: int = 0) -> None:
        self._evaluator = evaluator
        self._time_scale = time_scale
        self._stamp = last_stamp
        self._record: deque[NDArray[np.void] | Encoded | InvalidInput | RunEvent] = deque()
        self._inbox: queue.SimpleQueue[ReplyBatch] = queue.SimpleQueue()
        self._recorder: Recorder | None = None
        self._fleet: RayWorkers | None = None
        self._supervision: Supervision | None = None
        self._lock = threading.Lock()
        self._metrics = RunMetrics()

    def node(self) -> str:
        """Returns the node that the server runs on."""
        return ray.get_runtime_context().get_node_id()

    @ray.method(concurrency_group="status")
    def pid(self) -> int:
        """Returns the number of the server's process."""
        return os.getpid()

    def run(
        self,
        job: Job,
        start_point: Array,
        times: TaskTimes,
        shard_sizes: NDArray[np.integer] | None,
        actors: Sequence[Any],
        care: FailurePolicy,
        problem: Load,
        pacing: Pacing | None = None,
    ) -> Outcome:
        """Runs one job to its end.

        Args:
          job: what to run.
          start_point: x^0.
          times: how long tasks must take.
          shard_sizes: rows of data of each worker, shape (n,); None if all have the same.
          actors: by worker, the actor that holds it.
          care: how to treat workers that fail.
          problem: the problem with all its data.
          pacing: how messages travel, if the server holds them back; None where the workers emulate their links.

        Raises:
          FleetStuck: nothing will ever arrive and no limit ends the run.
          WorkerLost: workers that the method needs are gone.
          WorkerFailed: a worker brings nothing but errors.
        """
        while not self._inbox.empty():
            self._inbox.get()
        supervision = Supervision(actors, care)
        transport: Transport = (
            PackedTransport(actors, self._inbox, supervision.lost)
            if care.packed
            else DirectTransport(actors, supervision.lost)
        )
        evaluations = Evaluations(self._evaluator, problem, job.record.metrics or (), supervision)
        recorder = MeteredRecorder(
            job.record,
            job.until,
            evaluations,
            lambda rows: self._record.append(rows.copy()),
            real_time=True,
            watched=job.watched,
            on_event=self._record.append,
        )
        job.method.prepare(start_point, len(actors))

        def background() -> None:
            evaluations.collect(recorder)
            self._metrics.publish(recorder, fleet.slip)

        fleet = RayWorkers(
            transport, times, shard_sizes, job.seed, self._time_scale, supervision, self._next_stamp,
            background, sends_next=pacing is None,
        )  # fmt: skip
        served = fleet if pacing is None else PacedWorkers(fleet, job.seed, pacing)
        self._metrics.begin(job.label or job.method.name, job.method.name, job.seed)
        recorder.on_checkpoint = lambda: offer(job.method, served, recorder, self._record.append)
        if job.start is not None:
            restore(job.start, job.method, served, recorder)
        with self._lock:
            self._recorder, self._fleet, self._supervision = recorder, fleet, supervision
        try:
            try:
                with asking_for_checkpoints(recorder, job.checkpoints):
                    serve(job.method, served, recorder)
            finally:
                fleet.cancel(np.arange(fleet.n))
                transport.receive(0.0)
            evaluations.finish(recorder, lambda: fleet.stopping)
        finally:
            supervision.notices.end()
            with self._lock:
                self._fleet = None
        self._metrics.publish(recorder, fleet.slip, at_once=True)
        outcome = recorder.outcome(recorder.wall_seconds, fleet.slip.summary())
        outcome.faults = supervision.final()
        outcome.bytes_received = fleet.bytes_received
        outcome.estimate = job.method.evaluated_point if job.keep_estimate else None
        return outcome

    def time_links(self, worker: Any, sizes: Sequence[int], repetitions: int) -> Links:
        """Returns :func:`~rayopt.fleets.ray.link_timing.time_links` of an idle worker, as the server sees it."""
        return time_links(worker, sizes, repetitions)

    @ray.method(concurrency_group="inbox")
    def deliver(self, replies: ReplyBatch) -> None:
        """Takes what a packed actor has finished."""
        self._inbox.put(replies)

    @ray.method(concurrency_group="status")
    def report(self) -> Report:
        """Returns progress and the record since the last report."""
        with self._lock:
            running = self._fleet is not None and self._recorder is not None and self._recorder.has_begun
            progress = self._recorder.progress() if running and self._recorder is not None else None
            if progress is not None and self._supervision is not None:
                progress.worker_counts = self._supervision.worker_counts
            notices = [] if self._supervision is None else self._supervision.notices.take()
        record = []
        while self._record:
            record.append(self._record.popleft())
        return Report(progress, record, notices)

    @ray.method(concurrency_group="status")
    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends the running job."""
        with self._lock:
            if self._recorder is not None and self._fleet is not None:
                self._recorder.stop(reason)
                self._fleet.stopping = True

    def _next_stamp(self) -> int:
        self._stamp += 1
        return self._stamp
