"""Where the tests find MNIST."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayopt.problems.data.mnist import SUBSET, Digits, read_folder

ROOT = Path(__file__).resolve().parents[2]
FULL = Path(os.environ.get("RAYOPT_DATA") or ROOT.parent / "shared" / "data" / "mnist")


@pytest.fixture(scope="session")
def digits() -> Digits:
    """The full MNIST if it is at hand, else the subset in the package."""
    found = read_folder(FULL if FULL.is_dir() else SUBSET)
    print(f"\n{found.source}")
    return found
