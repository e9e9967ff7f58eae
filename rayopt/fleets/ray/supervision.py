"""Supervises workers: processes that died, and gradients that are not finite."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ray

from rayopt.fleets.ray.event_log import BACK, GIVEN_UP, LOST, REJECTED, UNMEASURABLE, EventLog, shortened
from rayopt.fleets.ray.failures import WorkerFailed, WorkerLost, is_loss
from rayopt.fleets.ray.messages import Load, Profile
from rayopt.fleets.ray.transport import LOOK_UP
from rayopt.runs.faults import Faults, WorkerCounts

STRIKES = 3
"""So many rejected tasks of one worker in a row end the run."""
DEATHS = 5
"""So many processes in a row that died over a task of one worker, without a finished one between them, are enough:
the task may be what kills them. A method that waits for everyone ends then, others go on without the worker, and
without those of its actor that finished nothing either."""
ASK_EVERY = 0.2
"""Real seconds between two attempts to load a process that is not there yet."""
NAMED = 8
"""So many workers are named in an error, and no more."""


class FailurePolicy(NamedTuple):
    """How a run treats workers that fail.

    Attributes:
      loads: by actor, what it needs before it can serve.
      grace: real seconds that a process may be away before a method that needs it gives up.
      waits_for: the method that makes no update before every worker has answered, or "".
    """

    loads: Mapping[Any, Load]
    grace: float
    waits_for: str

    @property
    def packed(self) -> bool:
        """Whether actors hold many workers and push their replies."""
        return next(iter(self.loads.values())).server is not None


class Outage:
    """An actor whose process died: since when, and the call that loads its successor."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.call: Any = None
        self.ask_at = self.since


