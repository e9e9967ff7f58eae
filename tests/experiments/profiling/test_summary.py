"""Profiles written and read, summed up, shown and drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
import yaml
from rich.console import Console

import rayopt as ro
from rayopt.experiments.profiling.save import save
from rayopt.experiments.profiling.summary import (
    fitted_line,
    known_times,
    payload,
    replay_lines,
    summarise,
    what_times_are,
)
from rayopt.latency.durations_file import Durations, read_durations
from rayopt.report.profile_table import draw, render


def made(workers=3, count=50, header=None, **kinds):
    random = np.random.default_rng(0)
    compute = {worker: 0.01 * (worker + 1) * (1 + random.exponential(0.3, count)) for worker in range(workers)}
    links = {
        (kind, size): {worker: np.full(4, seconds) for worker in range(workers)}
        for kind, sizes in kinds.items()
        for size, seconds in sizes.items()
    }
    default = {"payload": "80", "units": "seconds, bytes"}
    return Durations("profile.csv", {("compute", 0): compute, **links}, default if header is None else header)


LINKS = {"download": {80: 0.001, 1000: 0.5}, "upload": {80: 0.002, 1000: 0.5}}


def test_what_is_written_is_read_to_the_bit(tmp_path):
    durations = made(**LINKS)
    save(durations, tmp_path / "profile.csv")
    again = read_durations(str(tmp_path / "profile.csv"))
    assert again.seconds.keys() == durations.seconds.keys()
    for key, workers in durations.seconds.items():
        for worker, seconds in workers.items():
            assert again.seconds[key][worker].tobytes() == seconds.tobytes()
    assert again.header.items() >= durations.header.items()
    assert [path.name for path in tmp_path.iterdir()] == ["profile.csv"]


def test_the_tail_of_a_worker_and_of_its_law():
    one = summarise(made(count=1000))[0]
    assert one.fits[0].family == "exponential"
    assert one.tail == (*np.quantile(one.seconds, [0.9, 0.99], method="inverted_cdf"), one.seconds.max())
    assert one.fitted_tail == pytest.approx(one.tail, rel=0.3)
    assert not one.has_another_tail
    assert one.share_of_slow == np.mean(one.seconds > 2 * np.median(one.seconds))


def test_of_many_workers_some_are_shown():
    shown = summarise(made(workers=200, count=6))
    assert len(shown) == 24
    medians = [np.median(one.seconds) for one in shown]
    compute = made(workers=200, count=6).of("compute").values()
    assert min(medians) == min(map(np.median, compute))
    assert max(medians) == max(map(np.median, compute))


def test_the_lines_of_a_workload_file_mean_what_was_measured(tmp_path):
    durations = made(**LINKS)
    path = tmp_path / "profile.csv"
    save(durations, path)
    config = yaml.safe_load("\n".join(replay_lines(durations, str(path))))
    workers = ro.Workers(**config)
    assert workers.times(0).expected == pytest.approx(known_times(durations)["times"])
    fitted = fitted_line(durations, summarise(durations))
    law = ro.Workers(3, yaml.safe_load(fitted)["compute"])
    assert law.times(0).expected == pytest.approx([own.mean() for own in durations.of("compute").values()], rel=0.02)


def test_a_law_of_workers_that_are_not_all_shown_has_no_line():
    assert fitted_line(made(workers=30, count=6), summarise(made(workers=30, count=6))) is None
    assert fitted_line(made(count=3), summarise(made(count=3))) is None


def test_a_path_that_yaml_would_misread_is_quoted(tmp_path):
    lines = replay_lines(made(), "my profile: 1.csv")
    assert yaml.safe_load("\n".join(lines))["compute"]["path"] == "my profile: 1.csv"


def test_what_theory_is_told():
    durations = made(**LINKS)
    known = known_times(durations)
    compute = durations.of("compute").values()
    assert payload(durations) == 80
    assert known["times"] == pytest.approx([own.mean() + 0.003 for own in compute])
    assert known["trial_times"] == pytest.approx([np.sort(own)[24] + 0.003 for own in compute])
    assert known["success_probabilities"].tolist() == [0.5] * 3
    assert "80 bytes each" in what_times_are(durations)
    alone = made()
    assert payload(alone) is None
    assert known_times(alone)["times"] == pytest.approx([own.mean() for own in compute])
    assert what_times_are(alone) == "the mean seconds of a gradient"


def shown(durations):
    text = io.StringIO()
    Console(file=text, width=120).print(render(durations, summarise(durations)))
    return text.getvalue()


def test_the_table():
    text = shown(made(**LINKS))
    assert "exponential" in text
    assert "Messages to a worker and back" in text
    assert "1,000" in text
    assert "workers are shown" not in text
    assert "24 of 30 workers are shown" in shown(made(workers=30, count=6))
    assert "Messages" not in shown(made())
    # Too little for a law.
    assert " - " in shown(made(count=3))


def test_a_law_with_another_tail_is_said_to_have_one():
    seconds = 0.01 * (1 + 0.01 * np.abs(np.random.default_rng(1).standard_normal(400)))
    seconds[:20] = np.linspace(0.02, 0.05, 20)
    durations = Durations("", {("compute", 0): {7: seconds}}, {})
    assert summarise(durations)[0].has_another_tail
    assert "as short) for worker 7: better replay the measurements." in " ".join(shown(durations).split())
    assert "another tail" not in shown(made())


def test_the_figure_has_a_curve_and_a_law_for_each_worker():
    figure = draw(made(), summarise(made()))
    (axes,) = figure.axes
    assert len(axes.lines) == 6
    assert axes.get_xlabel() == "time of a gradient (ms)"
    low, high = axes.get_xlim()
    seconds = 1e3 * np.concatenate(list(made().of("compute").values()))
    assert low < seconds.min() < seconds.max() < high < 2 * seconds.max()
    assert len(draw(made(workers=30, count=6), summarise(made(workers=30, count=6))).axes[0].lines) == 14
