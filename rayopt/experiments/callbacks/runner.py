"""Calls the callbacks of an experiment, and keeps their errors away from its runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rayopt.core.errors import InvalidInput, first_line
from rayopt.methods.base import Method
from rayopt.runs.callbacks import Callback, FollowedRun, NewArrival, RunEvent, Watched
from rayopt.runs.outcome import BY_CALLBACK, Outcome


def checked_callbacks(given: Sequence[Any]) -> list[Callback]:
    """Returns the callbacks as a list.

    Raises:
      InvalidInput: one of them is none.
    """
    for position, callback in enumerate(given):
        if not isinstance(callback, Callback):
            raise InvalidInput(f"callbacks[{position}]", f"{callback!r} is not a callback",
                               "an object of a class derived from rayopt.callbacks.Callback")  # fmt: skip
    return list(given)


class CallbackRunner:
    """Calls callbacks in their order, of one run after the other.

    Args:
      callbacks: who follows; one that raises an error is dropped with a warning, unless it is strict.
      stop: ends the running job, given the reason that its outcome tells.
      folder: the run folder; None if nothing stays on disk.
    """

    def __init__(self, callbacks: Sequence[Callback], stop: Callable[[str], None], folder: Path | None) -> None:
        self._callbacks = list(callbacks)
        self._stop_session = stop
        self._folder = folder
        self._because = ""
        self._failure: Exception | None = None
        self._is_running = False

    @property
    def watched(self) -> Watched:
        """What they ask for of a run."""
        return Watched(
            rows=bool(self._callbacks),
            points=any(callback.wants_points for callback in self._callbacks),
            arrivals=any(callback.wants_arrivals for callback in self._callbacks),
        )

    def start(self, method: Method, label: str, seed: int, resumed: bool) -> None:
        """Tells that a run begins or goes on; raises what a strict callback raises."""
        self._because, self._failure = "", None
        parameters = {name: value for name, value in method.parameters.items() if name != "step_size"}
        self._run = FollowedRun(
            label, method.name, parameters, tuple(method.members()), seed, self._folder, resumed, self._end_run
        )
        self._call("on_start", self._run)
        self.check()
        self._is_running = True
        if self._because:
            self._stop_session(BY_CALLBACK)

    def event(self, event: RunEvent) -> None:
        """Tells of new rows or of an arrival."""
        if isinstance(event, NewArrival):
            self._call("on_arrival", self._run, event)
            return
        for member, row in enumerate(event.rows):
            x = None if event.x is None else event.x.reshape(-1, event.x.shape[-1])[member]
            self._call("on_row", self._run, row, x)

    def end(self, outcome: Outcome | None) -> None:
        """Tells that the run has ended, and the outcome why."""
        self._is_running = False
        if outcome is not None and outcome.ended_by == BY_CALLBACK:
            outcome.ended_because = self._because
        self._call("on_end", self._run, outcome)

    def check(self) -> None:
        """Raises what a strict callback has raised in this run."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _call(self, what: str, *about: Any) -> None:
        for callback in tuple(self._callbacks):
            if what == "on_arrival" and not callback.wants_arrivals:
                continue
            self._run.stop = partial(self._stop, callback)
            try:
                getattr(callback, what)(*about)
            except Exception as error:
                text = f"{type(callback).__name__}.{what} raised {type(error).__name__}: {first_line(error)}"
                if callback.strict:
                    self._failure = self._failure or error
                    self._end_run(text)
                    return
                self._callbacks.remove(callback)
                warnings.warn(f"{text}; the runs go on without it", UserWarning, stacklevel=4)

    def _stop(self, callback: Callback, reason: str) -> None:
        self._end_run(f"{type(callback).__name__}: {reason}")

    def _end_run(self, reason: str) -> None:
        self._because = self._because or reason
        # A request made between two runs would end the next one.
        if self._is_running:
            self._stop_session(BY_CALLBACK)
