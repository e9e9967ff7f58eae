"""File names from words that others choose (labels of methods, names of metrics), and paths that stay true."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

MOST_LETTERS = 100


def file_name(words: str, taken: Iterable[str] = (), otherwise: str = "method") -> str:
    """Returns a name, without an ending, that cannot leave its folder.

    Args:
      words: any text; all but letters, digits and underscores becomes a hyphen.
      taken: names that others have.
      otherwise: the name where nothing is left of the words.

    Examples:
      >>> file_name("Ringmaster R=16"), file_name("../../etc"), file_name("..")
      ('ringmaster-r-16', 'etc', 'method')
      >>> file_name("ASGD", taken=["asgd"])
      'asgd-2'
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "-", words).strip("-").lower()[:MOST_LETTERS] or otherwise
    known = set(taken)
    return next(found for found in (name, *(f"{name}-{count}" for count in range(2, 10_000))) if found not in known)


def absolute(path: str | Path) -> str:
    """Returns the absolute form of a path, which names the same file from any working folder."""
    return str(Path(path).expanduser().resolve())
