"""Methods whose arguments theory chooses."""

from __future__ import annotations

import math

import pytest

import rayopt as ro
from rayopt import methods, problems
from rayopt.methods import METHODS
from rayopt.problems.constants import setting_of
from rayopt.theory import CONSTANTS, homogeneous

EPS = 0.02
PROBLEM = problems.Quadratic(dimension=10, noise=0.1)  # sigma^2 / eps = 5
WORKERS = ro.Workers(6, compute="sqrt(i)")
CONVEX = {"distance": 3.0, "lipschitz": 2.0}
COMPRESSED = {"compressor": {"name": "rand_k", "k": 5}}
ARGUMENTS = {
    **dict.fromkeys(
        ("shadowheart", "adaptive_shadowheart", "qsgd", "batch_qsgd", "dcgd", "diana", "marina"), COMPRESSED
    ),
    "bidirectional_shadowheart": {**COMPRESSED, "downlink": "natural"},
    "ef21": {"compressor": {"name": "top_k", "k": 5}},
    "ef21_sgdm": {"compressor": {"name": "top_k", "k": 5}},
    "perm_k_marina": {"hessian_variance": 1.0},
}
WITHOUT_THEORY = {"fedavg", "fedbuff", "gossip_sgd", "gradient_tracking", "relay_sgd", "asynchronous_gossip"}
FINITE_SUM = problems.NonconvexQuadratics(components=50, dimension=10, regularisation=0.1)
OF_FINITE_SUMS = {name for name, method in METHODS.items() if method.needs_components}


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WITHOUT_THEORY | OF_FINITE_SUMS])
def test_every_method_with_a_theory_descends_with_it(name, simulate):
    method = METHODS[name].from_theory(PROBLEM, WORKERS, EPS, **CONVEX, **ARGUMENTS.get(name, {}))
    ran = simulate(method, PROBLEM, "sqrt(i)", ro.Until(time=600), n=6)
    assert not ran.outcome.diverged_at
    assert ran.outcome.rows[-1]["value"] < ran.outcome.rows[0]["value"]


@pytest.mark.parametrize("name", sorted(OF_FINITE_SUMS))
def test_every_method_for_finite_sums_descends_with_its_theory(name, simulate):
    of_components = {"component_smoothness": 4.0, "component_gap": 1.0}
    method = METHODS[name].from_theory(FINITE_SUM, WORKERS, EPS, **of_components)
    ran = simulate(method, FINITE_SUM, "sqrt(i)", ro.Until(time=600), n=6)
    assert not ran.outcome.diverged_at
    assert ran.outcome.rows[-1]["gap"] < 0.9 * ran.outcome.rows[0]["gap"]


def test_a_method_for_finite_sums_asks_for_components():
    with pytest.raises(ro.InvalidInput, match="components: not known"):
        METHODS["freya_page"].from_theory(PROBLEM, WORKERS, EPS)


@pytest.mark.parametrize("name", sorted(WITHOUT_THEORY & METHODS.keys()))
def test_a_method_without_theory_says_so(name):
    with pytest.raises(ro.InvalidInput, match=r"^theory: no theory of"):
        METHODS[name].from_theory(PROBLEM, WORKERS, EPS)


@pytest.mark.parametrize("name", ["hero", "minibatch", "rennala", "ringmaster"])
def test_the_accuracy_is_reached_in_the_time_of_the_theorem(name):
    method = METHODS[name].from_theory(PROBLEM, WORKERS, EPS)
    label = type(method).__name__
    seconds = homogeneous.METHODS[label](setting_of(PROBLEM, WORKERS, EPS), CONSTANTS[label].value)
    record = ro.Record(every=seconds / 2000, metrics=["grad_norm_sq"], trace=False)
    result = ro.run(method, PROBLEM, WORKERS, until=ro.Until(time=seconds), record=record)
    assert result.history.grad_norm_sq.mean() <= EPS


def test_what_is_told_comes_before_what_the_problem_says():
    told = methods.Rennala.from_theory(PROBLEM, WORKERS, EPS, noise_variance=0.2, smoothness=2.0)
    assert told.parameters == {"step_size": 0.25, "batch_size": 10, "interrupt": False}
    told = methods.Rennala.from_theory(PROBLEM, WORKERS, EPS, batch_size=3, interrupt=True)
    assert (told.batch_size, told.interrupt) == (3, True)


def test_mindflayer_gives_up_at_the_median():
    workers = ro.Workers(3, compute=ro.latency.exponential(mean=[1.0, 2.0, 4.0]))
    method = methods.MindFlayer.from_theory(PROBLEM, workers, EPS)
    assert method.time_limit == pytest.approx([math.log(2), 2 * math.log(2), 4 * math.log(2)])
    limits = [2.0, 2.0, 2.0]
    known = setting_of(PROBLEM, workers, EPS, {"trial_times": limits})
    chances = [1 - math.exp(-2), 1 - math.exp(-1), 1 - math.exp(-0.5)]
    assert known.get_array("success_probabilities") == pytest.approx(chances)


def test_the_constants_of_different_data():
    problem = problems.LogisticRegression.digits(partition="labels")
    known = setting_of(problem, ro.Workers(4, compute=1.0), 0.1)
    split = problem.split(4, 0)
    assert known.get("largest_smoothness") == max(split.shard(worker).smoothness for worker in range(4))
    assert known.get("largest_smoothness") > known.get("smoothness")
    assert not known.knows("heterogeneity")
    assert setting_of(PROBLEM, WORKERS, EPS).get("heterogeneity") == 0.0


class NoMinimum(problems.Quadratic):
    """The quadratic, its minimum untold."""

    def __init__(self):
        super().__init__(10)
        self.minimum = None


@pytest.mark.parametrize(
    ("make", "key", "text"),
    [
        (
            lambda: methods.Rennala.from_theory(problems.LogisticRegression.digits(), WORKERS, EPS),
            "noise_variance",
            "not known (sigma^2, a bound of E||g - grad f||^2); allowed: noise_variance=..., given by hand; "
            "problem.estimate_noise_variance() estimates it",
        ),
        (
            lambda: setting_of(NoMinimum(), WORKERS, EPS).get("initial_gap"),
            "initial_gap",
            "initial_gap is not known: Delta = f(x0) - inf f",
        ),
        (lambda: methods.Rennala.from_theory(PROBLEM, WORKERS, 0.0), "eps", "eps: 0.0; allowed: a finite number abo"),
        (lambda: methods.Rennala.from_theory(PROBLEM, WORKERS, True), "eps", "eps: True"),
        (
            lambda: methods.Rennala.from_theory(PROBLEM, WORKERS, EPS, smothness=1.0),
            "smothness",
            "unknown (did you mean 'smoothness'?); allowed: step_size, batch_size, interrupt, smoothness",
        ),
        (
            lambda: methods.Rennala.from_theory(PROBLEM, WORKERS, EPS, noise_variance=-1.0),
            "noise_variance",
            "noise_variance: -1.0; allowed: a finite number of at least 0",
        ),
    ],
)
def test_bad_input(make, key, text):
    with pytest.raises(ValueError) as caught:
        make()
    assert getattr(caught.value, "key", getattr(caught.value, "name", None)) == key
    assert text in str(caught.value)
