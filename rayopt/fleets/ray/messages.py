"""The messages between the server and the workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rayopt.core.tasks import Gradient
from rayopt.latency.workers import TaskTimes
from rayopt.problems.base import Problem

INLINE_BYTES = 100_000
"""Ray sends arguments and results below this size inside the message, larger ones through the object store."""


class Profile(NamedTuple):
    """What a worker is loaded with before a run.

    Attributes:
      shard: its own data, behind an oracle.
      times: how long tasks take; real seconds are fleet seconds times ``time_scale``.
      seed: addresses samples.
      time_scale: real seconds per fleet second.
      blas_threads: threads that products of matrices may use in the worker's process.
    """

    shard: Problem
    times: TaskTimes
    seed: int
    time_scale: float
    blas_threads: int = 1


class Load(NamedTuple):
    """What an actor needs before it can serve, also again after its process died.

    Attributes:
      profiles: reference to a list of profiles, each once.
      workers: those of the actor.
      places: by worker, which of the profiles it has.
      server_node: where the server is.
      server: the actor to push replies to; None where replies are return values.
    """

    profiles: Any
    workers: Sequence[int]
    places: Sequence[int]
    server_node: str
    server: Any = None

    def fetch(self) -> dict[int, Profile]:
        """Returns the profiles by worker."""
        import ray

        profiles = ray.get(self.profiles)
        return {worker: profiles[place] for worker, place in zip(self.workers, self.places, strict=True)}


class Order(NamedTuple):
    """One task for one worker.

    Attributes:
      worker: its number.
      stamp: grows with every order of a session; an older one is superseded.
      number: the worker's task number.
      task: what to compute; None only cancels.
      assigned_at: fleet seconds.
      sent_at: the server's monotonic clock, real seconds.
      message: which of the messages of the reply; the value of the first is kept for the others.
    """

    worker: int
    stamp: int
    number: int
    task: Gradient | None
    assigned_at: float
    sent_at: float
    message: int = 0


class Reply(NamedTuple):
    """One finished task.

    Attributes:
      worker: its number.
      stamp: that of the order.
      completed_at: when the worker was done, on its own monotonic clock, real seconds.
      value: the gradient, or the bytes of its compressed form; None where it is a return value of its own, or there is
        none.
      in_time: whether the worker did not have to give up.
      error: why the value must not be used, as text: what the problem raised or returned; None if all went well.
      clock: the node whose clock ``completed_at`` is read from; "" for the server's.
    """

    worker: int
    stamp: int
    completed_at: float
    value: Any
    in_time: bool = True
    error: str | None = None
    clock: str = ""
