"""The page of public names is that of this code, and old import paths go on working."""

from __future__ import annotations

import importlib
import inspect

import pytest

import rayopt as ro
from make_api_page import PAGE, page
from rayopt.core.import_paths import MOVED


def test_the_page_is_that_of_this_code():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python scripts/make_api_page.py"


@pytest.mark.parametrize("name", ro.__all__)
def test_every_public_name_is_there_and_described(name):
    assert inspect.getdoc(getattr(ro, name))


OLD = {
    "rayopt.errors": "InvalidInput", "rayopt.experiment": "run", "rayopt.record": "Record", "rayopt.result": "load",
    "rayopt.until": "Until", "rayopt.workers": "Workers", "rayopt.tuning.grid": "Grid", "rayopt.tuning.tune": "tune",
    "rayopt.profiling.measure": "profile", "rayopt.replaying": "replay",
}  # fmt: skip


@pytest.mark.parametrize("module", OLD)
def test_old_import_paths_of_public_names_stay(module):
    with pytest.warns(DeprecationWarning, match="has moved to"):
        old = importlib.reload(importlib.import_module(module))
    assert getattr(old, OLD[module]) is getattr(ro, OLD[module])


def test_moved_modules_exist():
    assert all(importlib.import_module(new) for new in MOVED.values())


def test_what_is_no_module_is_still_none():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("rayopt.no_such_module")
