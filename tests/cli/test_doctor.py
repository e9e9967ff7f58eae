"""``rayopt doctor``: it says what works, and ends with 1 if something does not."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

from typer.testing import CliRunner

from rayopt.cli import doctor, main


def test_a_machine_that_is_well():
    found = CliRunner().invoke(main, ["doctor", "--no-ray"])
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    for part in ("versions", "cores", "disk", "virtual time", "figures"):
        assert any(line.startswith(f"ok  {part}") for line in lines)


def test_a_disk_that_is_full_and_a_part_that_breaks(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1e6))
    monkeypatch.setattr(doctor, "_figures", lambda: 1 / 0)
    found = CliRunner().invoke(main, ["doctor", "--no-ray"])
    assert found.exit_code == 1
    assert "!!  disk         0.0 GB are free here: make room" in found.output
    assert "!!  figures      ZeroDivisionError" in found.output
    assert "ok  virtual time" in found.output
