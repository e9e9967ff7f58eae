"""Checks of a method or a problem of your own: what all of rayopt's hold, with failures that say what to do.

>>> import rayopt as ro
>>> from rayopt.testing import check_method, check_problem
>>> check_method(ro.methods.Rennala(step_size=0.2, batch_size=3))
>>> check_problem(ro.problems.Quadratic(dimension=10, noise=0.1))
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput
from rayopt.fleets.base import Job
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.latency import graphs, half_normal
from rayopt.latency.network import Network
from rayopt.latency.workers import Workers
from rayopt.methods.base import Method
from rayopt.problems import NonconvexQuadratics, Quadratic
from rayopt.problems.base import Problem
from rayopt.runs.record import Record
from rayopt.runs.snapshot import state_of
from rayopt.runs.until import Until
from rayopt.storage.encoding import Encoder

__all__ = ["METHOD_CHECKS", "PROBLEM_CHECKS", "check_method", "check_problem", "workers_for"]

N = 8
UNEQUAL = "1 + sqrt(i) / 3"


class Ran(NamedTuple):
    """What a run left.

    Attributes:
      method: after it.
      rows: of the trace.
      values: the recorded losses.
      counts: of arrivals, as text.
    """

    method: Method
    rows: NDArray[Any]
    values: list[float]
    counts: str


def check_method(method: Method) -> None:
    """Checks that a method keeps the contract that every method of rayopt keeps.

    Args:
      method: with arguments with which it descends on a quadratic over eight workers; it is not changed.

    Raises:
      AssertionError: the first check that fails, by its name, with what to do.
    """
    _check(METHOD_CHECKS, method)


def check_problem(problem: Problem) -> None:
    """Checks that a problem keeps the contract of an oracle.

    Args:
      problem: of a small size.

    Raises:
      AssertionError: the first check that fails, by its name, with what to do.
    """
    _check(PROBLEM_CHECKS, problem)


def _check(checks: dict[str, Callable[[Any], None]], checked: Any) -> None:
    for name, check in checks.items():
        try:
            check(checked)
        except AssertionError as failure:
            raise AssertionError(f"{name}: {checked!r}: {failure}") from None


# ---- methods ----


def _fitting(method: Method, noise: float = 0.1) -> Problem:
    if method.needs_components:
        return NonconvexQuadratics(components=15, dimension=20, regularisation=0.2)
    return Quadratic(20, noise=noise)


def workers_for(method: Method, count: int, compute: Any, **links: Any) -> Workers:
    """Returns so many workers; for a method without a server a star of them, whose edges take a quarter of a second.

    Args:
      method: that is to run on them.
      count: how many.
      compute: seconds per gradient, as for :class:`~rayopt.latency.workers.Workers`.
      **links: ``upload`` and ``download`` of a server's workers.
    """
    if method.decentralized:
        return Network(graphs.star(count), compute, edges=0.25)
    return Workers(count, compute, **links)


def _run(
    method: Method, problem: Problem, compute: Any = UNEQUAL, time: float = 60.0, seed: int = 0, trace: Any = "all"
) -> Ran:
    workers, until = workers_for(method, N, compute), Until(time=time)
    chunks: list[NDArray[Any]] = []
    record = Record(trace=trace).resolve(problem.metric_names, until)
    with SimulatedFleet().open(problem, workers) as session:
        outcome = session.run(
            Job(method, seed, until, record), lambda rows: chunks.append(rows.copy()), lambda progress: None
        )
    values = [row["value"] for row in outcome.rows]
    return Ran(method, np.concatenate(chunks) if chunks else np.zeros(0), values, str(outcome.counts))


def descends(method: Method) -> None:
    problem = _fitting(method, noise=0.001)
    values = _run(method.fresh(), problem, time=150).values
    least = problem.minimum if problem.minimum is not None else min(values)
    assert values[-1] < values[0] - 0.5 * (values[0] - least), (
        f"the loss went from {values[0]:.3g} to {values[-1]:.3g} in 150 s, and the minimum is {least:.3g}: use a step "
        "size with which it descends; if there is none, look at the sign of the update and at what `receive` gives next"
    )


def same_seed_same_bits(method: Method) -> None:
    times = half_normal("i", "sqrt(i)")
    first, second = (_run(method.fresh(), _fitting(method), times, seed=3) for _ in range(2))
    assert first.method.x.tobytes() == second.method.x.tobytes(), (
        "two runs with one seed end at different points: draw from fleet.random, never from NumPy's global generator, "
        "and keep no state outside of the object"
    )
    assert first.rows.tobytes() == second.rows.tobytes(), "two runs with one seed have different traces"


def a_grid_member_equals_its_own_run(method: Method) -> None:
    if method.control_depends_on_x:
        return
    steps = [0.1, 0.05, 0.02]
    problem = _fitting(method)
    try:
        with_grid = type(method)(**{**method.parameters, "step_size": steps})
    except (InvalidInput, TypeError) as error:
        raise AssertionError(
            f"it does not take a list of step sizes ({error}): pass step_size to Method.__init__, or set "
            "control_depends_on_x = True"
        ) from None
    grid = _run(with_grid, problem, time=40)
    for x, step in zip(grid.method.x, steps, strict=True):
        single = _run(method.with_step_size(step), problem, time=40)
        assert x.tobytes() == single.method.x.tobytes(), (
            f"the member with step size {step} of a grid ends elsewhere than its own run: x has shape (G, d) in a "
            "grid and self._step shape (G, 1), so write updates that broadcast over the first axis; a method whose "
            "decisions depend on x says control_depends_on_x = True"
        )


def recording_does_not_change_the_run(method: Method) -> None:
    runs = [_run(method.fresh(), _fitting(method), trace=trace) for trace in ("all", "arrivals", False)]
    assert len({run.method.x.tobytes() for run in runs}) == 1, "the end depends on what is recorded"
    assert len({run.counts for run in runs}) == 1, "the counts depend on what is recorded"


def points_are_never_changed(method: Method) -> None:
    seen: dict[int, tuple[NDArray[Any], bytes]] = {}

    def watched(compute: Callable[..., Any]) -> Callable[..., Any]:
        def call(x: NDArray[Any], *others: Any, **named: Any) -> Any:
            for point in (x, *others):
                if isinstance(point, np.ndarray) and point.dtype.kind == "f" and point.shape[-1:] == x.shape[-1:]:
                    seen.setdefault(id(point), (point, point.tobytes()))
            return compute(x, *others, **named)

        return call

    problem: Any = _fitting(method)
    names = ("component_gradient", "component_difference") if method.needs_components else ("gradient", "gradient_sum")
    for name in names:
        setattr(problem, name, watched(getattr(problem, name)))
    problem.split = lambda workers, seed: problem
    _run(method.fresh(), problem, time=30)
    assert all(x.tobytes() == before for x, before in seen.values()), (
        "a point that a worker was given was changed afterwards: write x = x - step * g, not x -= step * g"
    )


def its_state_can_be_kept(method: Method) -> None:
    ran = _run(method.fresh(), _fitting(method), time=30).method
    try:
        Encoder().encode(state_of(ran), type(method).__name__)
    except InvalidInput as error:
        raise AssertionError(f"a checkpoint cannot keep it: {error}") from None


def its_parameters_make_an_equal_method(method: Method) -> None:
    assert repr(method.fresh()) == repr(method), (
        f"fresh() gives {method.fresh()!r}: keep every argument of __init__ as an attribute of the same name"
    )
    assert repr(copy.deepcopy(method)) == repr(method), "copied, as when it is sent to a server, it is another method"


METHOD_CHECKS: dict[str, Callable[[Method], None]] = {
    check.__name__: check
    for check in (
        its_parameters_make_an_equal_method, points_are_never_changed, descends, same_seed_same_bits,
        a_grid_member_equals_its_own_run, recording_does_not_change_the_run, its_state_can_be_kept,
    )
}  # fmt: skip
"""What :func:`check_method` looks at, by name."""


# ---- problems ----

STEP = 1e-6


def _points(problem: Problem) -> NDArray[np.float64]:
    """Returns three points around the start, shape (3, d)."""
    start = problem.start_point()
    return (start + 0.1 * np.random.default_rng(0).standard_normal((3, *start.shape))).astype(start.dtype)


def _near(problem: Problem) -> dict[str, Any]:
    """Returns how near two ways to one gradient must come."""
    return {"rtol": 1e-9, "atol": 1e-12} if problem.dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}


def the_start_is_a_vector(problem: Problem) -> None:
    start = problem.start_point()
    assert isinstance(start, np.ndarray), f"start_point() is a {type(start).__name__}, not an array"
    assert start.shape == (problem.dimension,), f"start_point() has shape {start.shape}, not ({problem.dimension},)"
    assert start.dtype == problem.dtype, f"start_point() has the type {start.dtype}, and dtype says {problem.dtype}"
    assert np.isfinite(start).all(), "start_point() is not finite"


def a_sample_is_a_function_of_its_key(problem: Problem) -> None:
    own, x = problem.split(2, 0), problem.start_point()
    first, second = (own.gradient(x, own.draw(1, 7)) for _ in range(2))
    assert first.tobytes() == second.tobytes(), (
        "draw(worker, key) gives another sample for the same key: take all randomness from the key "
        "(rayopt.core.keys.uniform(key), for one number)"
    )


def a_gradient_is_a_vector(problem: Problem) -> None:
    own, x = problem.split(2, 0), problem.start_point()
    before = x.copy()
    found = own.gradient(x, own.draw(0, 5))
    assert found.shape == x.shape, f"gradient has shape {found.shape}, not {x.shape}"
    assert np.isfinite(found).all(), "a gradient at the start is not finite"
    assert x.tobytes() == before.tobytes(), "gradient changes the point that it is given"


def a_grid_of_points_has_a_gradient_each(problem: Problem) -> None:
    own = problem.split(2, 0)
    points, sample = _points(problem), own.draw(0, 5)
    together = own.gradient(points, sample)
    assert together.shape == points.shape, (
        f"the gradients at 3 points have shape {together.shape}, not {points.shape}: a grid has x of shape (G, d)"
    )
    for x, found in zip(points, together, strict=True):
        np.testing.assert_allclose(found, own.gradient(x, sample), **_near(problem),
                                   err_msg="a member of a grid has another gradient than the point alone")  # fmt: skip


def a_sum_of_gradients_is_their_sum(problem: Problem) -> None:
    own, x = problem.split(2, 0), problem.start_point()
    keys, workers, weights = np.array([1, 2, 3], dtype=np.uint64), np.zeros(3, dtype=np.intp), np.array([1.0, 2.0, 0.5])
    samples = own.draw_many(workers, keys)
    expected = sum(w * own.gradient(x, own.draw(0, int(key))) for w, key in zip(weights, keys, strict=True))
    np.testing.assert_allclose(own.gradient_sum(x, samples, weights), expected, **_near(problem),
                               err_msg="gradient_sum is not the weighted sum of gradient")  # fmt: skip


def the_gradient_is_that_of_the_value(problem: Problem) -> None:
    x = _points(problem)[0]
    try:
        full = problem.full_gradient(x)
    except NotImplementedError:
        return
    direction = np.random.default_rng(1).standard_normal(x.shape)
    direction /= np.linalg.norm(direction)
    step, share = (STEP, 1e-4) if problem.dtype == "float64" else (2e-2, 2e-2)
    ends = [x + sign * step * direction for sign in (1, -1)]
    slope = (float(problem.value(ends[0].astype(x.dtype))) - float(problem.value(ends[1].astype(x.dtype)))) / (2 * step)
    allowed = share * max(1.0, float(np.linalg.norm(full)))
    assert abs(slope - float(full @ direction)) <= allowed, (
        f"along a direction the value changes by {slope:.6g}, and the full gradient says {float(full @ direction):.6g}"
    )


PROBLEM_CHECKS: dict[str, Callable[[Problem], None]] = {
    check.__name__: check
    for check in (
        the_start_is_a_vector, a_sample_is_a_function_of_its_key, a_gradient_is_a_vector,
        a_grid_of_points_has_a_gradient_each, a_sum_of_gradients_is_their_sum, the_gradient_is_that_of_the_value,
    )
}  # fmt: skip
"""What :func:`check_problem` looks at, by name."""
