"""What theory recommends for each method, and how many updates it asks for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayopt.problems import Quadratic
from rayopt.theory import MissingConstant, Setting, hogwild, iterations, parameters
from rayopt.theory.homogeneous import with_fixed_times

TIMES = [4.0, 1.0, 4.0]  # tau_n = 4, tau_A = 3, H_n = 2


@pytest.fixture
def setting():
    # sigma^2 / eps = 10, L = 2
    return Setting(
        TIMES, 0.5, smoothness=2.0, noise_variance=5.0, initial_gap=1.0, distance=3.0, lipschitz=2.0,
        largest_smoothness=4.0, heterogeneity=4.0, heterogeneity_growth=2.0, components=90, hessian_variance=3.0,
        mean_smoothness=4.0, component_smoothness=5.0, component_gap=0.5,
        omega=9.0, alpha=0.1, downlink_alpha=0.5, message_share=0.1,
        **with_fixed_times(TIMES),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("hero", {"step_size": 1 / 40}),
        ("minibatch", {"step_size": 0.25 * 3 / 10}),
        # tau_m (1 + 10 / m): 11, 24, 4 (1 + 10 / 3)
        ("m_sync", {"step_size": 1 / 40, "batch_size": 1}),
        ("asgd", {"step_size": min(1 / 12, 1 / 80)}),
        # (m + 10) / sum of rates: 11, 12 / 1.25, 13 / 1.5
        ("naive_optimal_asgd", {"step_size": 1 / 80, "workers_used": 3}),
        ("picky", {"step_size": 1 / 80, "distance_limit": math.sqrt(0.5) / 4}),
        ("rennala", {"step_size": 0.25, "batch_size": 10}),
        ("ringmaster", {"step_size": 1 / 80, "threshold": 10}),
        ("malenia", {"step_size": 0.25, "batch_size": 10}),
        ("ringleader", {"step_size": min(1 / (8 * 3 * 4), 1 / (10 * 4 * 10))}),
        ("ia2sgd", {"step_size": 0.5 * 1 / 400}),
        ("task_allocation", {"step_size": 0.25, "batch_size": 10}),
        ("ata", {"step_size": 0.25, "batch_size": 10, "alpha": 8.0}),
        # S = ceil(5 / 4), gamma = 0.5 / (4 + 5 / 2)
        ("hero_gd", {"step_size": 0.5}),
        ("soviet_gd", {"step_size": 0.5}),
        # S = 10, p = 1 / sqrt(90): (1 - p) / (p S) = (sqrt(90) - 1) / 10
        (
            "freya_page",
            {
                "step_size": 1 / (2 + 3 * math.sqrt((math.sqrt(90) - 1) / 10)),
                "batch_size": 10,
                "probability": 90**-0.5,
            },
        ),
        # p = S / (S + m) = 0.1: (1 - p) / (p S) = 0.9
        ("hero_page", {"step_size": 1 / (2 + 3 * math.sqrt(0.9)), "batch_size": 10, "probability": 0.1}),
        ("soviet_page", {"step_size": 1 / (2 + 3 * math.sqrt(0.9)), "batch_size": 10, "probability": 0.1}),
        ("page", {"step_size": 1 / (4 + 4 * math.sqrt(0.9)), "batch_size": 10, "probability": 0.1}),
        # S = 5 (1 + 0.5) / 0.5 = 15, A = 1/3, B = 14/15, C = 1/3; K = 48 max{14/15, 8, 4/3} = 384
        (
            "freya_sgd",
            {"step_size": min(15 / 28, 1 / math.sqrt(2 / 3 * 384), 0.5 / (4 / 3)), "batch_size": 15},
        ),
        ("shadowheart", {"step_size": 0.25, "noise_ratio": 10.0}),
        ("bidirectional_shadowheart", {"step_size": 0.5 / 8, "noise_ratio": 10.0}),
        # n = 3, omega = 9: min{1 / 4, 3 / (2 * 10 * 10)} / 2
        ("qsgd", {"step_size": 3 / 400}),
        # b = ceil(20 / 3) = 7, m = ceil(9 (1 + 10/7) / (3 - 10/7)) = ceil(13.9)
        ("batch_qsgd", {"step_size": 0.25, "batch_size": 7, "messages": 14}),
        ("diana", {"step_size": 1 / (2 * (1 + 10 * math.sqrt(3)))}),
        # sqrt(0.9 * 9 / (0.1 * 3)) = sqrt(27)
        ("marina", {"step_size": 1 / (2 + 4 * math.sqrt(27))}),
        # 9 ((10 / 3 - 1) 16 + 9)
        ("perm_k_marina", {"step_size": 1 / (2 + math.sqrt(9 * (112 / 3 + 9)))}),
        ("ef21", {"step_size": 1 / (2 + 4 * ((1 + math.sqrt(0.9)) / 0.1 - 1))}),
        # r = 10: eta = min{3 / 40, sqrt(0.1 / 40), cbrt(0.01 / 40)}, gamma = min{0.1 / 80, eta / 14}
        ("ef21_sgdm", {"step_size": 0.1 / 80, "momentum": 0.05}),
        ("nonsmooth_rennala", {"step_size": 0.5 / 6.5, "batch_size": 2}),
        # T_m as for naive_optimal_asgd: T* = 26 / 3, B = ceil(26/3 - 1), ceil(26/12 - 1) twice
        ("mindflayer", {"step_size": 0.25, "trials": [2, 8, 2], "time_limit": TIMES}),
        # T = 4 + 10 / 3 * 3 = 14: B = ceil(14 / 4), 14; C = 5 / 9 * (1/4 + 1/14 + 1/4), the sum is 4 / 7
        (
            "vecna",
            {"step_size": 0.5 / (4 * 5 / 9 * (1 / 4 + 1 / 14 + 1 / 4)) / 2, "trials": [4, 14, 4], "time_limit": TIMES},
        ),
    ],
)
def test_by_hand(setting, method, expected):
    found = getattr(parameters, method)(setting)
    for list_of_workers in ("trials", "time_limit"):
        assert found.pop(list_of_workers, None) == expected.pop(list_of_workers, None)
    assert found == pytest.approx(expected)


def test_rescaled_asgd_by_hand(setting):
    bounds = [3 / (3 * 2 * 4), 0.5 / (2 * 5), math.sqrt(0.5 / 9) / (3 * 4 * 2), 3 / (3 * 4 * 2 * 2 * 4)]
    assert parameters.rescaled_asgd(setting)["step_size"] == pytest.approx(min(bounds) / 4)


@pytest.mark.parametrize("method", ["ringleader", "ia2sgd", "rescaled_asgd", "vecna"])
def test_a_step_that_depends_on_the_slowest_needs_one(method):
    times = [1.0, math.inf]
    known = Setting(
        times, 1.0, smoothness=1.0, noise_variance=4.0, largest_smoothness=1.0, heterogeneity=1.0,
        heterogeneity_growth=1.0, initial_gap=1.0, **with_fixed_times(times),
    )  # fmt: skip
    with pytest.raises(ValueError, match="times: "):
        getattr(parameters, method)(known)


def test_a_worker_that_never_answers_has_no_trial_and_a_finite_limit():
    times = [1.0, math.inf]
    known = Setting(times, 1.0, smoothness=1.0, noise_variance=4.0, **with_fixed_times(times))
    assert parameters.mindflayer(known) == {"step_size": 0.5, "trials": [4, 0], "time_limit": [1.0, 1.0]}


def test_a_batch_of_the_variance_has_a_safe_step(setting):
    # Any S >= sigma^2 / eps gives a step between 1/(2L) and 1/L.
    for ratio in (0.0, 0.3, 1.0, 7.5, 1e4):
        some = Setting(TIMES, 1.0, smoothness=2.0, noise_variance=ratio)
        found = parameters.rennala(some)
        assert found["batch_size"] == max(math.ceil(ratio), 1)
        assert 0.25 <= found["step_size"] <= 0.5


@pytest.mark.parametrize("method", parameters.__all__)
def test_without_noise_nothing_divides_by_zero(method):
    quiet = Setting(
        TIMES, 0.5, smoothness=2.0, noise_variance=0.0, initial_gap=1.0, distance=3.0, lipschitz=2.0,
        largest_smoothness=4.0, heterogeneity=0.0, heterogeneity_growth=0.0, components=90, hessian_variance=0.0,
        mean_smoothness=4.0, component_smoothness=5.0, component_gap=0.0,
        omega=9.0, alpha=0.1, downlink_alpha=0.5, message_share=0.1,
        **with_fixed_times(TIMES),
    )  # fmt: skip
    found = getattr(parameters, method)(quiet)
    assert (found if method == "batch_of_variance" else found["step_size"]) > 0


@pytest.mark.parametrize("method", parameters.__all__)
def test_an_unknown_constant_is_named(method):
    with pytest.raises(MissingConstant):
        getattr(parameters, method)(Setting(TIMES, 0.5))


@pytest.mark.parametrize(("eps", "batch", "updates"), [(1.0, 5, 138), (0.3, 27, 251)])
def test_the_accelerated_scheme_on_the_quadratic(eps, batch, updates):
    problem = Quadratic(dimension=200)
    distance = float(np.linalg.norm(problem.start_point() - problem.minimizer()))
    known = Setting([1.0], eps, smoothness=problem.smoothness, distance=distance, noise_variance=0.25)
    assert parameters.accelerated_rennala(known)["batch_size"] == batch
    assert iterations.accelerated_rennala(known) == updates
    step = math.sqrt(3 * distance**2 * batch / (4 * 0.25 * (updates + 1) * (updates + 2) ** 2))
    expected = min(1 / (4 * problem.smoothness), step)
    assert parameters.accelerated_rennala(known)["step_size"] == pytest.approx(expected)


def test_ata_asks_for_a_mean_that_is_finite():
    known = {"eps": 0.1, "smoothness": 1.0, "noise_variance": 0.1}
    assert parameters.ata(Setting([math.inf, 3.0], **known))["alpha"] == 6.0
    with pytest.raises(ValueError, match="times: no mean is finite"):
        parameters.ata(Setting([math.inf, math.inf], **known))


def test_iterations_by_hand(setting):
    # L Delta / eps = 4
    assert iterations.minibatch(setting, 5) == 8 * 4 * 3
    assert iterations.rennala(setting) == 96
    assert iterations.ringmaster(setting, 3) == 4 * (24 + 160)
    assert iterations.asgd(setting, 4, 9) == 4 * (10 + 6)
    assert iterations.delay_adaptive_asgd(setting, 3) == 4 * 13
    assert iterations.picky(setting, 2.0) == 500 * 4 * 13
    assert iterations.mindflayer(setting, 5.0) == 8 * 4 * 2
    assert iterations.nonsmooth_rennala(setting) == math.ceil(2 * 4 * 9 / 0.25)


def test_the_step_of_ringmaster_is_the_one_of_its_iterations(setting):
    # 2 Delta / (gamma K) <= eps / 2 holds with the K of its theorem.
    found = parameters.ringmaster(setting)
    assert 2 / (found["step_size"] * iterations.ringmaster(setting, found["threshold"])) <= 0.25


def test_hogwild_by_hand():
    sparsity = hogwild.Sparsity(largest_term=2, densest_coordinate=0.25, densest_term=0.5)
    known = {"eps": 0.1, "smoothness": 2.0, "strong_convexity": 0.5, "gradient_bound": 3.0}
    # Omega (1 + 6 rho tau + 4 tau^2 Omega sqrt(Delta)) = 2 (1 + 3 + 4)
    assert hogwild.hogwild_step_size(sparsity, 1, **known) == pytest.approx(0.5 * 0.1 * 0.5 / (2 * 2 * 9 * 16))
    updates = hogwild.hogwild_updates(sparsity, 1, **known, distance=4.0)
    assert updates == pytest.approx(2 * 2 * 9 * 20 * math.log(80) / (0.25 * 0.5 * 0.1))
    with pytest.raises(ValueError, match="densest_term"):
        hogwild.Sparsity(2, 0.5, 1.5)
    with pytest.raises(ValueError, match="caution"):
        hogwild.hogwild_step_size(sparsity, 1, **known, caution=1.0)
