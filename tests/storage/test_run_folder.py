"""Which folders may become a run folder."""

from __future__ import annotations

import subprocess

import pytest

import rayopt as ro
from rayopt.core.errors import InvalidInput
from rayopt.storage.run_folder import RunFolder


@pytest.mark.parametrize(
    "files",
    [
        [],
        ["unfinished"],
        ["config.yaml", "history.parquet", "summary.json"],
        ["config.yaml", "history.parquet", "summary.json", "trace.parquet", "notes.txt"],
    ],
)
def test_a_folder_of_ours_is_taken(tmp_path, files):
    for name in files:
        (tmp_path / name).touch()
    assert RunFolder(tmp_path).path == tmp_path


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (["config.yaml"], "history.parquet"),
        (["config.yaml", "history.parquet"], "summary.json"),
        (["unfinished", "notes.txt"], "config.yaml"),
    ],
)
def test_any_other_is_left_alone(tmp_path, files, missing):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InvalidInput, match=rf"is not a run folder \(it has no {missing}\)"):
        RunFolder(tmp_path)


def refused(path, match):
    with pytest.raises(InvalidInput, match=match) as caught:
        ro.run(ro.methods.ASGD(0.1), ro.problems.Quadratic(5), ro.Workers(2, 1.0), until=ro.Until(updates=20), out=path)
    assert caught.value.key == "out"


def test_what_lies_under_a_file_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "under" / "it", "file is a file; allowed: a new folder")
    refused(tmp_path / "file", "file is a file; allowed: a new folder")


def test_a_name_that_the_system_refuses(tmp_path):
    refused(tmp_path / ("n" * 300), "cannot be written .*File name too long")


def test_a_disk_without_room_is_said_before_anything_runs(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "none", tmp_path], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        (tmp_path / "full").write_bytes(bytes(4096))
        refused(tmp_path / "run", "run cannot be written .*No space left.*on a disk with room")
        assert not (tmp_path / "run").exists()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_run_folder_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    """What is left of an earlier run that never had a checkpoint goes, its results do not."""
    with RunFolder(tmp_path / "run") as folder:
        folder.begin({"seed": 1})
    for name in ("config.yaml", "history.parquet", "summary.json"):
        (tmp_path / "run" / name).touch()

    def full(path, config):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rayopt.storage.run_folder.write_yaml", full)
    with RunFolder(tmp_path / "run") as folder, pytest.raises(InvalidInput, match="No space left"):
        folder.begin({"seed": 1})
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.yaml", "history.parquet", "summary.json"
    ]  # fmt: skip


def test_what_a_link_leads_to_is_left_alone(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "unfinished").symlink_to(tmp_path / "precious")
    with RunFolder(tmp_path / "run") as folder:
        folder.end()
    assert (tmp_path / "precious" / "file").exists()
