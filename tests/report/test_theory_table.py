"""What theory says of every method, as numbers, as a table and as a figure."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from rayopt.methods import METHODS
from rayopt.report.theory_plot import draw, save
from rayopt.report.theory_table import REGIMES, compare, render
from rayopt.theory import CONSTANTS, MissingConstant, Setting, finite_sum
from rayopt.theory.homogeneous import with_fixed_times


def setting(times, ratio, **constants):
    known = {
        "smoothness": 1.0, "initial_gap": 1.0, "distance": 1.0, "lipschitz": 2.0, "largest_smoothness": 1.0,
        "components": 400, "hessian_variance": 1.0, "mean_smoothness": 1.0, "omega": 9.0,
        "upload": np.full(len(times), 0.1), "dense_upload": np.full(len(times), 1.0),
    }  # fmt: skip
    return Setting(times, 1.0, noise_variance=ratio, **{**known, **constants}, **with_fixed_times(times))


def text_of(comparison, width=120):
    written = io.StringIO()
    Console(file=written, width=width, _environ={}).print(render(comparison))
    return written.getvalue()


def test_names_are_those_of_the_methods():
    classes = {method.__name__ for method in METHODS.values()}
    for regime in REGIMES.values():
        assert set(regime.methods) <= classes
        assert set(regime.recommends) <= set(regime.methods)
    assert CONSTANTS.keys() <= classes


@pytest.mark.parametrize("regime", REGIMES)
def test_nobody_is_below_the_lower_bound_and_the_soonest_is_first(regime):
    found = compare(setting(np.sqrt(np.arange(1, 101)), 1e4), regime)
    seconds = list(found.seconds.values())
    assert seconds == sorted(seconds)
    # Of messages some are bounds from below, with other constants.
    assert regime == "communication" or seconds[0] >= found.lower_bound * (1 - 1e-12)


def test_finite_sums_say_what_holds_and_why_synthesis_is_missing():
    times = np.sqrt(np.arange(1, 21))
    found = compare(setting(times, 30.0), "finite_sum")
    assert found.best_workers == 20
    assert found.threshold is None
    assert found.seconds["FreyaPAGE"] == pytest.approx(finite_sum.freya_page(times, 400, 1.0))
    assert found.parameters["FreyaPAGE"]["batch_size"] == 20
    text = " ".join(text_of(found).split())
    assert "m = 400 components" in text
    assert "SYNTHESIS (Liu, Zhang, Liu, 2022) has no row" in text
    assert "at least n: Freya PAGE is within twice" in text
    assert "The constants in front" not in text
    assert "below n: Freya PAGE may be far" in text_of(compare(setting(np.ones(30), 30.0), "finite_sum"))


def test_json_is_strict_and_infinity_is_null():
    found = compare(setting([1.0, math.inf], 4.0)).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["lower_bound"], found["m_star"], found["R"]) == (5.0, 1, 4)
    assert found["methods"]["Minibatch"] is None
    assert compare(setting([1.0, 2.0], 4.0), "convex").to_json()["R"] is None


def test_what_is_missing_is_a_footnote_not_an_error():
    found = compare(setting([1.0, 2.0], 4.0), "heterogeneous")
    assert "RescaledASGD" not in found.seconds
    text = text_of(found)
    assert "Not shown: RescaledASGD: needs zeta^2 in ||grad f_i||^2 <= zeta^2 + rho^2 ||grad f||^2." in text
    assert "L_max, the largest L of the workers' functions, is taken to be L." in text
    with pytest.raises(MissingConstant, match="smoothness"):
        compare(setting([1.0], 1.0, smoothness=None))


def test_the_table_reads_well():
    found = compare(setting(np.arange(1.0, 6175.0), 100.0))
    text = text_of(found)
    lines = [line.rstrip() for line in text.splitlines()]
    assert (
        lines[0] == "6,174 workers, 1 to 6174 s a gradient; sigma²/eps = 100, L = 1, Delta = 1, R0 = 1, M = 2, eps = 1"
    )
    assert any(line.split() == ["ASGD", "674.2", "20.73"] for line in lines)
    assert any(line.split() == ["Ringmaster", "0.0025", "100"] for line in lines)
    assert "The optimum needs the m* = 32 fastest of 6,174 workers; R = S = 100 (Ringmaster, Rennala)." in text
    assert "Rennala 96" in text
    assert max(map(len, lines)) <= 120


def test_a_method_that_never_ends_gets_no_parameters():
    found = compare(setting([1.0, math.inf], 4.0))
    assert found.seconds["Minibatch"] == math.inf
    assert "Minibatch" not in found.parameters
    assert any(line.split() == ["Minibatch", "inf", "inf"] for line in text_of(found).splitlines())


@pytest.mark.parametrize("regime", REGIMES)
def test_the_figure_has_a_line_for_each_group_of_methods(regime, tmp_path):
    i = np.arange(1.0, 101.0)
    figure = draw(setting(i, 10.0), regime, lambda size: i[:size])
    left, right = figure.axes
    assert left.get_xlim()[1] > 100
    lines = left.get_lines()
    assert len(lines) == len(right.get_lines())
    named = ", ".join(line.get_label() for line in lines)
    assert all(name in named for name in compare(setting(i, 10.0), regime).seconds)
    # The panels agree where they meet: all workers, the noise ratio of the setting.
    middle = len(right.get_lines()[0].get_xdata()) // 2
    for at_left, at_right in zip(lines, right.get_lines(), strict=True):
        assert at_left.get_ydata()[-1] == pytest.approx(at_right.get_ydata()[middle])
    save(figure, tmp_path / "theory.png")
    assert (tmp_path / "theory.png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_without_noise():
    figure = draw(setting([1.0, 2.0], 0.0), "homogeneous", lambda size: np.arange(1.0, size + 1))
    assert len(figure.axes[0].get_lines()) > 1
