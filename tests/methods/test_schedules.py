"""Step sizes that change: their values, where they act, and what a workload file says of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt.experiments.config import load_workload
from rayopt.methods.schedules import SCHEDULES, schedule

FIRST_STEPS = {
    "constant": (0.5, 0.5, 0.5),
    "inverse_time": (0.5, 0.5 / 1.25, 0.5 / 2),
    "inverse_sqrt": (0.5, 0.5 / math.sqrt(1.25), 0.5 / math.sqrt(2)),
    "cosine": (0.5, 0.25 * (1 + math.cos(math.pi / 4)), 0.0005),
    "step": (0.5, 0.5, 0.05),
    "warmup": (0.125, 0.25, 0.5),
    "backoff": (0.5, 0.5, 0.25),
}
SHAPES = {name: {"over": 4} for name in ("inverse_time", "inverse_sqrt", "cosine", "warmup", "backoff")} | {
    "step": {"every": 4}
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_values_before_updates_one_two_and_five(name: str) -> None:
    made = SCHEDULES[name](0.5, **SHAPES.get(name, {}))
    assert [made(k) for k in (0, 1, 4)] == pytest.approx(FIRST_STEPS[name])
    assert schedule(made.to_config()) == made
    assert eval(repr(made), dict(SCHEDULES)) == made


@pytest.mark.parametrize("by", ["updates", "time"])
@pytest.mark.parametrize("name", [*SCHEDULES, "product"])
def test_many_updates_at_once_have_the_step_sizes_of_each(name: str, by: str) -> None:
    if name == "product":
        made = 2.0 * SCHEDULES["warmup"](over=4, by=by) * SCHEDULES["cosine"](0.5, over=500, end=0.1)
    elif name == "constant":
        made = SCHEDULES[name](0.5)
    else:
        made = SCHEDULES[name](0.5, by=by, **SHAPES[name])
    updates = np.arange(5, 3000)
    found = made.many(updates, 2.5)
    assert found.shape == updates.shape
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [made(int(k), 2.5) for k in updates], rtol=1e-12)


def test_a_cosine_with_an_end_is_that_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.5)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=20, eta_min=0.05)
    made = ro.schedules.cosine(0.5, over=20, end=0.1)
    for k in range(21):
        assert made(k) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12)
        optimiser.step()
        annealing.step()


@pytest.mark.parametrize("factor", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_rounds_of_a_backoff_have_the_lengths_of_the_paper(factor: float) -> None:
    made, starts, length = ro.schedules.backoff(0.5, over=7, factor=factor), [0.0], 7.0
    for _ in range(12):
        starts.append(starts[-1] + length)
        length /= factor
    for k in range(min(int(starts[-1]), 20_000)):
        rounds = sum(start <= k * (1 + 1e-12) for start in starts[1:])
        assert made(k) == pytest.approx(0.5 * factor**rounds, rel=1e-12), k


def test_a_backoff_reaches_what_its_first_step_size_does_not() -> None:
    """On a strongly convex quadratic with noise: the floor of a step size is of its order."""
    problem, until = ro.problems.Quadratic(3, noise=0.5), ro.Until(updates=20_000)
    made = [ro.methods.Hogwild(step) for step in (0.3, ro.schedules.backoff(0.3, over=1000, factor=0.5))]
    found = [ro.run(method, problem, ro.Workers(3, "sqrt(i)"), until=until).table.gap[0] for method in made]
    assert found[1] < found[0] / 4


def test_a_product_multiplies_and_has_the_step_sizes_of_both() -> None:
    product = ro.schedules.warmup(over=10) * ro.schedules.cosine(0.5, over=100) * 2.0
    assert product(4) == pytest.approx(0.5 * 2 * 0.5 * 0.5 * (1 + math.cos(math.pi * 0.04)))
    assert product.step_size == 1.0
    assert schedule(product.to_config()) == product
    assert repr(product) == "warmup(1, over=10) * cosine(1, over=100)"


def test_no_schedule_ever_reaches_zero() -> None:
    for name in SCHEDULES:
        made = SCHEDULES[name](0.5, **SHAPES.get(name, {}))
        assert made(0) > 0
        assert made(10**9) > 0
    falling = SCHEDULES["step"](0.5, every=1, factor=0.01)
    for made in (falling * falling, falling.with_step_size(1e-20), 1e-20 * falling):
        assert made(160) > 0
        assert made(10_000) > 0
        assert (made.many(np.array([160, 10_000])) > 0).all()


@pytest.mark.parametrize("made", [
    ro.schedules.step(0.1, every=1e-308, by="time"), ro.schedules.backoff(0.1, over=1e-300, by="time"),
    ro.schedules.backoff(0.1, over=1, factor=1e-6), ro.schedules.inverse_time(0.1, over=1e-308, by="time"),
])  # fmt: skip
def test_extremes_are_small_step_sizes(made: Any) -> None:
    for time in (0.0, 1.0, 1e6, 1e300):
        assert 0 < made(0, time) <= 0.1
        assert 0 < made(10**9, time) <= 0.1
        assert made.many(np.array([3]), time)[0] > 0


def test_a_schedule_is_written_with_all_its_digits() -> None:
    first, second = (ro.schedules.cosine(step_size, over=50) for step_size in (0.1234567, 0.1234568))
    assert repr(first) == "cosine(0.1234567, over=50)"
    assert repr(ro.schedules.cosine(0.5)) == "cosine(0.5, over=1000)"
    experiment = ro.Experiment([ro.methods.ASGD(first), ro.methods.ASGD(second)], ro.problems.Quadratic(4),
                               ro.Workers(2, "i"), ro.Until(time=3))  # fmt: skip
    assert len(set(experiment.labels)) == 2


def test_shapes_of_one_step_size_are_refused_with_what_to_do() -> None:
    with pytest.raises(ro.InvalidInput, match=r"twice in the list; allowed: .*a method of its own with a label"):
        ro.methods.ASGD([{"cosine": 0.5, "over": 200}, {"cosine": 0.5, "over": 2000}])


@pytest.mark.parametrize(
    ("step_size", "place"),
    [
        ({"cosin": 0.5}, "step_size"),
        ({"cosine": 0.0, "over": 5}, "step_size.cosine"),
        ({"cosine": 0.5, "over": 0}, "step_size.over"),
        ({"cosine": 0.5, "end": 0}, "step_size.end"),
        ({"cosine": 0.5, "end": 1.5}, "step_size.end"),
        ({"cosine": 0.5, "ovr": 5}, "step_size.ovr"),
        ({"cosine": 0.5, "by": "seconds"}, "step_size.by"),
        ({"step": 0.5, "factor": -1}, "step_size.factor"),
        ({"backoff": 0.5, "factor": 1}, "step_size.factor"),
        ({"backoff": 0.5, "factor": 1e-200}, "step_size.factor"),
        ({"cosine": 0.5, "warmup": 1}, "step_size"),
        ({"product": [{"cosine": 0.5}]}, "step_size.product"),
        ({"product": [{"cosine": 0.5}, {"warmup": -1}]}, "step_size.product[1].warmup"),
        ([{"cosine": 0.5}, 0.5], "step_size"),
        ([], "step_size"),
    ],
)
def test_what_is_no_schedule_is_one_line(step_size: Any, place: str) -> None:
    with pytest.raises(ro.InvalidInput) as caught:
        ro.methods.ASGD(step_size)
    assert caught.value.key == place
    assert "\n" not in str(caught.value)


def points(method: ro.methods.Method, gradients: list[float]) -> list[float]:
    """Returns x^1, x^2, ... of a method that descends by given gradients from 1."""
    method.prepare(np.ones(1), 1)
    found = []
    for gradient in gradients:
        method.descend(np.array([gradient]))
        found.append(float(method.x[0]))
    return found


def test_a_method_takes_the_step_of_its_update() -> None:
    assert points(ro.methods.ASGD({"step": 1.0, "every": 2, "factor": 0.5}), [1, 1, 1, 1]) == [0, -1, -1.5, -2]


def test_a_schedule_by_time_follows_the_clock() -> None:
    method = ro.methods.ASGD(ro.schedules.step(1.0, every=2.5, factor=0.5, by="time"))
    problem = ro.problems.Quadratic(dimension=4, noise=0.0)
    result = ro.run(method, problem, ro.Workers(1, compute=1.0), until=ro.Until(time=4), record=ro.Record(every=1.0))
    x = problem.start_point()
    for step, value in zip((1.0, 1.0, 0.5, 0.5), result.history.value[1:], strict=True):
        x = x - step * problem.full_gradient(x)
        assert value == pytest.approx(problem.value(x))


def test_members_of_a_grid_of_schedules_are_their_own_runs() -> None:
    problem = ro.problems.Quadratic(dimension=8)
    steps = [{"cosine": 0.5, "over": 30}, 0.2, {"warmup": 0.3, "over": 10}]
    until, workers = ro.Until(time=30), ro.Workers(3, compute="sqrt(i)")
    for kind, arguments in ((ro.methods.Ringmaster, {"threshold": 4}), (ro.methods.FedAvg, {"local_steps": 2})):
        grid = ro.run(kind(step_size=steps, **arguments), problem, workers, until=until)
        for step in steps:
            alone = ro.run(kind(step_size=step, **arguments), problem, workers, until=until)
            (gamma,) = alone.table.step_size
            member = grid.history[grid.history.step_size == gamma]
            assert member.value.tolist() == alone.history.value.tolist()


def test_a_method_with_another_step_size_keeps_the_shape_of_its_schedule() -> None:
    method = ro.methods.ASGD(ro.schedules.cosine(0.5, over=30))
    assert method.with_step_size(0.1).step_size == ro.schedules.cosine(0.1, over=30)
    assert method.fresh().step_size == method.step_size


def test_a_workload_holds_a_schedule_and_its_result_is_read_again(tmp_path) -> None:
    workload = tmp_path / "workload.yaml"
    workload.write_text(
        "problem: {name: quadratic, dimension: 6}\nworkers: {count: 3, compute: i}\nuntil: {time: 12}\n"
        "methods:\n- {name: rennala, step_size: {cosine: 0.5, over: 20}, batch_size: 2}\n"
        "- {name: asgd, step_size: {product: [{warmup: 1, over: 3}, {inverse_sqrt: 0.3, over: 5}]}}\n"
    )
    experiment = load_workload(workload).build()
    experiment.run(out=tmp_path / "run")
    again = load_workload(tmp_path / "run" / "config.yaml").build()
    assert [method.step_size for method in again.methods] == [method.step_size for method in experiment.methods]
    assert ro.load(tmp_path / "run").table.step_size.tolist() == [0.5, 0.3]


def test_nodes_that_step_by_themselves_refuse_a_schedule() -> None:
    with pytest.raises(ro.InvalidInput, match=r"step_size: cosine\(0.5, over=1000\) is a schedule"):
        ro.methods.GossipSGD({"cosine": 0.5})
