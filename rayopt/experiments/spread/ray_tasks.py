"""Work spread over a Ray cluster: one task for each item, whose files travel to the program that started it."""

from __future__ import annotations

import math
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rayopt.core.errors import RayoptError, first_line
from rayopt.experiments.spread.pool import MOST_DEATHS, Found, Item, OnProgress, Order, Setting, Task, modules_of
from rayopt.runs.outcome import INTERRUPTED, Progress
from rayopt.storage.files import write_complete

LOOK_EVERY = 0.2
"""Real seconds between two looks of a task at what it has to tell, and of the driver at all tasks."""
COUNT_EVERY = 5.0
"""Real seconds between two looks at how many CPUs there are."""
ASK_EVERY = 0.5
"""Real seconds after which a task asks again whether it is to stop."""
KEPT = re.compile(r"checkpoint-\d+\.npz|trace-\d{6}\.parquet")
"""Complete files of an item's folder: the parts of a trace, and the checkpoints that count on them."""


class RayPool:
    """Executes items as Ray tasks, each on a CPU of its own, spread over the nodes; see :class:`.pool.Pool`.

    What the items share travels to each node once, through the object store. A task keeps its checkpoints and trace on
    its node, and sends what is complete to the folder of the item here: when its process or its node is lost, another
    task goes on from there.

    Args:
      setting: of all items.
      address: of the cluster; None for the one that RAY_ADDRESS or ``ray start`` made, else a local one.
      on_progress: called with the progress of each item.

    Raises:
      InvalidInput: the cluster cannot be reached.
    """

    def __init__(
        self, setting: Setting, address: str | None, on_progress: OnProgress = lambda position, progress: None
    ) -> None:
        import ray
        from ray import cloudpickle

        from rayopt.fleets.ray.connection import connect

        self._ray = ray
        self._owns_connection = connect(address)
        for module in modules_of(setting):
            cloudpickle.register_pickle_by_value(module)
        self._setting = setting
        self._on_progress = on_progress
        self._is_stopped = False
        self._counted_at = -math.inf

    def stop(self, reason: str = INTERRUPTED) -> None:
        """Ends all running items at their next arrival."""
        self._is_stopped = True

    def run(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Found | Exception]]:
        """See :class:`.pool.Pool`."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        make: Any = self._ray.remote
        # On the node of this program: no other that is lost takes it away.
        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        self._wish = make(num_cpus=0, enable_task_events=False, scheduling_strategy=here)(Wish).remote()
        self._shared = self._ray.put(self._setting)
        self._work = make(
            num_returns="streaming", max_retries=0, num_cpus=1, scheduling_strategy="SPREAD", enable_task_events=False
        )(work)
        self._deaths = dict.fromkeys(range(len(items)), 0)
        self._running: dict[Any, int] = {}
        try:
            yield from self._follow(task, items)
        finally:
            for stream in self._running:
                self._ray.cancel(stream, force=True)
            self._ray.kill(self._wish)
            if self._owns_connection:
                self._ray.shutdown()

    def _room(self) -> int:
        """Returns how many tasks can run at once; nodes may come and go."""
        if time.monotonic() >= self._counted_at + COUNT_EVERY:
            self._counted_at = time.monotonic()
            self._cpus = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        return self._cpus

    def _begin(self, task: Task, position: int, item: Item) -> None:
        files = {} if item.folder is None else complete_files(item.folder)
        self._running[self._work.remote([self._shared], task, item, files, self._wish)] = position

    def _follow(self, task: Task, items: Sequence[Item]) -> Iterator[tuple[int, Found | Exception]]:
        """Takes what tasks send until all have ended."""
        was_asked_to_stop = False
        order = Order(dict(enumerate(items)))
        while (order and not self._is_stopped) or self._running:
            # Not all at once: what has been timed says which of the others should not be the last.
            while order and not self._is_stopped and len(self._running) < self._room():
                position = order.next()
                self._begin(task, position, items[position])
            if self._is_stopped and not was_asked_to_stop:
                self._ray.get(self._wish.stop.remote())
                was_asked_to_stop = True
            streams: list[Any] = list(self._running)
            ready, _ = self._ray.wait(streams, timeout=LOOK_EVERY, num_returns=1)
            streams = list(ready)
            for stream in streams:
                position = self._running[stream]
                try:
                    message: Any = self._ray.get(next(stream))
                except StopIteration:
                    order.ended(self._running.pop(stream))
                except self._ray.exceptions.RayTaskError as error:
                    del self._running[stream]
                    yield position, error.cause if isinstance(error.cause, Exception) else error
                except self._ray.exceptions.RayError as error:
                    # Its process or its node is gone.
                    del self._running[stream]
                    self._deaths[position] += 1
                    if self._deaths[position] > MOST_DEATHS:
                        raise RayoptError(
                            f"processes died {self._deaths[position]} times over the same work ({first_line(error)})"
                        ) from None
                    if not self._is_stopped:
                        self._begin(task, position, items[position])
                else:
                    found = self._take(position, items[position], message)
                    if found is not None and found["problem"] != INTERRUPTED:
                        yield position, found

    def _take(self, position: int, item: Item, message: Any) -> Found | None:
        """Takes one message of a task; returns what came of the item, if it is that."""
        match message:
            case Progress():
                self._on_progress(position, message)
            case ("files", files, names):
                self._deaths[position] = 0
                assert item.folder is not None
                store(item.folder, files, names)
            case ("found", found):
                return dict(found)
        return None


class Wish:
    """The actor that tasks ask whether they are to end."""

    def __init__(self) -> None:
        self._is_to_stop = False

    def stop(self) -> None:
        """Makes it a wish."""
        self._is_to_stop = True

    def is_to_stop(self) -> bool:
        """Whether tasks are to end."""
        return self._is_to_stop


def work(shared: list[Any], task: Task, item: Item, files: dict[str, bytes], wish: Any) -> Iterator[Any]:
    """Executes one item on a node; yields its progress, its complete files, and in the end what came of it.

    Args:
      shared: a reference to the setting.
      task: what to do.
      item: with the folder that it has at the driver.
      files: what it has kept before, by name.
      wish: the actor that is asked whether to end.
    """
    import ray
    from threadpoolctl import threadpool_limits

    setting = ray.get(shared[0])
    with tempfile.TemporaryDirectory(prefix="rayopt-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        store(folder, files, list(files))
        sent = set(files)
        own = item if item.folder is None else item._replace(folder=folder)
        with threadpool_limits(1), setting.fleet.open(setting.problem, setting.workers) as session:
            running = Running(lambda tell: task(setting, session, own, tell))
            asked_at = time.monotonic()
            is_over = False
            while not is_over:
                is_over = running.wait(LOOK_EVERY)
                if item.folder is not None and (kept := set(complete_names(folder))) != sent:
                    yield "files", complete_files(folder, kept - sent), sorted(kept)
                    sent = kept
                if (progress := running.take_progress()) is not None:
                    yield progress
                if time.monotonic() >= asked_at + ASK_EVERY:
                    asked_at = time.monotonic()
                    if ray.get(wish.is_to_stop.remote()):
                        session.stop()
            yield "found", running.found()


class Running:
    """A function that runs in a thread, and the last progress that it has reported.

    Args:
      function: given what to tell progress to.
    """

    def __init__(self, function: Callable[[Callable[[Progress], None]], Found]) -> None:
        self._function = function
        self._found: Found | None = None
        self._error: BaseException | None = None
        self._progress: Progress | None = None
        self._is_over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def wait(self, timeout: float) -> bool:
        """Waits until it is over, at most so many seconds; returns whether it is."""
        return self._is_over.wait(timeout)

    def take_progress(self) -> Progress | None:
        """Returns the last progress that was reported since the last call; None if none was."""
        progress, self._progress = self._progress, None
        return progress

    def found(self) -> Found:
        """Returns what came of it, or raises what it has raised."""
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._function(self._tell)
        except BaseException as error:
            self._error = error
        finally:
            self._is_over.set()

    def _tell(self, progress: Progress) -> None:
        self._progress = progress


def complete_names(folder: Path) -> list[str]:
    """Returns the names of the complete files in a folder: no checkpoint without the parts that it counts on."""
    if not folder.is_dir():
        return []
    checkpoints = [path.name for path in folder.glob("checkpoint-*.npz")]
    # Looked for later: a part is complete before the checkpoint that counts on it.
    parts = [path.name for path in folder.glob("trace-*.parquet")]
    return sorted(name for name in (*checkpoints, *parts) if KEPT.fullmatch(name))


def complete_files(folder: Path, names: set[str] | None = None) -> dict[str, bytes]:
    """Returns the contents of complete files by name, of all or of those that are named."""
    found = {}
    for name in complete_names(folder):
        if names is None or name in names:
            try:
                found[name] = (folder / name).read_bytes()
            except FileNotFoundError:
                # An old checkpoint that went meanwhile.
                continue
    return found


def store(folder: Path, files: dict[str, bytes], names: Sequence[str]) -> None:
    """Writes files into a folder, the parts of a trace first, and removes those that are not named any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, reverse=True):
        write_complete(folder / name, partial(Path.write_bytes, data=files[name]))
    for name in set(complete_names(folder)) - set(names):
        (folder / name).unlink(missing_ok=True)
