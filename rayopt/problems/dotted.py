"""Python objects that a workload file names."""

from __future__ import annotations

import importlib
from typing import Any

from rayopt.errors import InvalidInput, nearest

ALLOWED = "package.module:name of something that Python can import"


def imported(key: str, given: Any) -> Any:
    """Returns what "package.module:name" stands for; anything that is not a string as it is.

    Importing runs the code of the module, so that a workload file that names one is as trusted as a program.

    Raises:
      InvalidInput: it is no such name, or cannot be imported.
    """
    if not isinstance(given, str):
        return given
    module, colon, name = given.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise InvalidInput(key, f"{given!r} is not a dotted name", ALLOWED)
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise InvalidInput(key, f"{given!r} cannot be imported ({error})", ALLOWED) from error
    for part in name.split("."):
        if not hasattr(found, part):
            problem = f"{given!r}: {module} has no {part!r}{nearest(part, dir(found))}"
            raise InvalidInput(key, problem, ALLOWED)
        found = getattr(found, part)
    return found


def dotted(found: Any) -> str:
    """Returns the name that :func:`imported` reads back, if it is one."""
    return f"{getattr(found, '__module__', '')}:{getattr(found, '__qualname__', type(found).__name__)}"
