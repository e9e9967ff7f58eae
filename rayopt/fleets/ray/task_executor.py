"""Executes one order: draws its duration, computes, and checks the value."""

from __future__ import annotations

import contextlib
import math
import time
import traceback
from typing import Any

import numpy as np

from rayopt.compression import Kept
from rayopt.compression.draws import Draws
from rayopt.core.keys import Stream
from rayopt.core.tasks import Forward, Gradient, Message
from rayopt.fleets.ray.messages import Order, Profile

SANE = 1e9
"""From a coordinate of x beyond this on, a method has diverged, and overflow is not the worker's fault."""


class Cancelled(Exception):
    """The task was superseded while it was computed."""


class GaveUp(Exception):
    """The task took longer than its time limit, which only a measured one finds out by itself."""


class TaskExecutor:
    """The work on one shard."""

    def load(self, profile: Profile, shares_clock: bool, warm_up: bool = True) -> None:
        """Takes a shard, durations and a seed; computes one gradient if it is to warm up."""
        self._profile = profile
        self._samples = Stream(profile.seed, "sample")
        self._draws = Draws(profile.seed)
        self._kept: tuple[int, Any] = (-1, None)
        self._stayed: tuple[int, dict[int, Any]] = (-1, {})
        self._shifts: dict[int, Any] = {}
        self._means: dict[int, Any] = {}
        # Clocks of two machines cannot be compared: there a task is due after its receipt.
        self._shares_clock = shares_clock
        if not warm_up:
            return
        # What only the first gradient pays (imports, threads of BLAS) is paid before the clock starts; an error
        # of the problem is reported when a task runs into it.
        with contextlib.suppress(Exception), np.errstate(over="ignore", invalid="ignore"):
            profile.shard.gradient(profile.shard.start_point(), profile.shard.draw(0, 0))

    @property
    def time_scale(self) -> float:
        """Real seconds per fleet second."""
        return self._profile.time_scale

    def due_at(self, order: Order) -> tuple[float, bool]:
        """Returns when the order's emulated time is over, on this machine's monotonic clock, and if it is in time."""
        assert order.task is not None
        profile = self._profile
        times, task = profile.times, order.task
        if order.message:
            seconds = times.message_seconds(task, order.worker, order.number, order.message, order.assigned_at)
            started_at = order.sent_at if self._shares_clock else time.monotonic()
            return started_at + seconds * profile.time_scale, True
        seconds = times.seconds(task, order.worker, order.number, order.assigned_at)
        in_time = seconds <= order.task.time_limit
        started_at = order.sent_at if self._shares_clock else time.monotonic()
        return started_at + min(seconds, order.task.time_limit) * profile.time_scale, in_time

    def gives_up_at(self, order: Order) -> float:
        """Returns when a task that starts now has taken too long, on this machine's monotonic clock.

        It is never where times are emulated: then :meth:`due_at` knows it beforehand.
        """
        assert order.task is not None
        return time.monotonic() + order.task.time_limit if self._profile.times.are_measured else math.inf

    def work(self, order: Order, in_time: bool, checkpoint: Any = None) -> tuple[Any, str | None]:
        """Returns what is sent, and why it must not be used: the worker's error, as text, or None.

        It is the order's gradient, or the bytes of its compressed form.

        A task that the worker gives up has neither.

        Raises:
          Cancelled: raised by the checkpoint.
          GaveUp: likewise.
        """
        if not in_time:
            return None, None
        assert order.task is not None
        try:
            value = self._value_of_message(order, checkpoint)
        except (Cancelled, GaveUp):
            raise
        except Exception:
            return None, f"raised an error:\n{traceback.format_exc()}"
        fault = fault_of(value, order.task, self._behind(order.task))
        if fault is not None:
            return None, fault
        if order.task.compressor is None:
            return value, None
        if isinstance(order.task.compressor, Kept):
            self._keep(order, value)
            return None, None
        with np.errstate(over="ignore", invalid="ignore"):
            sent = self._draws.encode(value, order.task, order.worker, order.number, order.message)
            if isinstance(order.task, Message) and order.task.keeps is not None:
                self._change_shift(order, sent)
            return sent, None

    def _keep(self, order: Order, value: Any) -> None:
        """Keeps a gradient that is not sent, as long as the worker is at the same iterate."""
        assert order.task is not None
        version, kept = self._stayed
        if version != order.task.version:
            self._stayed = order.task.version, (kept := {})
        kept[order.number] = value

    def _mean_of_kept(self, order: Order, task: Forward) -> Any:
        """Returns the mean of gradients that were not sent; those of a process before this one are computed again."""
        version, kept = self._stayed
        own = {} if version != task.version else kept
        total: Any = None
        for number in task.numbers:
            value = own.get(number)
            if value is None:
                value = self.value(order._replace(number=number, task=Gradient(task.x, task.version)))
            # As a sum of arrivals is made, to the bit.
            total = 1.0 * value if total is None else total + 1.0 * value
        return total / len(task.numbers)

    def _shift(self, task: Message) -> Any:
        """Returns the shift of a task: what was sent with it, or what the worker keeps, zeros at first."""
        if task.shift is not None or task.keeps is None:
            return task.shift
        changes, _ = task.keeps
        return np.zeros_like(task.x) if changes == 0 else self._shifts[changes]

    def _change_shift(self, order: Order, sent: Any) -> None:
        """Keeps the next shift; the one before it too, in case the task is asked for again."""
        task: Any = order.task
        changes, rate = task.keeps
        shift = self._shift(task)
        message = self._draws.decode(sent, task, order.worker, order.number, order.message)
        self._shifts = {changes: shift, changes + 1: shift + (message if rate == 1.0 else rate * message)}

    def _value_of_message(self, order: Order, checkpoint: Any) -> Any:
        """Returns the order's gradient; it is kept if several messages are sent of it."""
        assert order.task is not None
        if order.task.messages == 1:
            return self.value(order, checkpoint)
        number, value = self._kept
        if number != order.number:
            value = self.value(order, checkpoint)
            self._kept = order.number, value
        return value

    def sent_value(self, order: Order) -> Any:
        """Computes what arrives of the order: its gradient, compressed if it is to be."""
        assert order.task is not None
        value = self._value_of_message(order, None)
        if order.task.compressor is None:
            return value
        return self._draws.compress(value, order.task, order.worker, order.number, order.message)

    def value(self, order: Order, checkpoint: Any = None) -> Any:
        """Computes the order's gradient on the shard: the same bits whenever it is computed."""
        assert order.task is not None
        shard = self._profile.shard
        key = self._samples.key(order.worker, order.number)
        with np.errstate(over="ignore", invalid="ignore"):
            task = order.task
            if isinstance(task, Forward) and task.collected is None:
                return self._mean_of_kept(order, task)
            if isinstance(task, Message):
                task = task.with_kept(self._shift(task), self._next_mean(task))
            return task.evaluate(shard, task.draw(shard, order.worker, key), checkpoint)

    def _behind(self, task: Gradient) -> int:
        """Returns how many numbers stand behind the gradient in the value of a task."""
        size = 0 if isinstance(task, Message) else self._profile.shard.statistics_size
        return size + 1 if size else 0

    def _next_mean(self, task: Message) -> Any:
        """Returns the mean of the worker's gradients, for the task to change; the one before is kept, as for shifts."""
        if task.momentum is None or task.keeps is None:
            return None
        changes, _ = task.keeps
        mean = np.zeros_like(task.x) if changes == 0 else self._means[changes]
        self._means = {changes: mean, changes + 1: mean.copy()}
        return self._means[changes + 1]


def fault_of(value: Any, task: Gradient, behind: int = 0) -> str | None:
    """Returns why a worker's value cannot be that of the task, or None.

    Where x itself is not finite, or is beyond all bounds, the method has diverged: what comes out of there is used.
    So is what several local steps from x led to: they may diverge by themselves. ``behind`` numbers stand behind the
    gradient.
    """
    shape = (*task.x.shape[:-1], task.x.shape[-1] + behind)
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind not in "fiu":
        found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        return f"returned {found} for a gradient of shape {shape}"
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is finite only if all terms are; it is the cheapest look at all of them.
        if math.isfinite(value.sum()) or not task.estimates_gradient:
            return None
        largest = np.abs(task.x).max(axis=-1, keepdims=True)
        bad = ~np.isfinite(value) & (largest <= SANE)
    if not bad.any():
        return None
    first = value[bad][0]
    return f"returned a gradient with {int(bad.sum())} entries that are not finite (the first is {first}) at a finite x"
