"""A loss function of JAX as a problem: its gradients, its tree, what travels, and what is refused."""

from __future__ import annotations

import importlib
import pickle
import sys
from typing import Any

import cloudpickle
import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.testing import check_problem

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy

ROWS, FEATURES, CLASSES = 40, 5, 3


def tree(hidden: int = 6) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "first": (random.normal(size=(FEATURES, hidden)), np.zeros(hidden)),
        "last": [random.normal(size=(hidden, CLASSES)), np.zeros(CLASSES)],
    }


def scores(parameters: Any, X: Any) -> jax.Array:
    (W, w), (V, v) = parameters["first"], parameters["last"]
    return jnp.maximum(X @ W + w, 0) @ V + v


def losses(parameters: Any, X: Any, y: Any) -> jax.Array:
    return -jax.nn.log_softmax(scores(parameters, X))[jnp.arange(len(y)), y]


def mean_loss(parameters: Any, X: Any, y: Any) -> jax.Array:
    return losses(parameters, X, y).mean()


def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((ROWS, FEATURES)), random.integers(0, CLASSES, ROWS)


def small(loss: Any = losses, **arguments: Any) -> ro.problems.JaxProblem:
    return ro.problems.JaxProblem(loss, tree(), *arrays(), **{"predict": scores, "dtype": "float64", **arguments})


def as_mlp(problem: ro.problems.JaxProblem, x: np.ndarray) -> np.ndarray:
    """The point in the order of ro.problems.MLP: W before w, the first layer before the last."""
    with problem._setting():
        (W, w), (V, v) = (problem._tree(x)[key] for key in ("first", "last"))
        return np.concatenate([np.ravel(part) for part in (W, w, V, v)])


@pytest.mark.parametrize("loss", [losses, mean_loss])
def test_it_is_the_network_of_numpy(loss):
    problem = small(loss, batch=5, partition="split").split(4, 0)
    mlp = ro.problems.MLP(*arrays(), hidden=[6], batch=5, partition="split").split(4, 0)
    x = problem.start_point()
    for key in range(4):
        sample = problem.draw(2, key)
        np.testing.assert_array_equal(sample, mlp.draw(2, key))
        expected = mlp.gradient(as_mlp(problem, x), sample)
        np.testing.assert_allclose(as_mlp(problem, problem.gradient(x, sample)), expected, atol=1e-12)
    full = as_mlp(problem, problem.full_gradient(x))
    np.testing.assert_allclose(full, mlp.full_gradient(as_mlp(problem, x)), atol=1e-12)
    assert problem.metrics(x) == pytest.approx(mlp.metrics(as_mlp(problem, x)), rel=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", [losses, mean_loss])
def test_it_satisfies_what_every_problem_must(dtype, loss):
    problem = small(loss, dtype=dtype, batch=3)
    check_problem(problem)
    x = problem.start_point()
    assert x.dtype == problem.gradient(x, problem.draw(0, 0)).dtype == problem.full_gradient(x).dtype == dtype


def test_many_points_and_grids_are_near_the_point_alone_or_equal_to_the_bit():
    problem, exact = small(batch=4), small(batch=4, bits="exact")
    points = [problem.start_point() + 0.1 * k for k in range(70)]
    samples = [problem.draw(0, k) for k in range(70)]
    for g, x, sample in zip(problem.gradients(points, samples), points, samples, strict=True):
        np.testing.assert_allclose(g, problem.gradient(x, sample), atol=1e-12)
    grid = np.stack(points[:3])
    for found, x in zip(problem.gradient(grid, samples[0]), grid, strict=True):
        np.testing.assert_allclose(found, problem.gradient(x, samples[0]), atol=1e-12)
    for found, x in zip(exact.gradient(grid, samples[0]), grid, strict=True):
        assert found.tobytes() == exact.gradient(x, samples[0]).tobytes()


def test_methods_descend_and_batched_gradients_agree():
    problem = ro.problems.JaxProblem(losses, tree(), *arrays(), predict=scores, batch=4)
    chosen = [methods.ASGD(0.05), methods.Rennala([0.1, 0.3], batch_size=4), methods.FreyaPAGE(0.1)]
    arguments = {"until": ro.Until(time=150), "workers": ro.Workers(6, "sqrt(i)")}
    here = ro.run(chosen, problem, **arguments)
    batched = ro.run(chosen, problem, fleet=ro.SimulatedFleet(gradients="batched"), **arguments)
    np.testing.assert_allclose(batched.table.value, here.table.value, rtol=1e-4)
    first = here.history[here.history.time == 0].value.max()
    assert (here.table.value < 0.8 * first).all()


def test_it_travels_without_what_was_compiled():
    problem = small()
    x, sample = problem.start_point(), problem.draw(0, 1)
    before = problem.gradient(x, sample)
    again = pickle.loads(cloudpickle.dumps(problem))
    assert "_functions" not in again.__dict__
    assert again.gradient(x, sample).tobytes() == before.tobytes()


WORKLOAD = """
problem: {{name: jax, loss: "{module}:losses", parameters: "{module}:tree", predict: "{module}:scores", data: {data},
          batch: 4}}
workers: {{count: 3, compute: i}}
methods: [{{name: asgd, step_size: 0.1}}]
until: {{time: 20}}
"""


def test_a_workload_names_its_functions(tmp_path, monkeypatch):
    from rayopt.experiments.config import load_workload

    np.savez(tmp_path / "rows.npz", X=arrays()[0], y=arrays()[1])
    workload = tmp_path / "workload.yaml"
    data = f"{{npz: {tmp_path / 'rows.npz'}}}"
    text = WORKLOAD.format(module="tests.problems.test_jax_problem", data=data)
    workload.write_text(text)
    with monkeypatch.context() as patch:
        named = importlib.import_module("tests.problems.test_jax_problem")
        patch.delitem(named.losses.__annotations__, "return")
        with pytest.raises(ro.InvalidInput, match=r"problem.loss: .*test_jax_problem:losses. does not say"):
            load_workload(workload).build()
    result = load_workload(workload).build().run(out=tmp_path / "run")
    assert result.table.accuracy[0] > 0.4
    again = load_workload(tmp_path / "run" / "config.yaml").build()
    assert again.problem.to_config() == load_workload(workload).build().problem.to_config()


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: small(lambda parameters, X, y: jnp.zeros((len(y), 2))), "loss"),
        (lambda: small(lambda parameters, X, y: parameters["none"]), "loss"),
        (lambda: small("nothing.here:loss"), "loss"),
        (lambda: small(dtype="float16"), "dtype"),
        (lambda: small(device="tpu9"), "device"),
        (lambda: small(bits="some"), "bits"),
        (lambda: ro.problems.JaxProblem(losses, {}, *arrays()), "parameters"),
        (lambda: ro.problems.JaxProblem(losses, {"w": "text"}, *arrays()), "parameters"),
    ],
)
def test_what_is_not_allowed_is_one_line(make, key):
    with pytest.raises(ro.InvalidInput) as caught:
        make()
    assert caught.value.key == key


def test_without_jax(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(ro.InvalidInput, match=r"name: 'jax' needs JAX \(.*\); allowed: pip install 'rayopt\[jax\]'"):
        small()
