"""Theory stands alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from rayopt import theory

FILES = sorted(Path(theory.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_nothing_else_of_rayopt_and_scipy_only_where_it_is_used(path):
    tree = ast.parse(path.read_text())
    named = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert all(name.startswith("rayopt.theory") for name in named if name.split(".")[0] == "rayopt")
    at_the_top = [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not any(name.startswith("scipy") for name in at_the_top)
