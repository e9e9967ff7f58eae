"""Files that are complete or not there, also if the machine stops."""

from __future__ import annotations

import os

import pytest

from rayopt.storage.files import write_text


def test_a_file_is_on_disk_before_it_has_its_name_and_then_its_name(tmp_path, monkeypatch):
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("the names of open files are not told here")
    done = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda old, new: [done.append("renamed"), replace(old, new)])
    write_text(tmp_path / "a.txt", "words")
    assert done == ["a.txt.part", "renamed", tmp_path.name]
    assert (tmp_path / "a.txt").read_text() == "words"
