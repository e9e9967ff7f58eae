"""The text of a workload: YAML without surprises, and the changes that ``--set`` makes to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rayopt.core.errors import InvalidInput, first_line, shortened


class _Loader(yaml.SafeLoader):
    """Safe YAML in which no key stands twice, and 1e-3 is a number (PyYAML wants 1.0e-3)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first_lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = "a list or a mapping stands for a key"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            if key.value in first_lines:
                problem = f"the key {key.value!r} stands twice, first in line {first_lines[key.value]}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            first_lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+|\d+\.\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read(path: str | Path) -> dict[str, Any]:
    """Returns the mapping that a YAML file holds.

    Raises:
      InvalidInput: there is no such file, it is not YAML, a key stands twice, or it is not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidInput(str(path), "there is no such file", "a workload file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(str(path), f"it cannot be read ({error})", "a workload file, YAML in UTF-8") from None
    found = parse(text, str(path))
    if not isinstance(found, dict):
        problem = "it is empty" if found is None else f"it holds a {type(found).__name__}"
        raise InvalidInput(str(path), problem, "a mapping with the keys problem, workers, methods, until")
    return found


def override(tree: dict[str, Any], change: str) -> None:
    """Makes one change to a workload in place.

    Args:
      tree: the mapping of a workload file.
      change: ``key=value``, the key as in :func:`assign`, the value in YAML.

    Raises:
      InvalidInput: it is not of this form, or the key leads nowhere.
    """
    key, separator, text = change.partition("=")
    if not separator or not key.strip():
        raise InvalidInput("--set", f"{change!r} is not a change", "key=value, such as workers.count=64")
    source = f"--set {change}"
    assign(tree, key.strip(), parse(text, source), source)


def assign(tree: dict[str, Any], key: str, value: Any, source: str = "") -> None:
    """Sets one value of a workload in place.

    A bare name on the way is opened into a mapping: ``fleet.time_scale`` makes {name: ray, time_scale: ...}
    of ``ray``.

    Args:
      tree: the mapping of a workload file.
      key: with dots and list positions: ``methods.0.step_size`` or ``methods[0].step_size``.
      value: as YAML would give it.
      source: where the change comes from, for errors.

    Raises:
      InvalidInput: the key leads nowhere.
    """
    *parents, last = re.findall(r"[^.\[\]]+", key) or [key]
    node: Any = tree
    try:
        for step in parents:
            node = _open(node, step)
        node[_position(node, last)] = value
    except InvalidInput as error:
        raise InvalidInput(key, error.problem, error.allowed, source) from None


def _open(node: Any, step: str) -> Any:
    """Returns the mapping or list at a step; nothing and a bare name become a mapping on the way."""
    position = _position(node, step)
    inner = node.get(position) if isinstance(node, dict) else node[position]
    if inner is None or isinstance(inner, str):
        inner = node[position] = {} if inner is None else {"name": inner}
    return inner


def _position(node: Any, step: str) -> str | int:
    """Returns the key or the index that a step means in a mapping or list."""
    if isinstance(node, dict):
        return step
    if not isinstance(node, list):
        raise InvalidInput("", f"{step!r} is asked of {node!r}, which has no parts", "a key of the workload")
    if step.isdecimal() and int(step) < len(node):
        return int(step)
    raise InvalidInput("", f"{step!r} is not a position in a list of {len(node)}", f"0 to {len(node) - 1}")


def parse(text: str, source: str) -> Any:
    """Returns what YAML text means, or raises InvalidInput with the line."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line if mark else 0
        lines = text.splitlines()
        shown = f" in {shortened(lines[number].strip(), 80)!r}" if number < len(lines) else ""
        problem = shortened(" ".join(filter(None, (error.context, error.problem))), 200)
        raise InvalidInput(f"line {number + 1}", f"{problem}{shown}", _hint(error, lines, number), source) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput("text", first_line(error), "YAML", source) from None


def _hint(error: yaml.MarkedYAMLError, lines: list[str], number: int) -> str:
    """Returns how to write what YAML does not understand."""
    line = lines[number] if number < len(lines) else ""
    if isinstance(error, yaml.constructor.ConstructorError):
        return "plain values, mappings and lists, without a tag such as !!python/object"
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(error.problem):
        return "spaces before a key, not tabs"
    if "stands twice" in str(error.problem):
        return "YAML in which no key stands twice"
    if "stands for a key" in str(error.problem):
        return "a word as a key"
    if isinstance(error, yaml.composer.ComposerError):
        return "no aliases; repeat the value"
    return "YAML such as 'key: value' on a line of its own, or {key: value, other: [1, 2]}; text with : or # in quotes"


def written_at(path: str | Path, place: Sequence[str | int]) -> str | None:
    """Returns the text of a scalar as a file has it, before YAML makes a value of it; None if there is none there.

    Args:
      path: the YAML file.
      place: keys and positions of lists, from the outside in.
    """
    try:
        node = yaml.compose(Path(path).read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    for step in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if getattr(key, "value", None) == step), None)
        else:
            return None
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None
