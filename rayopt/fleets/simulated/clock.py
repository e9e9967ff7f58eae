"""The virtual clock: which worker's task ends next, known from arrays of all workers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop, heappush, merge
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.arrivals import Alarm, Arrival, ArrivalBlock, MessageArrival
from rayopt.core.errors import FleetStuck
from rayopt.core.keys import Stream
from rayopt.core.lookahead import BLOCK, Lookahead
from rayopt.core.tasks import Component, Gradient, Message, OneComponentEach
from rayopt.fleets.simulated.schedule import Answered, AnsweredArrival, AnsweredValues, Answers, Schedule, planned
from rayopt.fleets.simulated.values import ComputedValues
from rayopt.latency.workers import TaskTimes
from rayopt.methods.base import Method
from rayopt.problems.base import Problem

Array = NDArray[np.float64]
IDLE = -1.0
LAST = float(np.finfo(np.float64).max)
FIRST_SLICE = 64
# With more tasks than this that end within an open slice, a new one is cut.
LATE_LIMIT = 64
# Up to so many workers, a loop in Python is quicker than array operations.
SMALL = 16
# What is known of every worker, besides its task.
COLUMNS = ("ends", "given", "numbers", "assigned_at", "versions", "undrawn", "messages_left")
# A drawn duration may be below the least by its last bits.
MARGIN = 1e-9


class SimulatedWorkers:
    """The workers of one run in virtual time, and the clock.

    What runs is known from arrays alone: the end of every worker's task, infinite if there is none. The events of
    the near future, up to ``_horizon``, are cut out of that array in slices and sorted; a task that is given
    meanwhile and ends before the horizon goes to a small heap beside them. A cancelled event is one whose time is
    no longer the worker's end, so cancelling a thousand workers is one assignment to the array.

    Beyond the horizon an end may be a lower bound: the duration of a random task is drawn when a slice reaches the
    least end that it can have, as a draw is addressed and comes out the same at any time. A worker that is stopped
    before that was never drawn.

    Args:
      problem: split over the workers.
      times: how long tasks take.
      seed: addresses samples and the method's own generator.

    Attributes:
      cancelled: (workers, numbers, assigned_at, versions, components) of what was cancelled since the list was last
        cleared; components only if some task is about one, -1 for the others.
      source: where the values of arrivals come from: computed here, unless it is replaced before the first arrival.
    """

    def __init__(self, problem: Problem, times: TaskTimes, seed: int) -> None:
        self.n = n = times.n
        self.shard_sizes: NDArray[np.integer] | None = problem.shard_sizes
        self.now = 0.0
        self.random = Stream(seed, "method").generator()
        self.expected_times: Array | None = times.expected
        self.cancelled: list[tuple[Any, ...]] = []
        self.source = ComputedValues(problem, n, seed)
        self._problem = problem
        self._times = times
        self._next_durations = Lookahead(n, self._draw_durations, 1 if times.depends_on_start else BLOCK)
        self._fixed = None if times.fixed is None else times.fixed.data
        self._bounds: Array | None = None
        self._bounds_view: Any = None
        if _bounds_tell(times):
            self.defer_draws(times.least)
        self._ended_seconds = 0.0
        self._giving_up: set[int] = set()
        self._chooses = False
        # Scalars are read and written through views, cohorts through the arrays below them.
        self._ends = np.full(n, math.inf)
        self._given = np.zeros(n, dtype=np.int64)
        self._numbers = np.zeros(n, dtype=np.int64)
        self._assigned_at = np.full(n, IDLE)
        # Of a cohort about one component each, the tasks are one prototype, and the components stand beside.
        self._tasks = np.empty(n, dtype=object)
        self._components = np.full(n, -1)
        self._versions = np.zeros(n, dtype=np.int64)
        self._undrawn = np.zeros(n, dtype=bool)
        # Of a reply of several messages, those after the one that is due.
        self._messages_left = np.zeros(n, dtype=np.int64)
        self._messages_left_view = self._messages_left.data
        self._sends_several = False
        self._gaps_are_of: Any = self
        self._gaps: Any = None
        self._everyone = np.arange(n)
        self._ends_view: Any = self._ends.data
        self._given_view = self._given.data
        self._numbers_view = self._numbers.data
        self._assigned_at_view: Any = self._assigned_at.data
        self._versions_view = self._versions.data
        self._components_view = self._components.data
        self._undrawn_view = self._undrawn.data
        self._slice: list[tuple[float, int]] = []
        self._late: list[tuple[float, int]] = []
        self._horizon = -math.inf
        self._slice_size = FIRST_SLICE
        self._alarms: list[tuple[float, int, float]] = []
        self._next_alarm = math.inf
        # Arrivals as they come if nothing else is done, of which the first ones have been taken.
        self._planned: Schedule | None = None
        self._taken = 0

    def defer_draws(self, least: Array) -> None:
        """Lets durations of which these are the least ones, shape (n,), be drawn only when tasks may end."""
        self._bounds = least * (1 - MARGIN)
        self._bounds_view = self._bounds.data

    @property
    def busy_seconds(self) -> float:
        """Worker-seconds of all tasks, those that still run up to now."""
        return self._ended_seconds + float((self.now - self._assigned_at[self._assigned_at != IDLE]).sum())

    @property
    def busy(self) -> int:
        """Number of workers that have a task."""
        return int(np.count_nonzero(self._assigned_at != IDLE))

    @property
    def is_stuck(self) -> bool:
        """Whether nothing will ever arrive."""
        if self._alarms or (np.isfinite(self._ends) & ~self._undrawn).any():
            return False
        self._draw(self._everyone)
        return bool(np.isinf(self._ends).all())

    def state(self) -> dict[str, Any]:
        """Returns what the fleet must know to go on (see ``rayopt.runs.snapshot``).

        The near future is not part of it: it is cut out of the ends again.
        """
        is_busy = (self._assigned_at != IDLE).tolist()
        return {
            "now": self.now,
            "random": self.random,
            "tasks": [self._task(worker) if busy else None for worker, busy in enumerate(is_busy)],
            "giving_up": sorted(self._giving_up),
            "alarms": self._alarms,
            "ended_seconds": self._ended_seconds,
            "values": self.source.state(),
            **{name: getattr(self, f"_{name}") for name in COLUMNS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state` returned."""
        self.now = state["now"]
        self.random = state["random"]
        self._tasks[:] = state["tasks"]
        self._giving_up = set(state["giving_up"])
        self._components[:] = [-1 if task is None else task.component for task in state["tasks"]]
        self._chooses = bool((self._components >= 0).any())
        self._sends_several = any(task is not None and task.messages > 1 for task in state["tasks"])
        self._alarms = state["alarms"]
        self._next_alarm = self._alarms[0][0] if self._alarms else math.inf
        self._ended_seconds = state["ended_seconds"]
        self.source.restore(state.get("values") or {})
        for name in COLUMNS:
            # In place: scalars are read through views of these arrays.
            getattr(self, f"_{name}")[:] = state[name]

    def assign(self, workers: int | NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        """Starts the task on one worker or on an array of workers (or one task each); cancels what they computed."""
        if type(workers) is not int:
            self._assign_many(np.atleast_1d(np.asarray(workers)), task)
            return
        worker: int = workers
        if self._assigned_at_view[worker] != IDLE:
            self._note_stopped(np.array([worker]))
            self._undrawn_view[worker] = False
        own: Any = task
        kind = type(own)
        if kind is not Gradient:
            component = own.component
            if component >= 0:
                self._chooses = True
            self._components_view[worker] = component
            if self._sends_several or own.messages > 1:
                self._sends_several = True
                self._messages_left_view[worker] = own.messages - 1
        elif self._chooses:
            self._components_view[worker] = -1
        number = self._given_view[worker]
        now = self.now
        if (kind is not Gradient and kind is not Component) or own.cost != 1:
            time: float = now + self._seconds(own, worker, number)
        elif self._fixed is not None:
            time = now + self._fixed[worker]
        elif self._bounds is not None and (time := now + self._bounds_view[worker]) > self._horizon:
            self._undrawn_view[worker] = True
        else:
            time = now + self._next_durations.get(worker, number)
        self._given_view[worker] = number + own.draws
        self._numbers_view[worker] = number
        self._ends_view[worker] = time
        self._assigned_at_view[worker] = now
        self._tasks[worker] = own
        self._versions_view[worker] = own.version
        if time <= self._horizon:
            heappush(self._late, (time, worker))

    def cancel(self, workers: int | NDArray[np.integer]) -> None:
        """Stops the workers; they are idle until the next ``assign``."""
        stopped = self._note_stopped(np.atleast_1d(np.asarray(workers)))
        if stopped.size:
            self._assigned_at[stopped] = IDLE
            self._ends[stopped] = math.inf
            self._undrawn[stopped] = False

    def probability_within(self, seconds: Array) -> Array | None:
        """Returns the probability that a gradient of each worker takes at most ``seconds``, both of shape (n,)."""
        return self._times.probability_within(seconds)

    def expected_parts(self, compressor: Any) -> tuple[Array, Array] | None:
        """Returns the mean seconds of one gradient and of one message of each worker; None if they are not known."""
        return self._times.expected_parts(compressor)

    def wake(self, seconds: float) -> None:
        """Asks for an :class:`Alarm` after so many seconds, behind the arrivals of the same time."""
        heappush(self._alarms, (self.now + seconds, len(self._alarms), self.now))
        self._next_alarm = self._alarms[0][0]

    def wait(self, until: float = math.inf) -> Arrival | None:
        """Returns the next arrival in order, or None with ``now = until``; an arrival at exactly ``until`` counts.

        Raises:
          FleetStuck: nothing will ever arrive, and ``until`` is infinite.
        """
        ends, late, events = self._ends_view, self._late, self._slice
        limit = until if until < self._next_alarm else self._next_alarm
        while True:
            if late and (not events or late[0] < events[-1]):
                event = heappop(late)
            elif events:
                event = events.pop()
            elif self._open_slice():
                events = self._slice
                continue
            else:
                break
            time, worker = event
            if time > limit:
                heappush(late, event)
                break
            if ends[worker] == time:
                self.now = time
                self._planned = None
                if self._sends_several and (task := self._tasks[worker]).messages > 1:
                    return self._next_message(task, worker, time)
                ends[worker] = math.inf
                assigned_at = self._assigned_at_view[worker]
                self._assigned_at_view[worker] = IDLE
                self._ended_seconds += time - assigned_at
                number = self._numbers_view[worker]
                task = self._task(worker) if self._chooses else self._tasks[worker]
                arrival = Arrival(worker, time, assigned_at, task, number, self.source)
                if self._giving_up and worker in self._giving_up:
                    self._giving_up.remove(worker)
                    arrival.ok = False
                return arrival
        if self._alarms and self._next_alarm <= until:
            return self._ring()
        if until == math.inf:
            raise FleetStuck(self.now, self.busy, self.n - self.busy)
        self.now = until
        return None

    def schedule(self, most: int, until: float, ahead: int = 0) -> Schedule | None:
        """Returns the next arrivals, if each of their workers begins one stochastic gradient more at once.

        Args:
          most: how many arrivals at most.
          until: no arrival after this time.
          ahead: how many arrivals to plan for, as far as it is known that the next ones are like these.

        Returns:
          None if there is none, or if some task is of another kind.
        """
        if self._giving_up or self._sends_several or self._chooses:
            return None
        if self._planned is None or self._taken == len(self._planned.times):
            self._planned, self._taken = self._plan(max(most, ahead)), 0
        if self._planned is None:
            return None
        times = self._planned.times
        last = min(self._taken + most, int(np.searchsorted(times, min(until, self._next_alarm), side="right")))
        return None if last <= self._taken else self._planned.part(self._taken, last)

    def _plan(self, most: int) -> Schedule | None:
        horizon = self._plan_horizon(most)
        chosen = np.flatnonzero(self._ends <= horizon)
        self._draw(chosen)
        chosen = chosen[self._ends[chosen] <= horizon]
        if not chosen.size:
            return None
        first = self._ends[chosen], self._assigned_at[chosen], self._numbers[chosen], self._given[chosen]
        # Fixed times cost nothing to look at.
        deep = 4 if self._times.fixed is not None else 0 if self._times.depends_on_start else 1
        return planned(chosen, horizon, first, self._unit_seconds, deep, most)

    def repeat(self, task: Gradient, most: int, until: float) -> ArrivalBlock | None:
        """Takes the next arrivals in order, each of whose workers is given ``task`` again: what single events do.

        Args:
          task: a plain stochastic gradient.
          most: how many arrivals at most.
          until: no arrival after this time.

        Returns:
          None if there is none, or if some task is of another kind.
        """
        if type(task) is not Gradient or task.count != 1 or (part := self.schedule(most, until)) is None:
            return None
        versions = np.where(part.previous < 0, self._versions[part.workers], task.version)
        self._tasks[part.workers] = task
        self._advance(part, task.version)
        return ArrivalBlock(part.times, part.workers, part.numbers, part.assigned_at, versions)

    def deliver(self, part: Schedule, method: Method) -> Answered:
        """Lets a method receive the arrivals of a schedule one after the other, each of which it answers.

        Args:
          part: what :meth:`schedule` returned.
          method: answers each arrival by one plain stochastic gradient for its worker, and does nothing else.
        """
        tasks, receive, follows_time = self._tasks, method.receive, method.follows_time
        source = AnsweredValues(part, self._problem, self.source)
        answers: Any = Answers(self, tasks)
        used, after = [], [method.updates]
        for position, (time, worker) in enumerate(zip(part.times.tolist(), part.workers.tolist(), strict=True)):
            arrival = AnsweredArrival(worker, time, tasks[worker], source, position)
            if follows_time:
                method.now = time
            receive(arrival, answers)
            used.append(arrival.used)
            after.append(method.updates)
        updates = np.array(after)
        began_at = updates[np.maximum(part.previous, -1) + 1]
        versions = np.where(part.previous < 0, self._versions[part.workers], began_at)
        self._advance(part, updates[1:])
        block = ArrivalBlock(part.times, part.workers, part.numbers, part.assigned_at, versions)
        return Answered(block, np.array(used), updates[:-1], updates[1:])

    def _advance(self, part: Schedule, versions: Any) -> None:
        """Moves the clock behind the next arrivals; the tasks that their workers were given have these versions."""
        self.now = float(part.times[-1])
        # One after the other, as single events add them.
        spent = np.concatenate([[self._ended_seconds], part.times - part.assigned_at])
        self._ended_seconds = float(np.add.accumulate(spent)[-1])
        # Of several arrivals of one worker the last one counts.
        workers = part.workers
        self._ends[workers] = part.next_ends
        self._assigned_at[workers] = part.times
        self._numbers[workers] = part.next_numbers
        self._given[workers] = part.next_numbers + 1
        self._versions[workers] = versions
        self._taken += len(workers)
        self._close_slice()

    def _plan_horizon(self, most: int) -> float:
        """Returns a time up to which there are some arrivals, and not many more than ``most``."""
        nth = min(most, self.n)
        while True:
            horizon = min(float(np.partition(self._ends, nth - 1)[nth - 1]), LAST)
            if nth == 1 or self.expected_times is None:
                break
            left = (horizon - self._ends) / self.expected_times
            if float(left[left > 0].sum()) <= 4 * most:
                break
            nth = -(-nth // 4)
        if self.n < most and self.expected_times is not None:
            with np.errstate(divide="ignore"):
                rate = float((1.0 / self.expected_times[np.isfinite(self._ends)]).sum())
            if 0 < rate < math.inf:
                horizon = max(horizon, self.now + most / rate)
        return horizon

    def _unit_seconds(self, workers: NDArray[np.integer], numbers: NDArray[np.integer], starts: Any) -> Array:
        """Returns the durations of tasks of cost 1, shape (m,)."""
        if self._times.fixed is not None:
            return self._times.fixed[workers]
        return self._times.durations(workers, numbers, starts, 1)

    def _next_message(self, task: Gradient, worker: int, time: float) -> Arrival:
        """Returns the message that is due, and lets the next one of the task follow it."""
        number, assigned_at = self._numbers_view[worker], self._assigned_at_view[worker]
        left = self._messages_left_view[worker]
        message = task.messages - 1 - left
        if left:
            self._messages_left_view[worker] = left - 1
            if task.compressor is not self._gaps_are_of:
                gaps = self._times.message_gaps(task)
                self._gaps_are_of, self._gaps = task.compressor, None if gaps is None else gaps.data
            if self._gaps is None:
                following = time + self._times.message_seconds(task, worker, number, message + 1, time)
            else:
                following = time + self._gaps[worker]
            self._ends_view[worker] = following
            if following <= self._horizon:
                heappush(self._late, (following, worker))
        else:
            self._ends_view[worker] = math.inf
            self._assigned_at_view[worker] = IDLE
            self._ended_seconds += time - assigned_at
        return MessageArrival(worker, time, assigned_at, task, number, self.source, message, not left)

    def upcoming(self, count: int) -> list[tuple[Gradient, int, int]]:
        """Returns (task, worker, number) of the next tasks to end with a value, in order, ``count`` at most.

        They may be cancelled yet, and new ones may end before them. Beyond the slice, tasks whose duration was put off
        stand where they end at the soonest.
        """
        ends = self._ends_view
        near = merge(reversed(self._slice), sorted(self._late))
        workers = list(islice((worker for time, worker in near if ends[worker] == time), count))
        if len(workers) < count:
            beyond = np.flatnonzero((self._ends > self._horizon) & np.isfinite(self._ends))
            order = np.argsort(self._ends[beyond], kind="stable")[: count - len(workers)]
            workers += beyond[order].tolist()
        return [
            (self._task(worker), worker, self._numbers_view[worker])
            for worker in workers
            if worker not in self._giving_up
        ]

    def _task(self, worker: int) -> Gradient:
        """Returns the task of a worker that is busy."""
        task: Gradient = self._tasks[worker]
        if isinstance(task, Component) and task.indices is None:
            return task.of(self._components_view[worker])
        return task

    def _assign_many(self, workers: NDArray[np.integer], task: Gradient | Sequence[Gradient]) -> None:
        if isinstance(task, Gradient):
            if len(workers) > SMALL and task.draws == 1 and task.time_limit == math.inf and type(task) is not Message:
                self._assign_cohort(workers, task)
                return
            task = [task] * len(workers)
        elif len(workers) > SMALL and isinstance(task, OneComponentEach):
            self._assign_cohort(workers, task.prototype, task.indices)
            return
        self.cancel(workers)
        if len(workers) == self.n:
            self._close_slice()
        for worker, own in zip(workers.tolist(), task, strict=True):
            self.assign(worker, own)

    def _seconds(self, task: Gradient, worker: int, number: int) -> float:
        """Returns how long a task of any kind keeps its worker busy, and notes if the worker will give up."""
        if task.cost == 1 and not self._times.depends_on_start and type(task) is not Message:
            seconds = 0.0
            for position in range(task.draws):
                seconds += self._next_durations.get(worker, number + position)
        else:
            seconds = self._times.seconds(task, worker, number, self.now)
        if seconds > task.time_limit:
            self._giving_up.add(worker)
            return task.time_limit
        return seconds

    def _assign_cohort(
        self, workers: NDArray[np.integer], task: Gradient, components: NDArray[np.integer] | None = None
    ) -> None:
        """Starts one task on all of them, about one component each if some are given."""
        self._note_stopped(workers)
        chosen: Any = workers
        if len(workers) == self.n and (components is None or np.array_equal(workers, self._everyone)):
            workers, chosen = self._everyone, slice(None)
        numbers = self._given[chosen]
        is_unit = task.cost == 1
        is_deferred = False
        if is_unit and self._times.fixed is not None:
            ends = self.now + self._times.fixed[chosen]
        elif is_unit and self._bounds is not None:
            ends = self.now + self._bounds[chosen]
            is_deferred = True
        else:
            ends = self.now + self._times.durations(workers, numbers, self.now, task.cost)
        self._numbers[chosen] = numbers
        self._given[chosen] = numbers + 1
        self._ends[chosen] = ends
        self._undrawn[chosen] = is_deferred
        self._assigned_at[chosen] = self.now
        self._tasks[chosen] = task
        self._versions[chosen] = task.version
        if components is not None:
            self._components[chosen] = components
            self._chooses = True
        elif self._chooses:
            self._components[chosen] = task.component
        self._admit(workers, ends)

    def _admit(self, workers: NDArray[np.integer], ends: Array) -> None:
        """Lets tasks just given, with these ends or lower bounds of them, into the near future."""
        early = workers[ends <= self._horizon]
        if len(workers) == self.n or len(early) > LATE_LIMIT:
            self._close_slice()
        elif early.size:
            self._draw(early)
            for event in zip(self._ends[early].tolist(), early.tolist(), strict=True):
                if event[0] <= self._horizon:
                    heappush(self._late, event)

    def _draw(self, workers: NDArray[np.integer]) -> None:
        """Draws the durations that were put off, of these workers."""
        undrawn = workers[self._undrawn[workers]]
        if undrawn.size:
            starts = self._assigned_at[undrawn]
            self._ends[undrawn] = starts + self._times.durations(undrawn, self._numbers[undrawn], starts, 1)
            self._undrawn[undrawn] = False

    def _close_slice(self) -> None:
        """Forgets the near future: most of it is cancelled or out of date. The next slice is a small one."""
        self._slice.clear()
        self._late.clear()
        self._horizon, self._slice_size = -math.inf, FIRST_SLICE

    def _open_slice(self) -> bool:
        """Cuts the next events out of the ends and sorts them; returns False if there are none."""
        ends = self._ends
        while True:
            size = self._slice_size
            horizon = min(np.partition(ends, size)[size], LAST) if size < self.n else LAST
            # Events at the horizon stay together, so that ties go by worker.
            workers = np.flatnonzero(ends <= horizon)
            if not workers.size:
                return False
            self._slice_size = min(4 * size, max(FIRST_SLICE, self.n // 4))
            self._draw(workers)
            times = ends[workers]
            order = np.argsort(times, kind="stable")
            order = order[: np.searchsorted(times, horizon, side="right", sorter=order)][::-1]
            # Empty if all of these were lower bounds whose true ends lie beyond: look further.
            if order.size:
                self._slice = list(zip(times[order].tolist(), workers[order].tolist(), strict=True))
                self._horizon = self._slice[0][0]
                return True

    def _ring(self) -> Alarm:
        time, _, set_at = heappop(self._alarms)
        self._next_alarm = self._alarms[0][0] if self._alarms else math.inf
        self.now = time
        self._planned = None
        return Alarm(time, set_at)

    def _note_stopped(self, workers: NDArray[np.integer]) -> NDArray[np.integer]:
        """Records what is cancelled on these workers; returns those that had a task."""
        assigned_at = self._assigned_at[workers]
        busy = assigned_at != IDLE
        stopped, assigned_at = workers[busy], assigned_at[busy]
        if stopped.size:
            cancelled = (stopped, self._numbers[stopped], assigned_at, self._versions[stopped])
            self.cancelled.append((*cancelled, self._components[stopped]) if self._chooses else cancelled)
            self._ended_seconds += self.now * stopped.size - float(assigned_at.sum())
            if self._giving_up:
                self._giving_up.difference_update(stopped.tolist())
        return stopped

    def _draw_durations(self, worker: int, first: int, size: int) -> Sequence[float]:
        """Returns the durations of a worker's next tasks of cost 1."""
        if size == 1:
            return [self._times.duration(worker, first, self.now, 1)]
        workers, numbers = np.full(size, worker), np.arange(first, first + size)
        return self._times.durations(workers, numbers, self.now, 1).tolist()


def _bounds_tell(times: TaskTimes) -> bool:
    """Whether most workers cannot have ended when the first ones have, so that their draws can wait."""
    if times.n <= FIRST_SLICE or times.expected is None:
        return False
    first = np.partition(times.expected, FIRST_SLICE)[FIRST_SLICE]
    return int(np.count_nonzero(times.least <= first)) <= times.n // 4
