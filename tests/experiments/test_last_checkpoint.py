"""What an experiment goes on from is whole, or nothing is touched."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import rayopt as ro
from rayopt.cli import main
from rayopt.core.errors import DataError
from rayopt.experiments.last_checkpoint import NO_CHECKPOINT, last_checkpoint
from rayopt.fleets.simulated import fleet as simulated
from rayopt.storage.checkpoint_files import CheckpointFiles, read, write
from rayopt.storage.encoding import Encoded
from tests.runs.test_snapshot import asking_after


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
    monkeypatch.setattr("rayopt.storage.checkpoint_files.FORMAT", 1000)
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
