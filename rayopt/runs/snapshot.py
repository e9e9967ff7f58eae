"""The state of one run between two events: of its method, its fleet and its recorder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from rayopt.core.arrivals import Source
from rayopt.core.errors import InvalidInput
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.runs.recorder import Recorder
from rayopt.storage.encoding import SIMPLE, Decoder, Encoded, Encoder

LEAST_SECONDS = 0.01


class KeptFleet(Protocol):
    """A fleet whose state can be kept."""

    def state(self) -> dict[str, Any]:
        """Returns what it must know to go on; arrays may be handed out that still change."""

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a state, in a fleet that was made with the same arguments and has not begun."""

    @property
    def source(self) -> Source:
        """Where arrivals take their values from."""


class Schedule(NamedTuple):
    """When checkpoints of a run are due, in real seconds.

    Attributes:
      first: from now on.
      every: from each to the next.
    """

    first: float
    every: float


def take(method: Method, fleet: KeptFleet, recorder: Recorder) -> Encoded:
    """Returns the state of a run; to be called between two events.

    It copies what may change and refers to the points of x, which never do: the training waits for milliseconds.

    Raises:
      InvalidInput: a method has an attribute that cannot be kept, which the error names.
    """
    encoder = Encoder()
    tree = {
        # The points of the tasks come first: what they share with the method needs no copy.
        "fleet": encoder.encode(fleet.state(), "fleet"),
        "method": encoder.encode(state_of(method), type(method).__name__),
        "recorder": encoder.encode(recorder.state(), "recorder"),
    }
    return Encoded(tree, encoder.arrays)


def offer(
    method: Method, fleet: KeptFleet, recorder: Recorder, on_checkpoint: Callable[[Encoded | InvalidInput], None]
) -> None:
    """Hands on the state of a run; if the method cannot be kept, hands on why, once, and the run goes on without."""
    try:
        on_checkpoint(take(method, fleet, recorder))
    except InvalidInput as error:
        recorder.on_checkpoint = None
        on_checkpoint(error)


def restore(snapshot: Encoded, method: Method, fleet: KeptFleet, recorder: Recorder) -> None:
    """Puts a run into the state that :func:`take` returned.

    Args:
      snapshot: what was kept.
      method: a fresh one with equal parameters.
      fleet: one that was made with equal arguments.
      recorder: one that was made with equal arguments.
    """
    decoder = Decoder(snapshot.arrays, fleet.source)
    fleet.restore(decoder.decode(snapshot.tree["fleet"]))
    vars(method).update(decoder.decode(snapshot.tree["method"]))
    recorder.resume(method, fleet, decoder.decode(snapshot.tree["recorder"]))  # type: ignore[arg-type]


def state_of(method: Method) -> dict[str, Any]:
    """Returns the attributes of a method, but for those that its constructor makes again.

    They are hashable values, such as a parsed formula, that equal those of a fresh method. A network is given again.
    """
    fresh = vars(method.fresh())
    return {
        name: value
        for name, value in vars(method).items()
        if not isinstance(value, Workers) and not _is_made_again(value, fresh.get(name))
    }


def _is_made_again(value: Any, fresh: Any) -> bool:
    if type(value) in SIMPLE or type(value) is not type(fresh) or not isinstance(value, Hashable):
        return False
    return bool(value == fresh)


@contextmanager
def asking_for_checkpoints(recorder: Recorder, schedule: Schedule | None) -> Iterator[None]:
    """Asks a recorder for a checkpoint whenever one is due, from a thread of its own."""
    if schedule is None:
        yield
        return
    over = threading.Event()

    def ask() -> None:
        seconds = schedule.first
        while not over.wait(max(seconds, LEAST_SECONDS)):
            recorder.ask_for_checkpoint()
            seconds = schedule.every

    thread = threading.Thread(target=ask, name="rayopt checkpoints", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
