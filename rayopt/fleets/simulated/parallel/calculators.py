"""Actors that compute values for the virtual clock, side by side."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from threadpoolctl import ThreadpoolController, threadpool_info

from rayopt.core.arrivals import Array
from rayopt.core.errors import InvalidInput
from rayopt.core.tasks import Gradient
from rayopt.fleets.ray.event_log import CALCULATOR_LOST, EventLog
from rayopt.fleets.ray.failures import WorkerLost
from rayopt.fleets.ray.nodes import Node, alive_nodes
from rayopt.fleets.ray.shard_loading import ship_modules
from rayopt.fleets.simulated.parallel.channels import Channel, ChannelListener, PendingReply, serve
from rayopt.fleets.simulated.values import ComputedValues, Group
from rayopt.problems.base import Problem
from rayopt.runs.logs import LOGGER

RETRIES = 3
"""So often a value is computed anew when its process died; a task that kills its process every time is an error."""
EARLY_RETRIES = 30
"""So often a process may die before it has the problem: something else kills it, and a new one takes seconds."""

CLOSE_SECONDS = 2.0
"""Real seconds that the end waits for what is still computed."""

STOP_SECONDS = 1.0
"""Real seconds to wait for a reply after asking an actor to stop."""

LOOK_EVERY = 0.05
"""Real seconds between two checks for new connections and for a stop."""

LOOPBACK = "127.0.0.1"


class Assignment(NamedTuple):
    """What a calculator must know of a run; one that is new, too.

    Attributes:
      problem: reference to a list with the problem, split over the workers.
      workers: how many there are.
      seed: addresses the samples.
      threads: by the file name of a library (NumPy and SciPy bring an OpenBLAS each), how many threads it has in the
        driver: a product in more or fewer parts may have other bits.
    """

    problem: Any
    workers: int
    seed: int
    threads: Mapping[str, int]


class Question(NamedTuple):
    """What a calculator is asked: the weighted sum of what a group's tasks bring, or what a single task brings.

    Attributes:
      task: one of the group; its point is None if that is the one of the question before.
      workers: of the tasks, shape (m,); of a single task the worker.
      numbers: of the tasks, shape (m,); of a single task the number.
      weights: in the sum, shape (m,); None for a single task.
    """

    task: Gradient
    workers: Any
    numbers: Any
    weights: Array | None = None


class Stopped(Exception):
    """Somebody asked for the end, and the answer would take longer."""


class Calculator:
    """The actor: computes values one after the other, the same bits as the driver would."""

    def __init__(self) -> None:
        self._assignment: Assignment | None = None

    def serve(self, assignment: Assignment, place: Any, number: int) -> str:
        """Answers what the driver asks of a run, until it ends the line; returns why it cannot, or "".

        Args:
          assignment: of the run.
          place: of the driver's exchange.
          number: of this actor.
        """
        return serve(place, number, partial(self._answer, assignment))

    def _answer(self, assignment: Assignment, question: Question | None) -> Array | None:
        """Returns the answer to a question; without one, nothing, when the problem is there."""
        self._load(assignment)
        if question is None:
            return None
        task, workers, numbers, weights = question
        if task.x is None:
            task = task.at(self._x)
        self._x = task.x
        with np.errstate(over="ignore", invalid="ignore"):
            if weights is None:
                return self._values.value_of(task, workers, numbers)
            return self._values.sum_of_group(task, workers, numbers, weights)

    def _load(self, assignment: Assignment) -> None:
        """Fetches the problem, if it is another one than before."""
        if assignment != self._assignment:
            (problem,) = ray.get(assignment.problem)
            # After the problem has come: it brings its libraries along.
            for library in ThreadpoolController().lib_controllers:
                if (threads := assignment.threads.get(Path(library.filepath).name)) is not None:
                    library.set_num_threads(threads)
            self._values = ComputedValues(problem, assignment.workers, assignment.seed)
            self._assignment = assignment


class Calculators:
    """Some calculators; a request goes to the one that has the fewest.

    Args:
      count: how many processes.

    Attributes:
      losses: how often one of them died.
    """

    def __init__(self, count: int) -> None:
        make: Any = ray.remote
        self._actor = make(num_cpus=0, enable_task_events=False, max_restarts=-1, max_task_retries=-1)(Calculator)
        self.actors: list[Any] = [self._start(node) for node in distribute(count, alive_nodes())]
        self._exchange: ChannelListener | None = None
        self._channels: list[Channel] = []
        self._serving: list[Any] = []
        self._notices = EventLog()
        self._give_up_at = math.inf
        self.losses = 0

    def load(self, problem: Problem, workers: int, seed: int) -> None:
        """Gives all calculators a run's problem, split over the workers, and waits until they have it.

        Raises:
          InvalidInput: what the processes say would cross a network in the clear, and Ray is asked for encryption.
          Stopped: the run was asked to end.
          WorkerLost: a process died over it again and again.
        """
        self._end_channels()
        ship_modules(problem)
        threads = {Path(library["filepath"]).name: library["num_threads"] for library in threadpool_info()}
        self._assignment = Assignment(ray.put([problem]), workers, seed, threads)
        self._exchange = ChannelListener(_host())
        self._channels = [Channel(_without_known_point, self._count_loss) for _ in self.actors]
        self._serving = [self._serve(number) for number in range(len(self.actors))]
        for answer in [line.ask(None) for line in self._channels]:
            self.collect(answer)

    def value(self, task: Gradient, worker: int, number: int) -> PendingReply:
        """Has a value computed; returns the answer, to be collected."""
        return self._least_busy().ask(Question(task, worker, number))

    def sum_of_group(self, group: Group) -> PendingReply:
        """Has the sum of a group computed; returns the answer, to be collected."""
        return self._least_busy().ask(Question(*group))

    def collect(self, answer: PendingReply) -> Any:
        """Waits for a reply and returns its content.

        Raises:
          Stopped: the run was asked to end.
          WorkerLost: the process died, and did so again when the work was repeated.
          Exception: what the problem raised.
        """
        while not answer.is_here:
            if time.monotonic() >= self._give_up_at:
                raise Stopped
            self._receive(LOOK_EVERY)
        return answer.get()

    def stop(self) -> None:
        """Makes whoever waits for an answer give up soon; may be called from a signal handler."""
        self._give_up_at = min(self._give_up_at, time.monotonic() + STOP_SECONDS)

    def go_on(self) -> None:
        """Makes them wait again."""
        self._give_up_at = math.inf

    def close(self) -> None:
        """Ends the processes; what is computed in vain may end before, as Ray would complain of its loss."""
        self._end_channels()
        if self._serving:
            ray.wait(self._serving, num_returns=len(self._serving), timeout=CLOSE_SECONDS)
        for actor in self.actors:
            ray.kill(actor)

    def _start(self, node: str) -> Any:
        # A hard constraint: Ray honours a soft one only now and then for actors that need no CPU.
        return self._actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()

    def _serve(self, number: int) -> Any:
        assert self._exchange is not None
        return self.actors[number].serve.remote(self._assignment, self._exchange.place, number)

    def _end_channels(self) -> None:
        """Ends the lines of a run; an actor that would still call in for it finds nobody."""
        for line in self._channels:
            line.close()
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    def _least_busy(self) -> Channel:
        self._receive(0)
        return min(self._channels, key=lambda line: len(line.waiting))

    def _receive(self, timeout: float) -> None:
        """Takes what has come; waits for it so many seconds at most."""
        assert self._exchange is not None
        # Of several processes that started while nobody looked, the last is alive.
        for number, connection in dict(self._exchange.calls()).items():
            self._channels[number].open(connection)
        for number, line in enumerate(self._channels):
            if line.losses > RETRIES:
                raise WorkerLost(f"a process that computes gradients died {line.losses} times over the same work")
            if line.early_losses > EARLY_RETRIES:
                raise WorkerLost(f"a process that computes gradients died {line.early_losses} times before it began")
            if line.connection is None:
                self._call_again(number)
        lines: dict[Any, Channel] = {line.connection: line for line in self._channels if line.connection is not None}
        for ready in wait(list(lines), timeout):
            lines[ready].receive()

    def _count_loss(self) -> None:
        self.losses += 1
        self._notices.add(CALCULATOR_LOST, "Ray starts another one, and it is asked again")
        for level, text in self._notices.take():
            LOGGER.log(level, text)

    def _call_again(self, number: int) -> None:
        """Has an actor call in again that has ended its side of the line, or another one whose node is lost.

        For one whose process died alone, Ray does so.
        """
        ended, _ = ray.wait([self._serving[number]], timeout=0)
        if ended:
            try:
                (why_not,) = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                raise (error.cause or error) from error
            except ray.exceptions.RayError:
                self._channels[number].losses += 1
                (node,) = distribute(1, alive_nodes())
                self.actors[number] = self._start(node)
            else:
                if why_not:
                    raise WorkerLost(why_not)
            self._serving[number] = self._serve(number)


def distribute(count: int, nodes: Sequence[Node]) -> list[str]:
    """Returns the nodes of so many processes that compute all the time, in proportion to their CPUs."""
    taken = Counter[str]()
    for _ in range(count):
        taken[max(nodes, key=lambda node: node.resources.get("CPU", 0) / (taken[node.id] + 1)).id] += 1
    return list(taken.elements())


def _without_known_point(question: Question | None, before: Question | None) -> Question | None:
    """Returns a question without its point, if the one before it was asked at the same."""
    if question is None or before is None or question.task.x is not before.task.x:
        return question
    return question._replace(task=question.task.at(None))


def _host() -> str:
    """Returns where this process listens: on loopback, if the cluster is this machine alone."""
    here = ray.util.get_node_ip_address()
    if all(node.address == here for node in alive_nodes()):
        return LOOPBACK
    if os.environ.get("RAY_USE_TLS", "0") == "1":
        raise InvalidInput(
            "fleet.gradients", "'ray' on several machines, whose messages are not encrypted, with RAY_USE_TLS=1",
            "a cluster of one machine, or a network that needs no encryption",
        )  # fmt: skip
    return here
