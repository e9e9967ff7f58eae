"""Runs spread over processes are those of one process, to the bit, whatever happens to the processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import yaml
from spread_parts import Fails, KillsItsProcess, Slow, files_of, same_results

import rayopt as ro
from rayopt.core.errors import InvalidInput
from rayopt.experiments.spread import pools
from rayopt.experiments.spread.places import HERE, Place
from rayopt.experiments.spread.shared_object import LARGE, SharedObject

TWO = Place("processes", 2)


def experiment(methods=None, until=60, workers=None, **given):
    methods = methods or [
        ro.methods.Rennala([0.2, 0.5], batch_size=4), ro.methods.Picky([0.05, 0.1], 0.1), ro.methods.Malenia(0.5, 4),
        ro.methods.ASGD(0.05),
    ]  # fmt: skip
    problem = ro.problems.LogisticRegression.digits(batch=4)
    return ro.Experiment(methods, problem, workers or ro.Workers(8, ro.latency.half_normal("i", 1.0)),
                         ro.Until(time=until), **{"seeds": [0, 1], **given})  # fmt: skip


def test_results_files_and_order_are_those_of_one_process(tmp_path):
    here = experiment().run(tmp_path / "here")
    spread = experiment().run(tmp_path / "spread", on=TWO)
    same_results(here, spread)
    assert files_of(tmp_path / "here") == files_of(tmp_path / "spread")
    assert spread.trace.run.is_monotonic_increasing


def test_a_network_too(tmp_path):
    network = ro.Network(ro.graphs.ring(5), compute="i", edges=0.5)
    methods = [ro.methods.Fragile(0.2, 5), ro.methods.GossipSGD(0.2)]
    same_results(experiment(methods, workers=network).run(), experiment(methods, workers=network).run(on=TWO))


def test_the_call_and_a_target(tmp_path):
    until = ro.Until(time=500, target=ro.Target("gap", 0.1))
    given = {"until": until, "record": ro.Record(every=1), "seed": [0, 1, 2]}
    methods = [ro.methods.ASGD([0.05, 0.1]), ro.methods.Minibatch(0.5)]
    parts = (methods, ro.problems.Quadratic(10), ro.Workers(4, "i"))
    same_results(ro.run(*parts, **given), ro.run(*parts, processes=2, **given))


def test_no_trace_and_no_checkpoint(tmp_path):
    record = ro.Record(trace=False, checkpoint=False)
    same_results(experiment(record=record).run(), experiment(record=record).run(tmp_path / "run", on=TWO))


def test_a_process_that_is_killed_goes_on_from_its_checkpoint(tmp_path):
    """The run that was in it continues in another process; its neighbours begin again or continue, too."""
    record = ro.Record(checkpoint=0.05)
    methods = [KillsItsProcess(0.01, str(tmp_path / "marker")), ro.methods.ASGD(0.02)]
    spread = experiment(methods, until=1000, record=record, seeds=[0]).run(tmp_path / "spread", on=TWO)
    assert (tmp_path / "marker").exists()
    same_results(experiment(methods, until=1000, record=record, seeds=[0]).run(), spread)


def test_a_run_that_fails_does_not_take_the_others_with_it(tmp_path):
    methods = [Fails(0.01), ro.methods.ASGD(0.02)]
    with pytest.raises(ArithmeticError, match="this method is broken"):
        experiment(methods, seeds=[0, 1]).run(tmp_path / "run", on=TWO)
    summary = ro.load(tmp_path / "run").summary
    assert [run["problem"] for run in summary["runs"]] == ["ArithmeticError('this method is broken')", ""] * 2


WORKLOAD = {
    "module": "slow_parts.py",
    "problem": {"name": "quadratic", "dimension": 10},
    "workers": {"count": 4, "compute": "i"},
    "methods": [{"name": "slow", "step_size": 0.1}, {"name": "slow", "step_size": 0.2}],
    "until": {"time": 300},
    "record": {"checkpoint": 0.1},
    "seeds": [0, 1],
}
MODULE = """
import time
from rayopt.methods import ASGD

class Slow(ASGD):
    name = "slow"
    def receive(self, arrival, fleet):
        super().receive(arrival, fleet)
        if self.updates % 10 == 0:
            time.sleep(0.01)
