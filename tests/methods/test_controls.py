"""Server updates, weight decay, clipping and averages: against PyTorch's optimisers and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt.fleets.base import Job
from rayopt.methods.server import SERVER_UPDATES
from rayopt.runs.record import Record
from tests.methods.test_schedules import points

WORKERS, UNTIL = ro.Workers(3, compute="sqrt(i)"), ro.Until(time=25)


def problem() -> ro.problems.Quadratic:
    return ro.problems.Quadratic(dimension=6)


def final(method: ro.methods.Method) -> Any:
    return ro.run(method, problem(), WORKERS, until=UNTIL).history.value.tolist()


OPTIMISERS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "momentum": (ro.server.Momentum(0.8), "SGD", {"momentum": 0.8}),
    "nesterov": (ro.server.Nesterov(0.8), "SGD", {"momentum": 0.8, "nesterov": True}),
    "adam": (ro.server.Adam(beta1=0.8, beta2=0.95), "Adam", {"betas": (0.8, 0.95)}),
    "adagrad": (ro.server.AdaGrad(), "Adagrad", {}),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("grid", [False, True])
def test_one_worker_does_what_pytorchs_optimiser_does(name: str, weight_decay: float, grid: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    part, optimiser, arguments = OPTIMISERS[name]
    step_sizes = [0.05, 0.2] if grid else [0.05]
    generator = np.random.default_rng(1)
    start, gradients = generator.normal(size=7), generator.normal(size=(40, 7))
    method = ro.methods.ASGD(step_sizes if grid else step_sizes[0], server=part, weight_decay=weight_decay)
    method.prepare(start, 1)
    for gradient in gradients:
        method.descend(np.broadcast_to(gradient, method.x.shape))
    for member, step_size in zip(np.atleast_2d(method.x), step_sizes, strict=True):
        parameter = torch.nn.Parameter(torch.tensor(start))
        made = getattr(torch.optim, optimiser)([parameter], lr=step_size, weight_decay=weight_decay, **arguments)
        for gradient in gradients:
            parameter.grad = torch.tensor(gradient)
            made.step()
        np.testing.assert_allclose(member, parameter.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_clipping_is_that_of_pytorch_and_leaves_short_gradients_to_the_bit() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    method = ro.methods.ASGD([0.5, 1.0], clip_norm=1.0)
    method.prepare(np.zeros(3), 1)
    long, short = np.array([3.0, 0.0, 4.0]), np.array([0.1, -0.2, 0.3])
    method.descend(np.stack([long, short]))
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    parameter.grad = torch.tensor(long)
    torch.nn.utils.clip_grad_norm_([parameter], 1.0)
    np.testing.assert_allclose(method.x[0], -0.5 * parameter.grad.numpy(), rtol=1e-5)
    assert method.x[1].tolist() == (-short).tolist()


@pytest.mark.parametrize("control", [{"server": ro.server.Momentum(0.0)}, {"server": ro.server.Nesterov(0.0)},
                                     {"clip_norm": 1e9}, {"weight_decay": 0.0}])  # fmt: skip
def test_at_its_limit_a_control_is_plain_descent_to_the_bit(control: dict[str, Any]) -> None:
    assert final(ro.methods.Ringmaster(0.1, threshold=3, **control)) == final(ro.methods.Ringmaster(0.1, threshold=3))


def test_yogi_by_hand() -> None:
    made = ro.server.Yogi(beta1=0.5, beta2=0.75, eps=0.1)
    state: dict[str, Any] = {}
    found = [float(made.direction(np.array([g]), state)[0]) for g in (2.0, 1.0)]
    # v: 0 + 0.25 * 4 = 1, then 1 - 0.25 * sign(1 - 1) * 1 = 1; m: 1, then 1.
    assert found == pytest.approx([1 / 1.1, 1 / 1.1])
    assert float(made.direction(np.array([3.0]), state)[0]) == pytest.approx(2.0 / (np.sqrt(1 + 0.25 * 9) + 0.1))


def test_muon_makes_matrices_nearly_orthogonal_and_leaves_vectors() -> None:
    shapes = [[5, 3], [4], [2, 6]]
    gradient = np.random.default_rng(0).normal(size=(2, 15 + 4 + 12))
    found = ro.server.Muon(momentum=0.0, shapes=shapes).direction(gradient, {})
    assert found[:, 15:19].tolist() == gradient[:, 15:19].tolist()
    for member in found:
        tall = np.linalg.svd(member[:15].reshape(5, 3) / np.sqrt(5 / 3), compute_uv=False)
        wide = np.linalg.svd(member[19:].reshape(2, 6), compute_uv=False)
        for values in (tall, wide):
            assert 0.6 < values.min() <= values.max() < 1.3


def test_muon_is_told_the_matrices_by_the_problem() -> None:
    method = ro.methods.Minibatch(0.1, server="muon")
    network = ro.problems.MLP.digits(hidden=[4])
    method.use_problem(network)
    method.prepare(network.start_point(), 2)
    before = method.x
    method.descend(np.random.default_rng(0).normal(size=network.dimension))
    change = (method.x - before)[: 65 * 4].reshape(65, 4)
    assert np.linalg.cond(change) < 2


AVERAGES: list[tuple[Any, list[float]]] = [
    # x^1, x^2, ... is 0, -1, -2, ... from x^0 = 1.
    ("uniform", [0, -0.5, -1, -1.5, -2, -2.5, -3, -3.5]),
    # Of x^1; x^1, x^2; x^1..3; x^2..4, x^2..5, x^2..6, x^2..7; x^4..8.
    ("last_half", [0, -0.5, -1, -2, -2.5, -3, -3.5, -5]),
    ({"exponential": 0.5}, [0.5, -0.25, -1.125, -2.0625, -3.03125, -4.015625, -5.0078125, -6.00390625]),
]


@pytest.mark.parametrize(("kind", "wanted"), AVERAGES)
def test_averages_by_hand(kind: Any, wanted: list[float]) -> None:
    method = ro.methods.ASGD(1.0, averaging=kind)
    method.prepare(np.ones(1), 1)
    assert method.estimate.tolist() == [1.0]
    found = []
    for _ in wanted:
        method.descend(np.ones(1))
        found.append(float(method.estimate[0]))
    assert found == pytest.approx(wanted)


def test_fedavg_with_momentum_at_the_server_is_fedavgm() -> None:
    method = ro.methods.FedAvg(0.1, local_steps=1, server=ro.server.Momentum(0.5), server_step_size=2.0)
    method.prepare(np.zeros(1), 1)
    found = []
    for change in (1.0, 1.0, 1.0):
        method.replace_by(np.array([change]), method.server_step_size)
        found.append(float(method.x[0]))
    assert found == [-2.0, -5.0, -8.5]


@pytest.mark.parametrize("name", SERVER_UPDATES)
def test_every_part_runs_on_a_grid_and_goes_on_from_a_checkpoint(name: str, tmp_path: Any) -> None:
    from rayopt.fleets.evaluation import Evaluation
    from rayopt.fleets.simulated.session import SimulatedWorkers
    from rayopt.runs.loop import serve
    from rayopt.runs.recorder import Recorder
    from rayopt.runs.snapshot import restore, take

    step_sizes = [{"cosine": 0.1, "over": 40}, 0.03]
    make = lambda: ro.methods.Ringmaster(step_sizes, 3, server={"name": name}, averaging="last_half", clip_norm=5.0)  # noqa: E731

    def begun(until: float) -> tuple[Any, Any, Any]:
        made, method = problem(), make()
        split = made.split(3, 0)
        fleet = SimulatedWorkers(split, WORKERS.times(0, 6), 0)
        method.use_problem(split)
        method.prepare(split.start_point(), 3)
        record = ro.Record(every=1.0).resolve(split.metric_names, ro.Until(time=until))
        evaluation = Evaluation(split, record.metrics or ())
        recorder = Recorder(record, ro.Until(time=until), evaluation, lambda rows: None, lambda recorder: None)
        return method, fleet, recorder

    whole = begun(30)
    serve(*whole)
    first = begun(11)
    serve(*first)
    second = begun(30)
    restore(take(*first), *second)
    assert second[0].x.tolist() == first[0].x.tolist()
    assert second[0].estimate.tolist() == first[0].estimate.tolist()
    for change in (np.full((2, 6), 0.5), np.full((2, 6), -0.25)):
        for method in (first[0], second[0]):
            method.descend(change)
    assert second[0].x.tolist() == first[0].x.tolist()
    assert second[0].estimate.tolist() == first[0].estimate.tolist()


@pytest.mark.parametrize(
    ("control", "place"),
    [
        ({"server": {"name": "adma"}}, "server.name"),
        ({"server": 3}, "server"),
        ({"server": {"name": "adam", "beta": 1}}, "server.beta"),
        ({"server": {"name": "momentum", "momentum": 1.0}}, "server.momentum"),
        ({"server": {"name": "muon", "iterations": 0}}, "server.iterations"),
        ({"server": {"name": "muon", "shapes": 5}}, "server.shapes"),
        ({"server": {"name": "muon", "shapes": [5]}}, "server.shapes"),
        ({"averaging": np.array([1, 2])}, "averaging"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"clip_norm": 0}, "clip_norm"),
        ({"averaging": "half"}, "averaging"),
        ({"averaging": {"exponential": 1}}, "averaging.exponential"),
    ],
)
def test_a_control_that_is_not_allowed_is_one_line(control: dict[str, Any], place: str) -> None:
    with pytest.raises(ro.InvalidInput) as caught:
        ro.methods.Minibatch(0.1, **control)
    assert caught.value.key == place


@pytest.mark.parametrize(
    "make",
    [
        lambda **control: ro.methods.AcceleratedRennala(0.1, batch_size=2, **control),
        lambda **control: ro.methods.AcceleratedFragile(0.1, batch_size=2, **control),
        lambda **control: ro.methods.GossipSGD(0.1, **control),
        lambda **control: ro.methods.RelaySGD(0.1, **control),
    ],
)
def test_methods_that_cannot_take_a_control_say_why(make: Any) -> None:
    for control in ({"server": "adam"}, {"weight_decay": 0.1}, {"clip_norm": 1.0}, {"averaging": "uniform"}):
        with pytest.raises(ro.InvalidInput, match="cannot take"):
            make(**control)
    make(server=None, weight_decay=0.0)


def test_the_table_says_that_a_theorem_is_about_plain_descent() -> None:
    methods = [ro.methods.Ringmaster(0.1, 3, server="adam"), ro.methods.FedAvg(0.1, 2, server="adam"),
               ro.methods.Rennala(0.1, 2, averaging="uniform")]  # fmt: skip
    notes = ro.run(methods, problem(), WORKERS, until=UNTIL).summary["notes"]
    limit = ro.methods.Ringmaster(0.1, 3, server={"name": "nesterov", "momentum": 0})
    assert limit.note == ""
    assert len(notes) == 1
    assert notes[0].startswith("Ringmaster: its theorem is about plain descent, not about server = Adam(")


def test_every_method_takes_the_controls_or_refuses_them() -> None:
    for method in ro.methods.METHODS.values():
        assert {"server", "weight_decay", "clip_norm", "averaging"} <= set(method.arguments()), method


def test_an_unknown_argument_is_that_of_the_method() -> None:
    with pytest.raises(TypeError, match=r"Ringmaster\(\) got an unexpected keyword argument 'thresold'"):
        ro.methods.Ringmaster(0.1, 3, thresold=2)


def test_weight_decay_by_hand() -> None:
    assert points(ro.methods.ASGD(0.5, weight_decay=1.0), [0.0, 1.0]) == [0.5, -0.25]


def test_labels_name_the_control_in_which_methods_differ() -> None:
    from rayopt.experiments.experiment import default_labels

    chosen = [ro.methods.ASGD(0.1), ro.methods.ASGD(0.1, averaging="uniform"), ro.methods.ASGD(0.1, clip_norm=2.0)]
    assert default_labels(chosen) == ["ASGD", "ASGD averaging=uniform", "ASGD clip_norm=2"]


def test_a_control_that_was_not_given_can_be_set() -> None:
    method = ro.methods.ASGD(0.1).set_params(weight_decay=0.2, server="adam", compressor={"name": "rand_k", "k": 2})
    assert method.get_params()["weight_decay"] == 0.2
    assert (method.controls["server"].name, method.compressor.k) == ("adam", 2)
    with pytest.raises(ro.InvalidInput, match=r"weight_decy: unknown \(did you mean 'weight_decay'\?\)"):
        method.set_params(weight_decy=0.1)


@pytest.mark.parametrize("averaging", ["uniform", "last_half"])
def test_means_of_many_points_are_exact_in_float32(averaging: str) -> None:
    method = ro.methods.ASGD(1.0, averaging=averaging)
    method.prepare(np.full(3, 1000.0, dtype=np.float32), 1)
    points, updates = [], 2**17
    for k in range(updates):
        method.descend(np.array([0.0, 1e-3 * (-1) ** k, -1e-3], dtype=np.float32))
        points.append(method.x)
    wanted = np.mean(points if averaging == "uniform" else points[updates // 2 - 1 :], axis=0, dtype=np.float64)
    assert method.estimate.dtype == np.float32
    np.testing.assert_allclose(method.estimate, wanted, rtol=2e-7)


def after(method: ro.methods.Method, own: ro.problems.Problem, until: ro.Until) -> Any:
    """The method after a run over workers whose messages take time."""
    method.use_problem(own)
    record = Record().resolve(own.metric_names, until)
    with ro.SimulatedFleet().open(own, ro.Workers(4, "1 + sqrt(i) / 3", upload=0.1)) as session:
        session.run(Job(method, 0, until, record), lambda rows: None, lambda progress: None)
    return method


RandK = {"name": "rand_k", "k": 5}


@pytest.mark.parametrize(
    "make",
    [
        lambda step: ro.methods.RescaledASGD(step), lambda step: ro.methods.DelayAdaptiveASGD(step),
        lambda step: ro.methods.AcceleratedRennala(step, batch_size=3),
        lambda step: ro.methods.Shadowheart(step, RandK, noise_ratio=1.0),
        lambda step: ro.methods.AdaptiveShadowheart(step, RandK, noise_ratio=1.0),
        lambda step: ro.methods.BatchQSGD(step, RandK, batch_size=3),
    ],
)  # fmt: skip
def test_a_member_of_a_grid_is_its_own_run_to_the_bit_in_float32(make: Any) -> None:
    random = np.random.default_rng(0)
    own = ro.problems.LogisticRegression(random.normal(size=(60, 6)), random.integers(3, size=60), dtype="float32",
                                         batch=4)  # fmt: skip
    until = ro.Until(updates=60, time=400)
    grid, alone = (after(make(step), own, until).x for step in ([0.1, 0.05], 0.1))
    assert grid.dtype == np.float32
    assert grid[0].tobytes() == alone.tobytes()


def test_what_a_server_remembers_of_messages_has_the_type_of_the_problem() -> None:
    own = ro.problems.LogisticRegression.digits(batch=4, dtype="float32")
    for method in (ro.methods.Shadowheart(0.1, RandK, noise_ratio=1.0, server="momentum"),
                   ro.methods.BatchQSGD(0.1, RandK, batch_size=3, server="adam")):  # fmt: skip
        ran = after(method, own, ro.Until(updates=5))
        kept = [value for value in ran._server_state.values() if isinstance(value, np.ndarray)]
        assert kept
        assert {value.dtype for value in kept} == {np.dtype(np.float32)}
