"""What a theorem is told."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from rayopt.theory import MissingConstant, Setting
from rayopt.theory.setting import SYMBOLS


@pytest.mark.parametrize("name", SYMBOLS)
def test_every_unknown_constant_says_its_name_and_symbol(name):
    with pytest.raises(MissingConstant) as caught:
        Setting([1.0], 1.0).get(name)
    assert caught.value.name == name
    assert str(caught.value) == f"{name} is not known: {SYMBOLS[name]}"
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"eps": 0.0}, "eps: 0.0"),
        ({"eps": -1.0}, "eps: -1.0"),
        ({"eps": math.nan}, "eps: nan"),
        ({"eps": True}, "eps: True"),
        ({"times": []}, "at least one worker"),
        ({"times": [math.nan]}, "nan for worker 0"),
        ({"noise_variance": -1.0}, "noise_variance: -1.0"),
        ({"noise_variance": math.inf}, "noise_variance: inf"),
        ({"smoothness": 0.0}, "smoothness: 0.0"),
        ({"initial_gap": -1e-9}, "initial_gap"),
        ({"trial_times": [1.0]}, "1 numbers for 2 workers"),
        ({"success_probabilities": [0.5, 1.5]}, "1.5 for worker 1"),
        ({"success_probabilities": [0.5]}, r"shape \(1,\)"),
    ],
)
def test_bad_input(arguments, text):
    with pytest.raises(ValueError, match=text):
        Setting(**{"times": [1.0, 2.0], "eps": 1.0, **arguments})


def test_means():
    setting = Setting([4.0, 1.0, 4.0], 0.5, noise_variance=2.0)
    assert (setting.slowest, setting.mean_time, setting.harmonic_mean, setting.noise_ratio) == (4.0, 3.0, 2.0, 4.0)
    assert setting.ascending.tolist() == [1.0, 4.0, 4.0]
    assert np.asarray(setting.times).tolist() == [4.0, 1.0, 4.0]
    assert Setting([math.inf], 1.0).harmonic_mean == math.inf


def test_expensive_constants_are_looked_up_when_asked_and_checked():
    asked = []

    def lookup(name):
        asked.append(name)
        return {"smoothness": 2.0, "noise_variance": -1.0}.get(name)

    setting = Setting([1.0], 1.0, initial_gap=3.0, lookup=lookup)
    assert setting.get("initial_gap") == 3.0
    assert asked == []
    assert setting.get("smoothness") == 2.0
    assert not setting.knows("distance")
    with pytest.raises(ValueError, match=r"noise_variance: -1\.0"):
        setting.get("noise_variance")
