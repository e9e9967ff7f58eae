"""Event files for TensorBoard, read back with its own protocol buffer."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

import rayopt as ro
from rayopt.cli import main
from rayopt.core.errors import InvalidInput
from rayopt.report.tensorboard import EventFiles

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
    )  # fmt: skip
    result = experiment.run(tmp_path / "run", EventFiles(tmp_path / "run"))
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
    files = EventFiles(tmp_path)
    experiment = ro.Experiment([ro.methods.ASGD(0.1)], ro.problems.Quadratic(5), ro.Workers(3, "i"), ro.Until(time=20))
    experiment.run(tmp_path / "run", files)
    live = [event for event in events(tmp_path / "tensorboard" / "asgd-seed-0") if event[0] == "live/loss"]
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


def history_of(folder):
    return [event for event in events(folder) if not event[0].startswith("live/")]


def test_an_experiment_that_goes_on_writes_what_an_earlier_process_has_not(tmp_path):
    """Of a run that had ended before, the events are there, or none were asked for: then they are written now."""
    from rayopt.experiments.execution import Run
    from rayopt.runs.outcome import Progress

    rows = [{"step_size": 0.1, "time": float(time), "updates": time, "arrivals": time, "value": 1.0} for time in (0, 1)]
    ended = Run(ro.methods.ASGD(0.1), "ASGD", 0, type("Ended", (), {"rows": rows})())
    first = EventFiles(tmp_path)
    first.ended(ended)
    own = tmp_path / "tensorboard" / "asgd-seed-0"
    assert len(history_of(own)) == 2
    second = EventFiles(tmp_path)
    second.ended(ended)
    assert len(history_of(own)) == 2
    second.started(Run(ro.methods.ASGD(0.1), "other", 0))
    second.progressed(Run(ro.methods.ASGD(0.1), "other", 0), Progress(1.0, 3, 5, 2.0))
    assert events(tmp_path / "tensorboard" / "other-seed-0")


class Full:
    """A file of events on a disk that is full."""

    def __init__(self, prefix):
        raise OSError(28, "No space left on device")


def test_a_disk_without_room_for_events_does_not_end_the_experiment(tmp_path):
    files = EventFiles(tmp_path / "run")
    files._writer_of = Full
    experiment = ro.Experiment([ro.methods.ASGD(0.1), ro.methods.Minibatch(0.5)], ro.problems.Quadratic(5),
                               ro.Workers(3, "i"), ro.Until(time=20))  # fmt: skip
    with pytest.warns(UserWarning, match=r"EventFiles cannot write any more .*No space left") as said:
        result = experiment.run(tmp_path / "run", files)
    assert len(said) == 1
    assert [run["ended_by"] for run in result.summary["runs"]] == ["time", "time"]


def test_without_the_package_it_says_how_to_get_it(tmp_path, monkeypatch):
    for name in ("tensorboardX", "tensorboardX.event_file_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidInput, match=r"pip install 'rayopt\[tensorboard\]'"):
        EventFiles(tmp_path)
