"""What an experiment goes on from is whole, or nothing is touched."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import rayopt as ro
from rayopt.checkpoint.encoding import Encoded
from rayopt.checkpoint.files import CheckpointFiles, read, write
from rayopt.checkpoint.last import NO_CHECKPOINT, last_checkpoint
from rayopt.cli import main
from rayopt.errors import DataError
from rayopt.fleets import simulated
from rayopt.trace_file import TraceFile, check_parts, keep_runs
from rayopt.trace_rows import TRACE
from tests.checkpoint.test_snapshot import asking_after


class Killed(BaseException):
    """A process that ends where it is."""


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """An experiment whose process ended in its second run, after two checkpoints, and its folder."""
    save = CheckpointFiles.save

    def save_now(files, *arguments):
        files.wait()
        saved = save(files, *arguments)
        files.wait()
        if len(list((tmp_path / "run" / "unfinished").glob("checkpoint-*.npz"))) == 2:
            raise Killed
        return saved

    monkeypatch.setattr(CheckpointFiles, "save", save_now)
    monkeypatch.setattr(simulated, "serve", asking_after(120))
    own = ro.Experiment(
        [ro.methods.ASGD(0.02)], ro.problems.Quadratic(5, noise=0.1), ro.Workers(3, "sqrt(i)"), ro.Until(updates=300),
        record=ro.Record(every=10, checkpoint=1000), seeds=[0, 1],
    )  # fmt: skip
    with pytest.raises(Killed):
        own.run(tmp_path / "run")
    monkeypatch.undo()
    return own, tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "unfinished").iterdir() if path.is_file()}


def refused(own, folder, match):
    """Nothing runs, and everything stays as it was."""
    before = contents(folder)
    with pytest.raises(DataError, match=match) as caught:
        own.resume(folder)
    assert contents(folder) == before
    found = CliRunner().invoke(main, ["resume", str(folder)])
    assert found.exit_code == 2
    assert found.stderr == f"{caught.value}\n"


def test_if_no_checkpoint_can_be_read_nothing_is_touched(killed):
    own, folder = killed
    for path in (folder / "unfinished").glob("checkpoint-*.npz"):
        path.write_bytes(path.read_bytes()[:-100])
    refused(own, folder, r"000002.npz is not a checkpoint.*000001.npz is not a checkpoint.*remove them to begin anew")
    for path in (folder / "unfinished").glob("checkpoint-*.npz"):
        path.unlink()
    assert len(own.resume(folder).trace) == 600


def test_checkpoints_of_another_version(killed, monkeypatch):
    own, folder = killed
    monkeypatch.setattr("rayopt.checkpoint.files.FORMAT", 1000)
    refused(own, folder, "of another version of rayopt.*with the version of rayopt that wrote them")


def test_a_part_of_the_trace_that_is_not_whole(killed):
    own, folder = killed
    (part,) = (folder / "unfinished").glob("trace-000000.parquet")
    part.write_bytes(part.read_bytes()[:-50])
    refused(own, folder, r"trace-000000.parquet is not a whole part of a trace .* checkpoint 2 counts on it: remove ")


def test_a_part_of_the_trace_that_is_not_there(killed):
    own, folder = killed
    (folder / "unfinished" / "trace-000000.parquet").unlink()
    refused(own, folder, r"has no part 'trace-000000.parquet' .* remove .*unfinished to begin anew")


def test_a_run_that_is_left_needs_its_own_checkpoint(tmp_path):
    tree = {"ended": [], "left": [(0, 1)], "trace": ([], 0), "run": None}
    write(tmp_path / "checkpoint-000002.npz", Encoded(tree, []))
    with pytest.raises(DataError, match=r"000001.npz .*No such file.*; checkpoint 2 counts on it"):
        last_checkpoint(tmp_path)
    write(tmp_path / "checkpoint-000001.npz", Encoded({}, []))
    number, found = last_checkpoint(tmp_path)
    assert (number, found.tree["left"]) == (2, [[0, 1]])


def test_without_a_checkpoint_there_is_nothing(tmp_path):
    assert last_checkpoint(tmp_path / "new") == NO_CHECKPOINT


def test_every_flipped_bit_is_seen_or_harmless(tmp_path):
    path = tmp_path / "checkpoint-000001.npz"
    tree, arrays = {"number": 1.5}, [np.arange(4.0), np.arange(3)]
    write(path, Encoded(tree, arrays))
    whole = path.read_bytes()
    broken = 0
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            found = read(path)
        except DataError:
            broken += 1
        else:
            assert found.tree == tree
            assert [array.tolist() for array in found.arrays] == [array.tolist() for array in arrays]
    assert broken > len(whole) / 2


# ---- parts of the trace ----


@pytest.fixture
def parts(tmp_path):
    """Two parts: the first has rows of runs 0, 1 and 2, the second of run 2."""
    file = TraceFile(tmp_path)
    for run, first in ((0, 0), (1, 10), (2, 20)):
        file.write(rows(first), "asgd", f"ASGD {run}", 0, run)
    file.cut()
    file.write(rows(30), "asgd", "ASGD 2", 0, 2)
    return [tmp_path / name for name in file.cut()]


def rows(first):
    found = np.zeros(10, dtype=TRACE)
    found["time"] = np.arange(first, first + 10)
    return found


def told(paths):
    return [pd.read_parquet(path)["time"].astype(int).tolist() for path in paths]


def test_rows_of_runs_that_begin_anew_go(parts, tmp_path):
    whole = pd.read_parquet(parts[0])
    keep_runs(parts, {0, 2})
    assert told(parts) == [[*range(10), *range(20, 30)], [*range(30, 40)]]
    assert pd.read_parquet(parts[0]).to_csv(index=False) == whole[whole.run != 1].to_csv(index=False)
    keep_runs(parts, {0})
    assert told(parts) == [[*range(10)], []]
    # They are parts as before: one file can be made of them.
    merged = TraceFile(tmp_path, kept=[path.name for path in parts])
    merged.close(tmp_path / "trace.parquet")
    assert told([tmp_path / "trace.parquet"]) == [[*range(10)]]


def test_parts_without_such_rows_stay_as_they_are(parts):
    before = [path.stat() for path in parts]
    keep_runs(parts, {0, 1, 2})
    assert [path.stat() for path in parts] == before


def test_parts_are_looked_at_before_they_are_needed(parts, tmp_path):
    names = [path.name for path in parts]
    assert check_parts(tmp_path, names) == parts
    for content in (b"", parts[1].read_bytes()[:-9], b"PAR1 but nothing else PAR1"):
        parts[1].write_bytes(content)
        with pytest.raises(DataError, match=r"trace-000001.parquet is not a whole part of a trace \([^\n]+\)$"):
            check_parts(tmp_path, names)
    shutil.copy(parts[0], tmp_path.parent / "trace-000009.parquet")
    with pytest.raises(DataError, match="has no part"):
        check_parts(tmp_path, ["../trace-000009.parquet"])
