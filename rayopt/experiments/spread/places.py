"""Where the runs of an experiment execute."""

from __future__ import annotations

from dataclasses import dataclass

from rayopt.core.errors import InvalidInput, at_least

ALLOWED = "here, processes, processes:N, ray, or ray:ADDRESS"
VARIABLE = "RAYOPT_ON"
"""The environment variable that names the place where the command line names none."""


@dataclass(frozen=True)
class Place:
    """Where runs execute.

    Attributes:
      kind: "here" (one after the other in this process), "processes" or "ray".
      count: processes at most; None for one on each core.
      address: of the Ray cluster; None for the one that RAY_ADDRESS or ``ray start`` made, else a local one.
    """

    kind: str = "here"
    count: int | None = None
    address: str | None = None

    @property
    def processes(self) -> int:
        """So many runs may execute at once on this machine."""
        if self.kind == "here":
            return 1
        return self.count or cores()

    @classmethod
    def of(cls, text: str, key: str = "--on") -> Place:
        """Returns the place that a text names.

        Raises:
          InvalidInput: it names none.
        """
        kind, colon, rest = text.partition(":")
        if kind == "here" and not colon:
            return HERE
        if kind == "processes":
            if not colon:
                return cls("processes")
            if rest.isdecimal():
                return cls("processes", at_least(key, int(rest), 1))
        if kind == "ray" and (rest or not colon):
            return cls("ray", address=rest or None)
        raise InvalidInput(key, f"{text!r} is not a place", ALLOWED)

    @classmethod
    def for_processes(cls, processes: int | None) -> Place:
        """Returns the place of so many processes of this machine; None: one on each core."""
        if processes is None:
            return cls("processes")
        return HERE if at_least("processes", processes, 1) == 1 else cls("processes", processes)


HERE = Place()


def cores() -> int:
    """Returns the number of cores that this process may use."""
    # It asks for the limits of containers and schedulers too.
    from joblib import cpu_count

    return int(cpu_count())
