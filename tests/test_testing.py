"""``rayopt.testing``: what is wrong is named, with what to do."""

from __future__ import annotations

import numpy as np
import pytest

from rayopt import methods, problems
from rayopt.problems import Quadratic
from rayopt.testing import check_method, check_problem


class Own(methods.ASGD):
    """A method of a user's own."""

    name = "own"


class Ascends(Own):
    def receive(self, arrival, fleet):
        self.x = self.x + self._step * arrival.value
        self.updates += 1
        fleet.assign(arrival.worker, self.point())


class ChangesPoints(Own):
    def receive(self, arrival, fleet):
        self.x -= self._step * arrival.value
        self.updates += 1
        fleet.assign(arrival.worker, self.point())


class DrawsGlobally(Own):
    def receive(self, arrival, fleet):
        self.x = self.x - self._step * arrival.value * np.random.default_rng().uniform(0.5, 1.5)
        self.updates += 1
        fleet.assign(arrival.worker, self.point())


class KnowsNoGrid(Own):
    def receive(self, arrival, fleet):
        self.x = self.x - self._step * arrival.value * min(1.0, 1 / np.linalg.norm(arrival.value))
        self.updates += 1
        fleet.assign(arrival.worker, self.point())


class KeepsAFunction(Own):
    def start(self, fleet):
        self.hook = lambda: None
        super().start(fleet)


class Forgets(methods.Rennala):
    name = "forgets"

    def __init__(self, step_size, batch_size, interrupt=False, compressor=None):
        super().__init__(step_size, batch_size, interrupt, compressor)
        self.batch_size = 2 * batch_size


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Ascends(0.1), r"^descends: Ascends\(.*sign of the update"),
        (ChangesPoints(0.1), "^points_are_never_changed.*write x = x - step"),
        (DrawsGlobally(0.1), "^same_seed_same_bits.*fleet.random"),
        (KnowsNoGrid(0.1), r"^a_grid_member_equals_its_own_run.*shape \(G, d\)"),
        (KeepsAFunction(0.1), "^its_state_can_be_kept.*hook"),
        (Forgets(0.1, 3), "^its_parameters_make_an_equal_method.*attribute of the same name"),
    ],
    ids=lambda given: type(given).__name__ if not isinstance(given, str) else "",
)
def test_a_method_that_is_wrong(method, text):
    with pytest.raises(AssertionError, match=text):
        check_method(method)


class DrawsAnew(Quadratic):
    name = "draws_anew"
    rng = np.random.default_rng(0)

    def draw(self, worker, key, count=1):
        return super().draw(worker, int(self.rng.integers(2**60)), count)


class Halved(Quadratic):
    name = "halved"

    def full_gradient(self, x):
        return 0.5 * super().full_gradient(x)


class Flat(Quadratic):
    name = "flat"

    def gradient(self, x, sample, checkpoint=None):
        return super().gradient(x, sample).ravel()


class SumsWrongly(Quadratic):
    name = "sums_wrongly"

    def gradient_sum(self, x, samples, weights=None):
        return super().gradient_sum(x, samples, None)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (DrawsAnew(6, noise=0.1), "^a_sample_is_a_function_of_its_key.*from the key"),
        (Halved(6), "^the_gradient_is_that_of_the_value"),
        (Flat(6), "^a_grid_of_points_has_a_gradient_each"),
        (SumsWrongly(6, noise=0.1), "^a_sum_of_gradients_is_their_sum"),
    ],
    ids=lambda given: type(given).__name__ if not isinstance(given, str) else "",
)
def test_a_problem_that_is_wrong(problem, text):
    with pytest.raises(AssertionError, match=text):
        check_problem(problem)


@pytest.mark.parametrize(
    "problem",
    [
        Quadratic(8, noise=0.1),
        Quadratic(8, noise=0.1, noise_kind="iid"),
        problems.LogisticRegression.digits(batch=3),
        problems.MLP.digits(hidden=[5]),
        problems.NonconvexQuadratics(components=5, dimension=6),
    ],
    ids=lambda problem: problem.name,
)
def test_problems_of_the_project(problem):
    check_problem(problem)
