"""Parts from elsewhere: of installed packages (entry points), and of modules that a workload file names."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rayopt.compression import COMPRESSORS, Compressor
from rayopt.core.errors import InvalidInput, first_line
from rayopt.core.file_names import absolute
from rayopt.experiments.callbacks import CALLBACKS, Callback
from rayopt.latency import LATENCIES, Latency
from rayopt.methods import METHODS, Method
from rayopt.problems import PROBLEMS, Problem


class Kind(NamedTuple):
    """A kind of part: the dictionary of those that are known by name, and the class that all are derived from."""

    registry: dict[str, Any]
    base: Any


KINDS = {
    "rayopt.methods": Kind(METHODS, Method),
    "rayopt.problems": Kind(PROBLEMS, Problem),
    "rayopt.latencies": Kind(LATENCIES, Latency),
    "rayopt.compressors": Kind(COMPRESSORS, Compressor),
    "rayopt.callbacks": Kind(CALLBACKS, Callback),
}
"""By the group of its entry points."""
_OURS = {group: frozenset(kind.registry) for group, kind in KINDS.items()}
MODULE = "the dotted name of a module beside the file, in the working folder or where Python looks; or a .py file"


@cache
def load_plugins() -> tuple[str, ...]:
    """Makes the parts of installed packages known by name, once in a process; returns what was found, a text each.

    A part that cannot be loaded is a warning, and everything goes on without it.
    """
    found = []
    for group in KINDS:
        for entry in sorted(importlib.metadata.entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
            package = "" if entry.dist is None else f" of {entry.dist.name} {entry.dist.version}"
            try:
                part = entry.load()
                _register(group, part)
            except Exception as error:
                problem = (
                    error.problem if isinstance(error, InvalidInput) else f"{type(error).__name__}: {first_line(error)}"
                )
                warnings.warn(f"the plug-in {entry.name} = {entry.value}{package} is left out: {problem}", UserWarning,
                              stacklevel=2)  # fmt: skip
            else:
                found.append(f"{group.removeprefix('rayopt.')}: {part.name}{package}")
    return tuple(found)


def load_module(given: str, folder: Path | None) -> str:
    """Makes the parts of a module known by name: its classes that are methods, problems, latencies and so on.

    Importing runs the module's code. A part replaces one of the same name that another module brought.

    Args:
      given: a dotted name, or the path of a .py file; relative to the folder, or else to the working folder.
      folder: of the workload file.

    Returns:
      What names the module from any folder: the absolute path of a file, or the dotted name.

    Raises:
      InvalidInput: it cannot be imported, has no part, or one with a name that rayopt has itself.
    """
    folders = [place for place in (folder, Path.cwd()) if place is not None]
    file = next((place / given for place in folders if (place / given).is_file()), None)
    if given.endswith(".py"):
        if file is None:
            raise InvalidInput("module", f"there is no file {given}", MODULE)
        module, name = _imported(file.stem, [file.resolve().parent]), absolute(file)
        if absolute(str(module.__file__)) != name:
            raise InvalidInput("module", f"Python has another module {file.stem!r} already, {module.__file__}",
                               "a file with a name of its own")  # fmt: skip
    else:
        module, name = _imported(given, folders), given
        place = Path(str(module.__file__))
        if place.stem == given and any(_lies_in(module, folder) for folder in folders):
            name = absolute(place)
    own: list[Any] = [
        part for part in vars(module).values() if inspect.isclass(part) and part.__module__ == module.__name__
    ]
    parts = [
        (group, part) for part in own for group, kind in KINDS.items()
        if getattr(part, "name", "") and issubclass(part, kind.base)
    ]  # fmt: skip
    if not parts:
        kinds = ", ".join(kind.base.__name__ for kind in KINDS.values())
        raise InvalidInput("module", f"{given!r} has no part", f"a module with classes derived from one of {kinds}")
    for group, part in parts:
        _register(group, part, replaces=True)
    return name


def _imported(name: str, folders: Sequence[Path]) -> ModuleType:
    """Returns a module, looked for in these folders first.

    A folder in which it lies is kept among those where Python looks, so that other processes find it too.
    """
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise InvalidInput("module", f"{name!r} cannot be imported ({type(error).__name__}: {first_line(error)})",
                           MODULE) from error  # fmt: skip
    finally:
        sys.path[:] = before
    sys.path += [str(place) for place in folders if _lies_in(module, place) and str(place) not in sys.path]
    return module


def _lies_in(module: ModuleType, folder: Path) -> bool:
    place = getattr(module, "__file__", None)
    return place is not None and Path(place).resolve().is_relative_to(folder.resolve())


def _register(group: str, part: Any, replaces: bool = False) -> None:
    """Makes a part known.

    Raises:
      InvalidInput: it is of another kind, has no name, or one that is taken.
    """
    registry, base = KINDS[group]
    if not (inspect.isclass(part) and issubclass(part, base)):
        raise InvalidInput("module", f"{part!r} is not derived from {base.__name__}", base.__name__)
    name = getattr(part, "name", "")
    if not isinstance(name, str) or not name:
        raise InvalidInput("module", f"{part.__name__} has no name", 'a class attribute such as name = "mine"')
    taken = registry.get(name)
    if taken is not None and taken is not part and (name in _OURS[group] or not replaces):
        raise InvalidInput(
            "module", f"{part.__name__} has the name {name!r}, which {taken.__module__} has", "another name"
        )
    registry[name] = part


def refuse_untrusted(given: str) -> None:
    """Raises InvalidInput for a module in a file that is not trusted."""
    raise InvalidInput("module", f"{given!r} names code, which would run",
                       "no module; --trust-code (in Python trust_code=True) if you trust whoever wrote it")  # fmt: skip
