"""Event files for TensorBoard, read back with its own protocol buffer."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

import rayopt as ro
from rayopt.cli import main
from rayopt.core.errors import InvalidInput

pytest.importorskip("tensorboardX")


def events(folder: Path):
    """(tag, step, value, wall time) of every scalar in a folder's event files."""
    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack_from("<Q", data, position)
            event = event_pb2.Event.FromString(data[position + 12 : position + 12 + length])
            position += 16 + length
            found += [(value.tag, event.step, value.simple_value, event.wall_time) for value in event.summary.value]
    return found


def test_the_history_of_every_run_and_step_size_is_there(tmp_path):
    experiment = ro.Experiment(
        [ro.methods.ASGD([0.1, 0.2]), ro.methods.Minibatch(0.5)], ro.problems.Quadratic(5), ro.Workers(3, "i"),
        ro.Until(time=20), labels=["../../ASGD", "Minibatch"],
        callbacks=[ro.callbacks.TensorBoard()],
    )  # fmt: skip
    result = experiment.run(tmp_path / "run")
    written = tmp_path / "run" / "tensorboard"
    names = {path.name for path in written.iterdir()}
    assert names >= {"asgd-seed-0-step-size-0-1", "asgd-seed-0-step-size-0-2", "minibatch-seed-0"}
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    own = result.history[result.history.label == "Minibatch"]
    shown = [event for event in events(written / "minibatch-seed-0") if event[0] == "value"]
    assert [step for _, step, _, _ in shown] == own.updates.tolist()
    assert [value for _, _, value, _ in shown] == pytest.approx(own.value.tolist(), rel=1e-6)
    assert [at - shown[0][3] for _, _, _, at in shown] == pytest.approx(own.time.tolist(), abs=1e-5)


def test_a_run_is_followed_while_it_goes_on(tmp_path):
    ro.run(ro.methods.ASGD(0.1), ro.problems.Quadratic(5), ro.Workers(3, "i"), until=ro.Until(time=20),
           callbacks=[ro.callbacks.TensorBoard(tmp_path)])  # fmt: skip
    live = [event for event in events(tmp_path / "asgd-seed-0") if event[0] == "live/loss"]
    # Once a second at most, and this run takes less.
    assert len(live) == 1


def test_the_command_line_writes_them(workload_file, tmp_path):
    from typer.testing import CliRunner

    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["run", str(workload_file()), "--out", str(out), "--tensorboard", "-q"])
    assert done.exit_code == 0, done.output
    assert events(out / "tensorboard" / "ring-seed-1")
    # The folder is still a run folder, which another run may replace.
    assert ro.load(out).summary["runs"]


class Full:
    """A file of events on a disk that is full."""

    def __init__(self, prefix):
        raise OSError(28, "No space left on device")


def test_a_disk_without_room_for_events_does_not_end_the_experiment(tmp_path):
    files = ro.callbacks.TensorBoard(tmp_path)
    files._writer_of = Full
    with pytest.warns(UserWarning, match=r"TensorBoard.on_row raised OSError: .*No space left.* go on without") as said:
        result = ro.run([ro.methods.ASGD(0.1), ro.methods.Minibatch(0.5)], ro.problems.Quadratic(5),
                        ro.Workers(3, "i"), until=ro.Until(time=20), callbacks=[files])  # fmt: skip
    assert len(said) == 1
    assert [run["ended_by"] for run in result.summary["runs"]] == ["time", "time"]


def test_without_the_package_it_says_how_to_get_it(monkeypatch):
    for name in ("tensorboardX", "tensorboardX.event_file_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInput, match=r"pip install 'rayopt\[tensorboard\]'"):
        ro.callbacks.TensorBoard()
