"""Which folders may become a run folder."""

from __future__ import annotations

import pytest

from rayopt.errors import InvalidInput
from rayopt.run_folder import RunFolder


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
