"""Memory of this machine: how much is free, and whether a request fits."""

from __future__ import annotations

import os

from rayopt.core.errors import InvalidInput


def available_bytes() -> int | None:
    """Returns the bytes of memory that are free, or None where the system does not report it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_fits(key: str, value: int, needed: int) -> None:
    """Raises InvalidInput if a value needs more memory than is free.

    Args:
      key: the argument.
      value: what was asked for.
      needed: bytes, at least.
    """
    available = available_bytes()
    if available is not None and needed > available:
        raise InvalidInput(
            key, f"{value:,} needs at least {in_units(needed)} of memory, and {in_units(available)} are free",
            "a smaller number",
        )  # fmt: skip


def in_units(amount: float) -> str:
    """Returns bytes in the largest unit in which they are at least 1: "1.5 GB"."""
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if amount < 1000 or unit == "PB":
            return f"{amount:.4g} {unit}"
        amount /= 1000
    raise AssertionError
