"""A worker by itself: its rows, its samples, its limits."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

pytest.importorskip("numba", reason="Hogwild's loops need Numba")

from rayopt.fleets.shared_memory.segment import Segment
from rayopt.fleets.shared_memory.worker import LARGEST_CHUNK, Assignment, MemoryWorker
from rayopt.problems import SparseLogisticRegression


@pytest.fixture
def segment():
    with Segment(2, 4) as made:
        yield made


def attached(segment, worker, shard):
    found = MemoryWorker(worker)
    found._segment = segment
    found.load(shard)
    found.warm_up("free")
    return found


def test_each_worker_has_rows_of_its_own(segment):
    problem = SparseLogisticRegression(np.eye(4), [0, 1, 0, 1], partition="split").split(2, seed=0)
    for worker in range(2):
        segment.reset(np.zeros(4))
        segment.start()
        found = attached(segment, worker, problem.shard(worker))
        found.run(Assignment("free", 0.5, 0, 100))
        touched = np.flatnonzero(segment.x)
        assert touched.tolist() == sorted(problem.shard(worker).X.indices.tolist())
        assert (np.sign(segment.x[touched]) == problem.y[touched]).all()
        assert segment.counts().tolist() == [100 * (worker == 0), 100 * (worker == 1)]


def test_waits_for_the_start_and_ends_at_the_stop(segment):
    found = attached(segment, 1, SparseLogisticRegression(np.eye(4), [0, 1, 0, 1]))
    segment.reset(np.zeros(4))
    running = threading.Thread(target=found.run, args=(Assignment("free", 0.5, 0, math.inf),))
    running.start()
    while not segment.ready:
        assert running.is_alive()
    assert segment.counts().tolist() == [0, 0]
    segment.start()
    while not segment.counts()[1]:
        assert running.is_alive()
    segment.stop()
    running.join(timeout=20)
    assert not running.is_alive()


def test_a_stop_before_the_start_is_not_lost(segment):
    found = attached(segment, 0, SparseLogisticRegression(np.eye(4), [0, 1, 0, 1]))
    segment.reset(np.zeros(4))
    segment.stop()
    stint = found.run(Assignment("free", 0.5, 0, math.inf))
    assert segment.counts().tolist() == [0, 0]
    assert 0 <= stint.core_seconds < 1


def test_long_rows_make_short_chunks(segment):
    chunks = [
        attached(segment, 0, SparseLogisticRegression(np.ones((2, width)), [0, 1]))._chunk for width in (4, 50_000)
    ]
    assert chunks == [LARGEST_CHUNK, 2]
