"""Hashes of x: thinned out at history rows, all kept at checkpoints."""

from __future__ import annotations

import numpy as np

from rayopt.runs.fingerprints import LARGEST_BYTES, MOST, Fingerprint, Fingerprints


def offered(rows, checkpoint_every, x=None):
    found = Fingerprints()
    for k in range(1, rows + 1):
        found.offer(np.array([float(k)]) if x is None else x, float(k), k, k, 0)
        if k % checkpoint_every == 0:
            found.offer(np.array([float(k)]) if x is None else x, float(k), k, k, 0, must=True)
    return found


def test_a_long_run_keeps_every_checkpoint_and_at_most_a_thousand_rows():
    found = offered(20 * MOST, checkpoint_every=13)
    kept = [entry.updates for entry in found.taken if entry.is_kept]
    assert kept == list(range(13, 20 * MOST + 1, 13))
    regular = [entry.updates for entry in found.taken if not entry.is_kept]
    assert MOST / 2 <= len(regular) <= MOST
    assert np.diff(regular).max() <= found.stride
    assert [entry.updates for entry in found.taken] == sorted(entry.updates for entry in found.taken)


def test_a_large_point_is_hashed_where_it_must_be():
    large = np.zeros(LARGEST_BYTES // 8 + 1)
    assert [entry.updates for entry in offered(20, 7, large).taken] == [7, 14]


def test_goes_on_where_it_was():
    before = offered(MOST + 100, 50)
    again = Fingerprints([Fingerprint(*entry) for entry in before.taken], before.stride)
    for k in range(MOST + 101, 5 * MOST):
        again.offer(np.array([float(k)]), float(k), k, k, 0)
    assert sum(not entry.is_kept for entry in again.taken) <= MOST
    assert sum(entry.is_kept for entry in again.taken) == (MOST + 100) // 50
