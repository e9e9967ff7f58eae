"""Writes files completely or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

PART = ".part"


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, would survive a machine that stops."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Does what :func:`sync` does, where a folder can be synchronised: not every file system knows how."""
    with contextlib.suppress(OSError):
        sync(path)


def write_complete(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under another name and renames it when it is complete and on disk."""
    part = path.with_name(path.name + PART)
    try:
        write(part)
        sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, complete or not at all."""
    write_complete(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_yaml(path: Path, tree: dict[str, Any]) -> None:
    """Writes a mapping of plain values as YAML."""
    write_text(path, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110))
