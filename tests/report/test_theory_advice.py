"""The sentence that says what theory favours."""

from __future__ import annotations

import math

from rayopt.report.theory_advice import advise
from rayopt.report.theory_table import compare
from rayopt.theory import Setting

KNOWN = {"eps": 1.0, "smoothness": 1.0, "initial_gap": 1.0}


def test_the_soonest_their_parameters_and_what_the_others_cost():
    times = [float(i) for i in range(1, 6175)]
    text = advise(compare(Setting(times, noise_variance=100.0, **KNOWN)))
    assert "Rennala (batch size 100)" in text
    assert "Ringmaster (threshold 100)" in text
    assert "NaiveOptimalASGD (workers used 32)" in text
    # 32.52 s is the lower bound; Hero takes 101 s, ASGD 674.2 s, Minibatch 6274 s.
    assert ": 32.52 s, 1 times the lower bound, " in text
    assert "ASGD takes 20.7 times as long and Minibatch takes 193 times as long." in text


def test_without_noise_the_fastest_worker_does_it_all():
    text = advise(compare(Setting([1.0, 5.0], noise_variance=0.0, **KNOWN)))
    assert "Hero" in text.partition(":")[0]


def test_who_gives_slow_tasks_up_may_beat_the_bound_of_fixed_times():
    chances = {"trial_times": [1.0, 1.0], "success_probabilities": [0.9, 0.9]}
    text = advise(compare(Setting([10.0, 10.0], noise_variance=8.0, **chances, **KNOWN)))
    assert text.startswith("Theory favours MindFlayer: ")
    assert "less than the lower bound, which is of fixed times: slow tasks are given up, " in text


def test_no_method_ends():
    setting = Setting([math.inf, math.inf], noise_variance=1.0, **KNOWN)
    assert advise(compare(setting)) == "Theory favours no method: none has a finite time on these workers."