class Supervision:
    """Reloads restarted processes, counts faults, and decides when a run cannot continue.

    A dead worker is an infinitely slow worker: the method is not notified and continues.

    Args:
      actors: by worker, the actor that holds it.
      care: how to treat those that fail.

    Attributes:
      silent: the workers that have no process, or one without a shard, and those that were given up.
      faults: what was counted so far.
      notices: what happened, in sentences.
    """

    def __init__(self, actors: Sequence[Any], care: FailurePolicy) -> None:
        self.silent: set[int] = set()
        self.faults = Faults()
        self.notices = EventLog()
        self._failure_policy = care
        self._workers = len(actors)
        self._members: dict[Any, list[int]] = {}
        for worker, actor in enumerate(actors):
            self._members.setdefault(actor, []).append(worker)
        self._actors = actors
        self._outages: dict[Any, Outage] = {}
        self._in_a_row: dict[int, int] = {}
        self._deaths: dict[int, int] = {}
        self._given_up: set[int] = set()
        self._last_errors: dict[Any, str] = {}
        self._look_at = 0.0

    @property
    def worker_counts(self) -> WorkerCounts:
        """How many workers can compute just now; may be read from another thread."""
        long_ago = time.monotonic() - self._failure_policy.grace
        outages = dict(self._outages)
        away = [(len(self._members[actor]), outage.since) for actor, outage in outages.items()]
        given_up = sum(self._actors[worker] not in outages for worker in list(self._given_up))
        down = given_up + sum(count for count, since in away if since < long_ago)
        missing = given_up + sum(count for count, _ in away)
        return WorkerCounts(self._workers - missing, missing - down, down)

    def lost(self, actor: Any, last_error: str) -> None:
        """Notes that an actor's process died, and asks its successor to load its shards."""
        if actor not in self._outages:
            self._outages[actor] = Outage()
            self._last_errors[actor] = last_error
            self.silent.update(self._members[actor])
            self.notices.add(LOST, f"{self._names([actor])}: {shortened(last_error)}")
            self._ask(actor)

    def returned(self, awaited: Callable[[], Sequence[int]]) -> list[tuple[Any, list[int]]]:
        """Returns the actors that have their shards again, and their workers.

        Looks at most every tenth of a second.

        Args:
          awaited: returns the workers whose tasks the method waits for; none if something else will happen first.

        Raises:
          WorkerLost: a process has been away for too long for the method to go on.
          WorkerFailed: a shard cannot be loaded.
        """
        if not self.silent or time.monotonic() < self._look_at:
            return []
        self._look_at = time.monotonic() + LOOK_UP
        found = []
        for actor in list(self._outages):
            if self._is_loaded(actor):
                del self._outages[actor]
                self.silent.difference_update(self._members[actor])
                self.silent |= self._given_up
                self.faults.restarts += 1
                self.notices.add(BACK, self._names([actor]))
                found.append((actor, self._members[actor]))
        self._give_up_if_hopeless(awaited())
        return found

    def survivors(self, workers: Sequence[int]) -> list[int]:
        """Counts a process that died over tasks of these workers; returns the workers whose task is assigned again.

        Raises:
          WorkerLost: it is one death too many, and the method cannot go on without them.
        """
        for worker in workers:
            self._deaths[worker] = self._deaths.get(worker, 0) + 1
        lost = [worker for worker in workers if self._deaths[worker] >= DEATHS]
        if lost:
            self.silent.update(lost)
            self._given_up.update(lost)
            what = f"{DEATHS} processes in a row died over tasks of {_named(lost)}"
            last_error = self._last_errors[self._actors[lost[0]]]
            self.notices.add(GIVEN_UP, f"{what}: {shortened(last_error)}")
            if self._failure_policy.waits_for or len(self.silent) == self._workers:
                raise WorkerLost(f"{what}, and {self._why()}; last error: {last_error}")
        return [worker for worker in workers if self._deaths[worker] < DEATHS]

    def rejected(self, worker: int, error: str) -> None:
        """Counts a task whose value must not be used.

        Raises:
          WorkerFailed: it is the third in a row of this worker.
        """
        self.faults.rejected[worker] = self.faults.rejected.get(worker, 0) + 1
        self._in_a_row[worker] = self._in_a_row.get(worker, 0) + 1
        self.notices.add(REJECTED, f"worker {worker} {shortened(error)}")
        if self._in_a_row[worker] >= STRIKES:
            raise WorkerFailed(f"worker {worker} failed {STRIKES} times in a row; the last time it {error}")

    def unmeasurable(self, rows: int, error: str) -> None:
        """Counts history rows whose metrics kill the process that computes them."""
        self.faults.unmeasurable += rows
        self.notices.add(UNMEASURABLE, f"the process that computes them died {DEATHS} times: {shortened(error)}")

    def accepted(self, worker: int) -> None:
        """Notes a value that is in order."""
        if self._in_a_row:
            self._in_a_row.pop(worker, None)
        if self._deaths:
            self._deaths.pop(worker, None)

    def profile(self, worker: int) -> Profile:
        """Returns the shard of a worker and what goes with it, to do its work elsewhere."""
        return self._failure_policy.loads[self._actors[worker]].fetch()[worker]

    def final(self) -> Faults:
        """Returns the counts, with the workers that are missing at the end."""
        self.faults.missing = sorted(self.silent)
        return self.faults

    def _ask(self, actor: Any) -> None:
        outage = self._outages[actor]
        outage.call = actor.load.remote(self._failure_policy.loads[actor])
        outage.ask_at = time.monotonic() + ASK_EVERY

    def _is_loaded(self, actor: Any) -> bool:
        """Returns whether the ``load`` of an actor has returned. Asks again if it failed."""
        outage = self._outages[actor]
        if outage.call is not None:
            ready, _ = ray.wait([outage.call], timeout=0)
            if not ready:
                return False
            try:
                ray.get(outage.call)
                return True
            except ray.exceptions.RayError as error:
                if not is_loss(error):
                    raise WorkerFailed(f"{self._names([actor])} cannot load the shard again:\n{error}") from error
                outage.call = None
        if time.monotonic() >= outage.ask_at:
            self._ask(actor)
        return False

    def _give_up_if_hopeless(self, awaited: Sequence[int]) -> None:
        long_ago = time.monotonic() - self._failure_policy.grace
        gone = {actor for actor, outage in self._outages.items() if outage.since < long_ago}
        if self._failure_policy.waits_for:
            hopeless, missing = bool(gone), [worker for actor in self._outages for worker in self._members[actor]]
        else:
            hopeless = all(worker in self._given_up or self._actors[worker] in gone for worker in awaited)
            missing = list(awaited)
        if hopeless and missing:
            raise WorkerLost(
                f"no process for {_named(sorted(missing))}, for longer than {self._failure_policy.grace:g} s (grace), "
                f"and {self._why()}; last error: {self._last_errors[self._actors[missing[0]]]}"
            )

    def _why(self) -> str:
        method = self._failure_policy.waits_for
        if method:
            return f"{method} waits for every worker"
        return "no other worker is left" if len(self.silent) == self._workers else "no other worker has a task"

    def _names(self, actors: Sequence[Any]) -> str:
        return _named(sorted(worker for actor in actors for worker in self._members[actor]))


def _named(workers: Sequence[int]) -> str:
    shown = ", ".join(map(str, workers[:NAMED]))
    more = f" and {len(workers) - NAMED} others" if len(workers) > NAMED else ""
    return f"worker{'s' if len(workers) > 1 else ''} {shown}{more}"
