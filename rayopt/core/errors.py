"""What rayopt raises, and the checks that constructors share."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message."""
    return str(error).partition("\n")[0]


LONGEST_VALUE = 800
"""Characters of a message's part; a longer one is cut in the middle, so that its place stays readable."""
LARGEST_INTEGER = 2**63 - 1


def shortened(text: str, most: int = LONGEST_VALUE) -> str:
    """Returns a text of at most about ``most`` characters: its begin, how many there are, and its end."""
    if len(text) <= most:
        return text
    return f"{text[: most * 2 // 3]}… ({len(text):,} characters) …{text[-most // 6 :]}"


class RayoptError(Exception):
    """The root of the errors that rayopt raises on purpose."""


class InvalidInput(RayoptError, ValueError):
    """A value that is not allowed, with its key and what is allowed.

    Args:
      key: the name of the argument or of the place in a file (``methods[1].step_size``).
      problem: what is wrong, with the value.
      allowed: what would be accepted.
      source: the file, if the value came from one.
    """

    def __init__(self, key: str, problem: str, allowed: str, source: str = "") -> None:
        self.key = key = shortened(key, 200)
        self.problem = problem = shortened(problem)
        self.allowed = allowed
        self.source = source
        super().__init__(f"{source + ': ' if source else ''}{key}: {problem}; allowed: {allowed}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.problem, self.allowed, self.source)

    def within(self, prefix: str, source: str = "") -> InvalidInput:
        """Returns the same error, its key seen from an enclosing place."""
        return type(self)(f"{prefix}.{self.key}" if prefix else self.key, self.problem, self.allowed, source)


class NoTheory(InvalidInput):
    """No theorem recommends anything for these workers and this problem: a formula refuses them."""


class UnknownConstant(NoTheory):
    """A constant that theory needs is not known of the problem, nor given."""


class DataError(RayoptError, ValueError):
    """Data that cannot be used: a file that is missing, truncated or mislabelled, NaN, an empty shard."""

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text, 2 * LONGEST_VALUE))


class ServerLost(RayoptError):
    """The process that held x and the method died; the run continues from its last checkpoint."""


class NotBegun(RayoptError):
    """Somebody asked for the end while the workers of a run were still being made ready."""

    def __init__(self) -> None:
        super().__init__("the run was to end before it began")


class FleetStuck(RayoptError):
    """Nothing will ever arrive and no time limit ends the run.

    Attributes:
      time: fleet seconds at which the fleet stood still.
      busy: number of workers that compute something of infinite duration.
      idle: number of workers without a task.
    """

    def __init__(self, time: float, busy: int, idle: int) -> None:
        self.time = time
        self.busy = busy
        self.idle = idle
        super().__init__(
            f"the fleet is stuck at time {time:g}: {busy} workers busy with tasks that bring no update, {idle} idle; "
            "set a limit (until: {time: ...}), or use a method that does not wait for every worker or gives up what "
            "takes too long"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.time, self.busy, self.idle)


def nearest(word: Any, known: Iterable[str]) -> str:
    """Returns " (did you mean 'x'?)" for the known word closest to ``word``, or nothing; a file may hold any value."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5) if isinstance(word, str) else []
    return f" (did you mean {found[0]!r}?)" if found else ""


def _is_finite(value: Any) -> bool:
    """Whether a value is a real number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # An integer beyond every float.
        return False


def is_number(text: str) -> bool:
    """Whether a text is a number as Python reads it, also an infinite one or none (nan)."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def positive(key: str, value: Any, or_else: str = "") -> float:
    """Returns ``value`` if it is a finite positive number; ``or_else`` is what the caller allows besides."""
    if not _is_finite(value) or value <= 0:
        allowed = "a finite number above 0"
        raise InvalidInput(
            key, f"{value!r} is not a positive number", f"{allowed}, or {or_else}" if or_else else allowed
        )
    return float(value)


def share(key: str, value: Any) -> float:
    """Returns ``value`` if it is a number above 0 and at most 1."""
    found = positive(key, value)
    if found > 1:
        raise InvalidInput(key, f"{value!r} is above 1", "a number in (0, 1]")
    return found


def non_negative(key: str, value: Any) -> float:
    """Returns ``value`` if it is a finite number of at least 0."""
    if not _is_finite(value) or value < 0:
        raise InvalidInput(key, f"{value!r} is not a number of at least 0", "a finite number of at least 0")
    return float(value)


def finite(key: str, value: Any) -> float:
    """Returns ``value`` if it is a finite number."""
    if not _is_finite(value):
        raise InvalidInput(key, f"{value!r} is not a finite number", "a finite number")
    return float(value)


def probability(key: str, value: Any) -> float:
    """Returns ``value`` if it is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise InvalidInput(key, f"{value!r} is not a probability", "a number from 0 to 1")
    return float(value)


def at_least(key: str, value: Any, least: int, or_else: str = "") -> int:
    """Returns ``value`` if it is an integer of at least ``least``; ``or_else`` is what the caller allows besides."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        allowed = f"an integer of at least {least}"
        raise InvalidInput(key, f"{value!r} is not {allowed}", f"{allowed}, or {or_else}" if or_else else allowed)
    if int(value) > LARGEST_INTEGER:
        raise InvalidInput(key, f"{value!r} does not fit into 64 bits", f"an integer up to {LARGEST_INTEGER}")
    return int(value)


def boolean(key: str, value: Any) -> bool:
    """Returns ``value`` if it is true or false, and not something that counts as one of them."""
    if not isinstance(value, bool):
        raise InvalidInput(key, f"{value!r} is not a boolean", "true or false")
    return value


def one_of(key: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Returns ``value`` if it is one of the allowed ones."""
    allowed = tuple(allowed)
    if value not in allowed:
        hint = nearest(value, [a for a in allowed if isinstance(a, str)])
        raise InvalidInput(key, f"{value!r} is unknown{hint}", ", ".join(str(a) for a in allowed))
    return value
