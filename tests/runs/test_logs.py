"""What is logged of an experiment, and with which run."""

from __future__ import annotations

import logging

import pytest

import rayopt as ro
from rayopt.runs.logs import LOGGER, StandardError, show_logs


@pytest.fixture(autouse=True)
def as_before():
    handlers, level = list(LOGGER.handlers), LOGGER.level
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


def experiment():
    return ro.Experiment(
        [ro.methods.ASGD(0.1), ro.methods.Minibatch(0.5)], ro.problems.Quadratic(3), ro.Workers(2, "i"),
        ro.Until(updates=4), seeds=[7],
    )  # fmt: skip


def test_records_have_the_name_of_their_run(caplog):
    with caplog.at_level(logging.INFO, logger="rayopt"):
        experiment().run()
    of = [(record.run, record.getMessage().split()[0]) for record in caplog.records if hasattr(record, "run")]
    names = ("ASGD, seed 7", "Minibatch, seed 7")
    assert of == [(name, word) for name in names for word in ("starts:", "ended")]


def test_a_run_that_fails_is_logged_with_its_reason(caplog):
    class Broken(ro.problems.Quadratic):
        def gradient(self, x, sample, checkpoint=None):
            raise ZeroDivisionError("by design")

    with pytest.raises(ZeroDivisionError):
        ro.run(ro.methods.ASGD(0.1), Broken(3), ro.Workers(2, "i"), until=ro.Until(updates=4))
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.run for record in failed] == ["ASGD, seed 0"]
    assert "by design" in failed[0].getMessage()


def test_they_are_shown_once_on_standard_error(capsys):
    show_logs()
    show_logs()
    experiment().run()
    assert sum(isinstance(handler, StandardError) for handler in LOGGER.handlers) == 1
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 4
    assert "INFO rayopt [ASGD, seed 7]: ended by updates at fleet time" in shown[1]


def test_nobody_who_does_not_ask_sees_them(capsys):
    experiment().run()
    assert capsys.readouterr().err == ""


def test_the_command_line_shows_them(workload_file, tmp_path):
    from typer.testing import CliRunner

    from rayopt.cli import main

    done = CliRunner().invoke(main, ["run", str(workload_file()), "--out", str(tmp_path / "out"), "-v", "-q"])
    assert done.exit_code == 0, done.output
    assert "INFO rayopt [Ring, seed 1]: ended by time" in done.stderr
