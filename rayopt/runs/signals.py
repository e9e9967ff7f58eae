"""Ctrl-C and SIGTERM: the current run ends cleanly and no record is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INSISTENCE = 3
"""The number of signals that abort even the writing of results."""


class Stoppable(Protocol):
    """What Ctrl-C can end."""

    def stop(self) -> None: ...


class SignalHandling:
    """Handles signals while an experiment runs.

    The first ends the running job cleanly. The second aborts it (KeyboardInterrupt). While results are written,
    after :meth:`shield`, one or two more are only noted.
    """

    def __init__(self) -> None:
        self._session: Stoppable | None = None
        self._before: dict[int, Any] = {}
        self._is_set = threading.Event()
        self._is_shielded = False
        self._while_shielded = 0

    def is_set(self) -> bool:
        """Returns whether a signal has arrived."""
        return self._is_set.is_set()

    def watch(self, session: Stoppable) -> None:
        """Installs the signal handlers, on the main thread only."""
        self._session = session
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._react) for number in SIGNALS}

    def shield(self) -> None:
        """Marks that workers are ending and results are being written."""
        self._is_shielded = True

    def release(self) -> None:
        """Restores the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _react(self, number: int, frame: Any) -> None:
        if self._is_shielded:
            self._is_set.set()
            self._while_shielded += 1
            if self._while_shielded >= INSISTENCE:
                raise KeyboardInterrupt
        elif self._is_set.is_set():
            raise KeyboardInterrupt
        else:
            self._is_set.set()
            if self._session is not None:
                self._session.stop()


@contextmanager
def deferred_signals(clean_up: Callable[[], None]) -> Iterator[None]:
    """Defers signals to the end of a block that must not be interrupted; the first then raises KeyboardInterrupt.

    Args:
      clean_up: called before that.
    """
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)

    on_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in SIGNALS} if on_main_thread else {}
    try:
        yield
    except SystemExit:
        # A handler that the block has installed.
        received.append(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            # Unless the block has installed another.
            if signal.getsignal(number) is note:
                signal.signal(number, handler)
    if received:
        clean_up()
        raise KeyboardInterrupt


@contextmanager
def signal_handling() -> Iterator[SignalHandling]:
    """Yields a :class:`SignalHandling`; the previous handlers are restored at the end of the block."""
    found = SignalHandling()
    try:
        yield found
    finally:
        found.release()


@contextmanager
def stop_on_interrupt(session: Stoppable) -> Iterator[SignalHandling]:
    """Makes the first Ctrl-C or SIGTERM end the running job cleanly; the second is a KeyboardInterrupt."""
    with signal_handling() as found:
        found.watch(session)
        yield found
