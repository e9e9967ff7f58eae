"""Python objects that a workload file names."""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

from rayopt.core.errors import InvalidInput, first_line, nearest

ALLOWED = "package.module:name of something that Python can import"
TRUST = "no name of code here; --trust-code (in Python trust_code=True) if you trust whoever wrote the file"
_folder: ContextVar[Path | None] = ContextVar("folder", default=None)
_is_trusted: ContextVar[bool] = ContextVar("is_trusted", default=True)


@contextmanager
def names_of_code(are_trusted: bool) -> Iterator[None]:
    """Within, :func:`imported` imports what it is given, or refuses whatever names code."""
    token = _is_trusted.set(are_trusted)
    try:
        yield
    finally:
        _is_trusted.reset(token)


def imported(key: str, given: Any) -> Any:
    """Returns what "package.module:name" stands for; anything that is not a string as it is.

    Importing runs the code of the module, so that a workload file that names one is as trusted as a program.

    Raises:
      InvalidInput: it is not such a name, cannot be imported, or comes from a file that is not trusted.
    """
    if not isinstance(given, str):
        return given
    module, colon, name = given.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise InvalidInput(key, f"{given!r} is not a dotted name", ALLOWED)
    if not _is_trusted.get():
        raise InvalidInput(key, f"{given!r} names code, which would run", TRUST)
    found: Any = _module(key, given, module)
    for part in name.split("."):
        if not hasattr(found, part):
            problem = f"{given!r}: {module} has no {part!r}{nearest(part, dir(found))}"
            raise InvalidInput(key, problem, ALLOWED)
        found = getattr(found, part)
    return found


def _module(key: str, given: str, module: str) -> Any:
    """Returns a module, looked for beside the file that names it, in the working folder, then where Python looks."""
    first = [str(folder) for folder in (_folder.get(), Path.cwd()) if folder is not None]
    added = [folder for folder in dict.fromkeys(first) if folder not in sys.path]
    sys.path[:0] = added
    try:
        return importlib.import_module(module)
    except ImportError as error:
        looked = f"; looked in {', '.join(dict.fromkeys(first))} and where Python looks"
        raise InvalidInput(key, f"{given!r} cannot be imported ({error}{looked})", ALLOWED) from error
    except Exception as error:
        # Whatever the code of the module raises.
        problem = f"{given!r} cannot be imported ({described(error)})"
        raise InvalidInput(key, problem, "a module that can be imported") from error
    finally:
        for folder in added:
            sys.path.remove(folder)


def described(error: BaseException) -> str:
    """Returns what an error of a user's code is, and its last line of code: "NameError: ..., line 3 of nets.py"."""
    text = f"{type(error).__name__}: {first_line(error)}"
    if isinstance(error, SyntaxError):
        # Its text has the file and the line.
        return text
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text}, line {frames[-1].lineno} of {Path(frames[-1].filename).name}" if frames else text


@contextmanager
def beside(file: str | Path | None) -> Iterator[None]:
    """Within, modules are looked for in the folder of this file first."""
    token = _folder.set(None if file is None else Path(file).resolve().parent)
    try:
        yield
    finally:
        _folder.reset(token)


def declared_return(function: Any, kind: type) -> bool:
    """Whether a function is annotated as one that returns this kind of object."""
    if not inspect.isroutine(function):
        return False
    try:
        returned = inspect.signature(function, eval_str=True).return_annotation
    except (NameError, AttributeError, TypeError, ValueError):
        return False  # Not every function has a signature, and not every annotation a meaning.
    # `dict[str, Any]` is not a class, and its origin is.
    returned = get_origin(returned) or returned
    return isinstance(returned, type) and issubclass(returned, kind)


def dotted(found: Any) -> str:
    """Returns the name that :func:`imported` reads back, if it is one."""
    return f"{getattr(found, '__module__', '')}:{getattr(found, '__qualname__', type(found).__name__)}"


def own_modules(component: object) -> list[ModuleType]:
    """Returns the modules of a user that another process needs for a component, and may not find.

    They are those of its class, of the classes of its attributes (a compressor, a latency), and of what its attribute
    ``from_user_code`` names, if it has one. Installed packages are not among them: others have them.
    """
    installed = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), sysconfig.get_path("stdlib"))
    kinds = [type(component), *map(type, getattr(component, "__dict__", {}).values())]
    parts: list[Any] = [base for kind in kinds for base in kind.__mro__]
    parts += getattr(component, "from_user_code", ())
    found = {}
    for part in parts:
        name = getattr(part, "__module__", None)
        module = sys.modules.get(name) if isinstance(name, str) else None
        place = getattr(module, "__file__", None)
        if module is not None and place and not str(name).startswith("rayopt.") and not place.startswith(installed):
            found[str(name)] = module
    return list(found.values())
