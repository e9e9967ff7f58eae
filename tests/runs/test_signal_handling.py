"""Ctrl-C and SIGTERM in virtual time: no run that had ended is lost."""

from __future__ import annotations

import os
import signal

import pytest

import rayopt as ro
from rayopt.experiments.experiment import BROKEN_OFF, NOT_RUN
from rayopt.runs.signals import INSISTENCE, stop_on_interrupt
from rayopt.storage.run_folder import RunFolder
from rayopt.storage.trace.writer import TraceWriter


class Signalled(ro.methods.ASGD):
    """ASGD that sends itself signals at its fifth update on seed 1: its x tells of the seed's run."""

    name = "signalled"
    runs = 0

    def __init__(self, step_size, signals):
        super().__init__(step_size)
        self.signals = [int(number) for number in signals]

    def start(self, fleet):
        type(self).runs += 1
        super().start(fleet)

    def receive(self, arrival, fleet):
        super().receive(arrival, fleet)
        if self.updates == 5 and type(self).runs == 2:
            for number in self.signals:
                os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def no_runs_yet():
    Signalled.runs = 0


def experiment(signals, trace="all"):
    return ro.Experiment(
        [Signalled(0.1, signals)], ro.problems.Quadratic(5), ro.Workers(2, 1.0), ro.Until(updates=20),
        record=ro.Record(trace=trace), seeds=[0, 1, 2],
    )  # fmt: skip


def ran(signals, out):
    return experiment(signals).run(out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_the_run_cleanly(number, tmp_path):
    before = signal.getsignal(number)
    result = ran([number], tmp_path / "run")
    assert [run["ended_by"] for run in result.summary["runs"]] == ["updates", "interrupted", None]
    assert [run["problem"] for run in result.summary["runs"]] == ["", "", NOT_RUN]
    assert len(result.trace) == 20 + result.summary["runs"][1]["arrivals"]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("signals", [[signal.SIGINT] * 2, [signal.SIGTERM, signal.SIGINT]])
def test_the_second_breaks_off_the_run_and_keeps_those_that_had_ended(signals, tmp_path):
    result = ran(signals, tmp_path / "run")
    assert [run["ended_by"] for run in result.summary["runs"]] == ["updates", None, None]
    assert [run["problem"] for run in result.summary["runs"]] == ["", BROKEN_OFF, NOT_RUN]
    assert ro.load(tmp_path / "run").history.seed.unique().tolist() == [0]


@pytest.mark.parametrize("trace", ["all", False])
@pytest.mark.parametrize("times", [1, 2])
def test_what_had_ended_is_kept_for_a_resume(times, trace, tmp_path):
    """There was no time for a checkpoint: of three runs one has ended, one begins anew, and one follows."""
    own = experiment([signal.SIGINT] * times, trace)
    with pytest.warns(UserWarning, match=r"`rayopt resume .*run` goes on from the last checkpoint"):
        own.run(tmp_path / "run")
    begun = Signalled.runs
    found = own.resume(tmp_path / "run")
    assert Signalled.runs == begun + 2
    whole = own.run(tmp_path / "whole")
    assert found.history.equals(whole.history)
    assert found.trace.to_csv() == whole.trace.to_csv()
    assert not (tmp_path / "run" / "unfinished").exists()


def test_what_had_ended_is_kept_until_a_second_interruption(tmp_path):
    own = experiment([signal.SIGINT])
    for go in (own.run, own.resume):
        Signalled.runs = 0
        with pytest.warns(UserWarning, match="goes on from the last checkpoint"):
            go(tmp_path / "run")
    assert [run["ended_by"] for run in ro.load(tmp_path / "run").summary["runs"]] == [
        "updates",
        "updates",
        "interrupted",
    ]
    assert own.resume(tmp_path / "run").history.equals(own.run(tmp_path / "whole").history)


def test_where_nothing_had_ended_nothing_can_go_on(tmp_path):
    Signalled.runs = 1
    own = experiment([signal.SIGINT])
    own.run(tmp_path / "run")
    with pytest.raises(ro.InvalidInput, match=r"or was stopped before there was a checkpoint.*config.yaml` runs this"):
        own.resume(tmp_path / "run")
    assert len(own.run(tmp_path / "run").trace) == 60


def test_two_signals_in_the_first_run_are_a_keyboard_interrupt(tmp_path):
    Signalled.runs = 1
    with pytest.raises(KeyboardInterrupt):
        ran([signal.SIGINT, signal.SIGINT], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_signal_while_results_are_written_waits(tmp_path, monkeypatch):
    write = RunFolder.write_config

    def interrupted(folder, config):
        os.kill(os.getpid(), signal.SIGINT)
        write(folder, config)

    monkeypatch.setattr(RunFolder, "write_config", interrupted)
    result = ran([signal.SIGTERM], tmp_path / "run")
    assert ro.load(tmp_path / "run").summary == result.summary


def test_who_insists_ends_even_the_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(RunFolder, "write_config", lambda *_: [os.kill(os.getpid(), signal.SIGINT) for _ in range(3)])
    with pytest.raises(KeyboardInterrupt):
        ran([], tmp_path / "run")


def test_who_does_not_wait_for_the_trace_has_it_in_parts(tmp_path, monkeypatch):
    """To make one file of a day's rows takes long."""

    def impatient(trace, path):
        for _ in range(INSISTENCE):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TraceWriter, "close", impatient)
    with pytest.raises(KeyboardInterrupt):
        ran([signal.SIGTERM], tmp_path / "run")
    result = ro.load(tmp_path / "run")
    assert len(result.trace) == sum(run["arrivals"] for run in result.summary["runs"] if "arrivals" in run)


def test_signals_are_given_back():
    class Session:
        stopped = 0

        def stop(self):
            self.stopped += 1

    session, before = Session(), signal.getsignal(signal.SIGINT)
    with stop_on_interrupt(session) as interrupted:
        assert not interrupted.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert session.stopped == 1
    assert signal.getsignal(signal.SIGINT) is before
