"""When a run ends: what the limits may be."""

from __future__ import annotations

import math

import pytest

import rayopt as ro
from rayopt.core.errors import InvalidInput


def test_none_is_no_limit():
    assert ro.Until(time=None, updates=3, arrivals=None) == ro.Until(updates=3)
    with pytest.raises(InvalidInput, match="no limit is given"):
        ro.Until(time=None, updates=None)


def test_a_target_may_be_a_mapping():
    assert ro.Until(target={"metric": "gap", "reaches": 1}).target == ro.Target("gap", 1.0)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ({"metric": 3, "reaches": 1.0}, "target.metric"),
        ({"metric": "gap", "reaches": "1"}, "target.reaches"),
        ({"metric": "gap", "reaches": True}, "target.reaches"),
        ({"metric": "gap", "reaches": math.nan}, "target.reaches"),
        ({"metric": "gap", "reaches": math.inf}, "target.reaches"),
        ({"metric": "gap"}, "target"),
        ({"metric": "gap", "reaches": 1.0, "by": 3}, "target"),
        (("gap", 1.0), "target"),
    ],
)
def test_a_bad_target(target, key):
    with pytest.raises(InvalidInput) as caught:
        ro.Until(target=target)
    assert caught.value.key == key
