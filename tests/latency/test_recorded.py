"""Recorded durations: replayed in their order or drawn again, to workers of their own or in turn."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from latency_cases import FILE, draws, stream

import rayopt as ro
from rayopt import latency as lt
from rayopt.core.errors import InvalidInput
from rayopt.problems import Quadratic

HEAD = "# units: seconds, bytes\nworker,kind,bytes,number,seconds\n"
DURATIONS = {0: [0.5, 0.25, 1.0], 1: [2.0, 3.0]}


@pytest.fixture
def path(tmp_path):
    rows = [
        f"{worker},compute,0,{k},{own}" for worker, durations in DURATIONS.items() for k, own in enumerate(durations)
    ]
    rows += [f"{worker},upload,{size},0,{0.125 * size}" for worker in DURATIONS for size in (1, 2)]
    rows += [f"{worker},download,8,0,0" for worker in DURATIONS]
    (tmp_path / "profile.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return tmp_path / "profile.csv"


def test_cyclic_replays_them_in_their_order(path):
    assert draws(lt.trace(path), 0, 7, workers=2).tolist() == [0.5, 0.25, 1.0, 0.5, 0.25, 1.0, 0.5]
    assert draws(lt.trace(path), 1, 3, workers=2).tolist() == [2.0, 3.0, 2.0]
    assert draws(lt.trace(path), 0, 2, workers=1).tolist() == [0.5, 0.25]


def test_resampled_draws_each_of_them_equally_often(path):
    counts = Counter(draws(lt.trace(path, order="resampled"), 0, 6000, workers=2).tolist())
    assert set(counts) == set(DURATIONS[0])
    assert all(abs(count - 2000) < 200 for count in counts.values())


def test_workers_in_turn_do_not_move_in_step(path):
    shared = lt.trace(path, assign="cyclic")
    assert draws(shared, 0, 3, workers=5).tolist() == [0.5, 0.25, 1.0]
    assert draws(shared, 2, 3, workers=5).tolist() == [0.25, 1.0, 0.5]
    assert draws(shared, 4, 3, workers=5).tolist() == [1.0, 0.5, 0.25]
    assert sorted(draws(shared, 3, 2, workers=5).tolist()) == DURATIONS[1]


def test_the_law_is_the_empirical_one(path):
    bound = lt.trace(path).bind(2, stream())
    assert bound.expected.tolist() == pytest.approx([1.75 / 3, 2.5])
    assert bound.least.tolist() == [0.25, 2.0]
    assert bound.quantile(0.5).tolist() == [0.5, 2.0]
    assert bound.quantile(0.51).tolist() == [0.5, 3.0]
    assert bound.quantile(1.0).tolist() == [1.0, 3.0]
    assert bound.probability_within(np.array([0.5, 2.5])).tolist() == pytest.approx([2 / 3, 0.5])


def test_links_take_the_rows_of_their_kind_and_size(path):
    upload = lt.trace(path, bytes=2)
    workers = ro.Workers(2, lt.trace(path), upload=upload, download=lt.trace(path))
    assert workers.times(0).durations(np.array([0, 1]), np.array([1, 1]), 0.0, 1.0).tolist() == [0.5, 3.25]
    with pytest.raises(InvalidInput, match=r"upload\.bytes: missing, and .* has 2 sizes; allowed: 1, 2"):
        ro.Workers(2, 1.0, upload=lt.trace(path))


def test_a_virtual_run_takes_the_recorded_durations(path):
    result = ro.run(
        ro.methods.ASGD(0.1), Quadratic(3), ro.Workers(2, {"name": "trace", "path": path}), until=ro.Until(time=7)
    )
    rows = result.trace
    assert (rows.time - rows.assigned_at)[rows.worker == 0].tolist()[:6] == [0.5, 0.25, 1.0] * 2
    assert (rows.time - rows.assigned_at)[rows.worker == 1].tolist() == [2.0, 3.0, 2.0]


def test_the_trace_of_a_run_replays_it(tmp_path):
    def run(compute, out=None):
        return ro.run(
            ro.methods.Ringmaster(0.1, 2), Quadratic(3), ro.Workers(3, compute), until=ro.Until(time=9), out=out
        )

    first = run(lt.half_normal("i / 4", 0.5), tmp_path / "run").trace
    again = run(lt.trace(tmp_path / "run" / "trace.parquet")).trace
    # What ran at the end has no duration: from there on the list begins again.
    recorded = first[first.time <= first.groupby("worker").time.max().min()]
    assert len(recorded) > 10
    assert again.worker[: len(recorded)].tolist() == recorded.worker.tolist()
    np.testing.assert_allclose(again.time[: len(recorded)], recorded.time, rtol=1e-12)


def test_the_file_is_read_once_and_travels_along(path):
    family = lt.trace(path)
    before = draws(family, 0, 3, workers=2).tolist()
    bound = family.bind(2, stream())
    path.unlink()
    for copy in (pickle.loads(pickle.dumps(family)), pickle.loads(pickle.dumps(bound))._latency):
        assert draws(copy, 0, 3, workers=2).tolist() == before


def test_the_path_means_the_same_file_in_another_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    family = lt.trace("profile.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert family.to_config()["path"] == str(path)
    assert draws(family, 0, 3, workers=2).tolist() == DURATIONS[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": 5}, "path: 5 is not a path"),
        ({"path": "a\0b"}, "is not a path"),
        ({"path": "x", "order": "random"}, "order: 'random' is unknown; allowed: cyclic, resampled"),
        ({"path": "x", "assign": "all"}, "assign: 'all' is unknown; allowed: own, cyclic"),
        ({"path": "x", "bytes": True}, "bytes: True is not an integer"),
        ({"path": "x", "bytes": -1}, "bytes: -1 is not an integer of at least 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        lt.trace(**arguments)


def test_more_workers_than_were_recorded():
    with pytest.raises(
        InvalidInput, match=r"compute\.path: .* has no durations of worker 6, but of 6 others; .*cyclic"
    ):
        ro.Workers(7, lt.trace(FILE))
    assert ro.Workers(7, lt.trace(FILE, assign="cyclic")).times(0).n == 7


def test_an_error_in_the_file_has_its_place(tmp_path):
    (tmp_path / "bad.csv").write_text(HEAD + "0,compute,0,0,nan\n")
    with pytest.raises(InvalidInput, match=r"compute\.path: '.*bad\.csv', line 3: seconds nan"):
        ro.Workers(1, {"name": "trace", "path": str(tmp_path / "bad.csv")})