"""


@pytest.fixture
def workload(tmp_path):
    (tmp_path / "slow_parts.py").write_text(MODULE)
    path = tmp_path / "workload.yaml"
    path.write_text(yaml.safe_dump(WORKLOAD))
    return path


def command(*arguments):
    return [sys.executable, "-m", "rayopt", *map(str, arguments)]


def begin(workload, folder):
    """Starts the command, and waits for a checkpoint of a run."""
    process = subprocess.Popen(
        command("run", workload, "--trust-code", "--on", "processes:2", "--out", folder, "-q"),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(folder.glob("unfinished/runs/*/checkpoint-*.npz")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return process


def resumed(folder, on):
    subprocess.run(command("resume", folder, "--trust-code", "--on", on, "-q"), check=True, capture_output=True)
    assert not (folder / "unfinished").exists()
    return ro.load(folder)


@pytest.mark.parametrize(("number", "on"), [(signal.SIGINT, "here"), (signal.SIGKILL, "processes:2")])
def test_what_was_interrupted_or_killed_goes_on_to_the_same(workload, tmp_path, number, on):
    subprocess.run(
        command("run", workload, "--trust-code", "--on", "here", "--out", tmp_path / "whole", "-q"), check=True
    )
    folder = tmp_path / "spread"
    process = begin(workload, folder)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "interrupted: the record up to fleet time" in said
        # What was recorded until then is kept.
        assert ro.load(folder).summary["runs"][0]["ended_by"] == "interrupted"
    else:
        # The processes end with the one that started them.
        deadline = time.monotonic() + 20
        while any(str(folder) in line for line in commands()) and time.monotonic() < deadline:
            time.sleep(0.1)
    same_results(ro.load(tmp_path / "whole"), resumed(folder, on))


def commands():
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return listing.stdout.splitlines()


def test_nobody_else_writes_the_folder_meanwhile(workload, tmp_path):
    folder = tmp_path / "spread"
    process = begin(workload, folder)
    try:
        refused = subprocess.run(command("resume", folder, "--trust-code"), capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert "another program writes" in refused.stderr
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


# ---- code that other processes have not ----


def test_what_a_function_has_made_travels():
    """Classes and functions that no other process could import."""
    scale = 0.5

    class Local(ro.methods.ASGD):
        name = "local"

        def receive(self, arrival, fleet):
            self.descend(scale * arrival.value)
            fleet.assign(arrival.worker, self.point())

    methods = [Local(0.1), ro.methods.ASGD(0.05)]
    same_results(experiment(methods).run(), experiment(methods).run(on=TWO))


def test_a_module_of_pytorch_beside_the_workload_travels(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "own_networks.py").write_text(
        "import torch\n\n\ndef network() -> torch.nn.Module:\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n\n\n"
        "def loss(outputs, targets) -> torch.Tensor:\n"
        "    return torch.nn.functional.cross_entropy(outputs, targets, reduction='none')\n"
    )
    tree = {
        "problem": {"name": "torch", "module": "own_networks:network", "loss": "own_networks:loss", "data": "digits"},
        "workers": {"count": 3, "compute": "i"}, "until": {"time": 20},
        "methods": [{"name": "asgd", "step_size": 0.1}, {"name": "minibatch", "step_size": 0.1}],
    }  # fmt: skip
    file = tmp_path / "torch.yaml"
    file.write_text(yaml.safe_dump(tree))
    for on in ("here", "processes:2"):
        done = subprocess.run(command("run", file, "--on", on, "--out", tmp_path / on, "-q"), capture_output=True,
                              text=True, cwd="/", check=False)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    same_results(ro.load(tmp_path / "here"), ro.load(tmp_path / "processes:2"))


def test_what_cannot_be_had_elsewhere_is_an_error_of_each_run(monkeypatch, tmp_path):
    """A module that this process has and no other: one line, and no wait."""
    import types

    module = types.ModuleType("only_here")
    exec("from rayopt.methods import ASGD\nclass Ghost(ASGD):\n    name = 'ghost'\n", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(ModuleNotFoundError, match="only_here"):
        experiment([module.Ghost(0.1), ro.methods.ASGD(0.1)]).run(on=TWO)


# ---- where ----


@pytest.mark.parametrize(
    ("text", "place"),
    [("here", HERE), ("processes", Place("processes")), ("processes:3", Place("processes", 3)), ("ray", Place("ray")),
     ("ray:10.0.0.1:6379", Place("ray", address="10.0.0.1:6379")), ("ray:auto", Place("ray", address="auto"))],
)  # fmt: skip
def test_places(text, place):
    assert Place.of(text) == place


@pytest.mark.parametrize("text", ["", "there", "processes:", "processes:0", "processes:x", "ray:", "here:2"])
def test_what_is_no_place(text):
    with pytest.raises(InvalidInput, match="--on: "):
        Place.of(text)


def test_the_command_line_and_its_environment_say_where(workload_file, tmp_path):
    env = os.environ | {"RAYOPT_ON": "nowhere"}
    refused = subprocess.run(command("run", workload_file()), capture_output=True, text=True, env=env, check=False)
    assert refused.returncode == 2
    assert refused.stderr == (
        "RAYOPT_ON: 'nowhere' is not a place; allowed: here, processes, processes:N, ray, or ray:ADDRESS\n"
    )


def test_with_less_memory_fewer_run_at_once_and_it_says_so(monkeypatch):
    monkeypatch.setattr(pools, "available_bytes", lambda: 500_000_000)
    with pytest.warns(UserWarning, match="1 of 2 runs at once: each may need .* of memory, and .* are free"):
        pool = pools.pool_of(TWO, experiment(), 4, bytes_of_an_item=200_000_000)
    assert isinstance(pool, pools.PoolHere)


def test_runs_that_callbacks_follow_and_single_ones_stay_here(tmp_path):
    class Counts(ro.callbacks.Callback):
        starts = 0

        def on_start(self, run):
            self.starts += 1

    follows = Counts()
    experiment(callbacks=[follows]).run(on=TWO)
    assert follows.starts == 10
    assert not experiment([ro.methods.ASGD(0.1)], seeds=[0])._is_spread(TWO, experiment().runs()[:1])


@pytest.mark.parametrize("text", ["{call}", "if __name__ == '__main__':\n    {call}"])
def test_a_program_without_its_guard_is_told_and_does_not_wait_for_ever(tmp_path, text):
    program = tmp_path / "program.py"
    call = "ro.run(ro.methods.ASGD(0.1), problem, ro.Workers(2, 'i'), until=ro.Until(time=5), seed=[0, 1], processes=2)"
    program.write_text(
        "import rayopt as ro\nproblem = ro.problems.LogisticRegression.digits()\n" + text.format(call=call)
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    if "__main__" in text:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(
            "rayopt.core.errors.RayoptError: no process could begin: a program"
        )


# ---- data ----


def test_large_arrays_are_mapped_and_cannot_be_written():
    large, small = np.arange(LARGE / 4), np.arange(3.0)
    shared = SharedObject.of({"large": large, "small": small, "text": "x"})
    again = pickle.loads(pickle.dumps(shared)).get()
    assert shared.size < 1000
    many = SharedObject.of(list(map(str, range(100_000))))
    assert len(pickle.dumps(many)) < 1000
    many.close()
    np.testing.assert_array_equal(again["large"], large)
    assert (again["large"].flags.writeable, again["small"].flags.writeable) == (False, True)
    shared.close()
    assert not os.path.exists(shared.path)
    # Who has mapped it goes on.
    assert again["large"].sum() == large.sum()


def test_without_room_in_shared_memory_runs_execute_here_and_it_says_so(monkeypatch):
    def no_room(thing, modules):
        raise OSError("/dev/shm has no room for 5 bytes")

    monkeypatch.setattr("rayopt.experiments.spread.processes.SharedObject.of", no_room)
    with pytest.warns(UserWarning, match="runs execute one after the other: processes share no memory .*no room"):
        result = experiment(seeds=[0]).run(on=TWO)
    same_results(result, experiment(seeds=[0]).run())


def test_nothing_is_said_of_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        result = experiment([ro.methods.ASGD(0.05), Slow(0.01)], until=20).run(on=TWO)
    assert isinstance(result.history, pd.DataFrame)
