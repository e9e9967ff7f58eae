"""PyTorch modules in training mode, many points at once, and devices."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import pytest

import rayopt as ro
from rayopt import methods
from rayopt.core.keys import Stream
from tests.methods.test_conformance import TABLE, UNEQUAL

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

MODULE = "tests.problems.torch_modules:Normalised"


def digits(**arguments: Any) -> ro.problems.TorchProblem:
    return ro.problems.TorchProblem.from_config(MODULE, data="digits", **{"batch": 16, "rows": 400, **arguments})


def module_at(problem: ro.problems.TorchProblem, x: np.ndarray) -> Any:
    """The module of the problem with the parameters x, made by PyTorch alone."""
    made = problem.module().to(torch.float32)
    nn.utils.vector_to_parameters(torch.from_numpy(x.copy()), made.parameters())
    return made


def sequential(*layers: Any) -> Any:
    return lambda: nn.Sequential(*copy.deepcopy(layers))


DRAWING = {
    "batch normalisation": sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)),
    "a cumulative mean": sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 3)),
    "untracked": sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, 3)),
    "dropout": sequential(nn.Linear(4, 8), nn.Dropout(0.5, inplace=True), nn.Linear(8, 3)),
    "both, twice": sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 8), nn.BatchNorm1d(8),
                              nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)),
    "images": sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.1),
                         nn.Flatten(), nn.Linear(16, 3)),
}  # fmt: skip


class Layers(nn.Module):
    """Two linear layers with dropout between them, to be called in several ways."""

    def __init__(self, **dropout: Any) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(4, 8), nn.Dropout(0.5, **dropout), nn.Linear(8, 3)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, inputs: Any) -> Any:
        words = torch.stack([inputs, 2 * inputs, inputs**2], dim=1)
        return self.last(self.drop(self.attend(words, words, words, need_weights=False)[0]).mean(dim=1))


class Transposed(Layers):
    def forward(self, inputs: Any) -> Any:
        return self.last(self.drop(self.first(inputs).t()).t())


class InPlace(Layers):
    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, inputs: Any) -> Any:
        hidden = 1.0 * self.first(inputs)
        return self.last(hidden + self.drop(hidden))


class ByKeyword(Layers):
    def forward(self, inputs: Any) -> Any:
        return self.last(self.drop(input=self.first(inputs)))


class OneStatistic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.other, self.last = (
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.BatchNorm1d(8),
            nn.Linear(8, 3),
        )
        self.other.running_mean, self.other.running_var = self.norm.running_mean, self.norm.running_var

    def forward(self, inputs: Any) -> Any:
        return self.last(self.other(torch.relu(self.norm(self.first(inputs)))))


class TwoNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.again = self.norm

    def forward(self, inputs: Any) -> Any:
        return self.last(self.again(torch.relu(self.norm(self.first(inputs)))))


class OwnAverage(Layers):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, inputs: Any) -> Any:
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * inputs.mean(dim=0))
        return self.last(self.drop(self.first(inputs)))


class OtherBuffer(OwnAverage):
    def forward(self, inputs: Any) -> Any:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * inputs.mean(dim=0)
        return self.last(self.drop(self.first(inputs)))


class Counting(Layers):
    passes = 0

    def forward(self, inputs: Any) -> Any:
        self.passes += 1
        return self.last(self.drop(self.first(inputs)))


class Deeper(Layers):
    calls: ClassVar[list[int]] = []

    def forward(self, inputs: Any) -> Any:
        self.calls.append(0)
        hidden = self.first(inputs)
        for _ in range(1 + len(self.calls) % 2):
            hidden = self.drop(hidden)
        return self.last(hidden)


class Sneaky(Layers):
    """Does something else where its inputs are those of many passes."""

    def forward(self, inputs: Any) -> Any:
        scale = 2.0 if torch._C._functorch.is_functorch_wrapped_tensor(inputs) else 1.0
        return scale * self.last(self.drop(self.first(inputs)))


def at_many_points(module: Any, **arguments: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A problem, and what it returns at five points one by one and together."""
    random = np.random.default_rng(0)
    problem = ro.problems.TorchProblem(module, random.normal(size=(60, 4)), np.arange(60) % 3, batch=8, mode="train",
                                       **arguments)  # fmt: skip
    points = [problem.start_point() + np.float32(0.1) * random.normal(size=problem.dimension).astype(np.float32)
              for _ in range(5)]  # fmt: skip
    samples = list(problem.draw_many(np.zeros(5, dtype=int), random.integers(2**63, size=5).astype(np.uint64)))
    alone = [problem.gradient_and_statistics(x, sample) for x, sample in zip(points, samples, strict=True)]
    return problem, np.stack(alone), np.stack(problem.gradients_and_statistics(points, samples))


def test_a_cumulative_mean_is_that_of_the_updates_that_bring_statistics():
    random = np.random.default_rng(0)
    problem = ro.problems.TorchProblem(DRAWING["a cumulative mean"], random.normal(size=(60, 4)), np.arange(60) % 3,
                                       batch=8, mode="train")  # fmt: skip
    method = methods.MindFlayer(0.1, trials=1, time_limit=1.0)
    method.use_problem(problem)
    method.prepare(problem.start_point(), 1)
    found = [problem.gradient_and_statistics(method.x, problem.draw(0, key)) for key in range(3)]
    for sent in (np.zeros_like(method.x), found[0], np.zeros_like(method.x), *found[1:]):
        method.descend(sent)
    wanted = np.mean([sent[problem.dimension : -1] for sent in found], axis=0)
    np.testing.assert_allclose(method.statistics, wanted, atol=1e-6)


class TestManyPointsInTrainingMode:
    @pytest.mark.parametrize("buffers", ["average", "local", "frozen"])
    @pytest.mark.parametrize("name", DRAWING)
    def test_gradients_and_statistics_are_those_of_each_alone(self, name, buffers, recwarn):
        problem, alone, together = at_many_points(DRAWING[name], buffers=buffers)
        assert alone.shape == together.shape == (5, problem.dimension + problem.statistics_size + 1)
        np.testing.assert_allclose(together, alone, atol=5e-6)
        assert not [warning for warning in recwarn if "one by one" in str(warning.message)]

    def test_the_generator_is_left_alone(self):
        state = torch.random.get_rng_state()
        at_many_points(DRAWING["both, twice"])
        assert torch.equal(torch.random.get_rng_state(), state)

    @pytest.mark.parametrize("module", [Attention, Transposed, InPlace, ByKeyword, OneStatistic])
    def test_dropout_however_it_is_called(self, module, recwarn):
        """In memory of another order, in place, by keyword; and statistics that two layers share."""
        _, alone, together = at_many_points(module)
        np.testing.assert_allclose(together, alone, atol=5e-6)
        assert not [warning for warning in recwarn if "one by one" in str(warning.message)]

    @pytest.mark.parametrize(
        ("module", "reason"),
        [
            (TwoNames, "a layer with tensors has two names"), (OwnAverage, "it changes its buffer mean"),
            (OtherBuffer, "it changes its buffer mean"), (Counting, "a layer changes its attributes"),
            (Deeper, "calls of dropout differ between passes"), (Sneaky, "values differ from those of each alone"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_one_pass_is_said_and_harms_nothing(self, module, reason):
        with pytest.warns(UserWarning, match=rf"many points at once \({reason}\): they are evaluated one by one"):
            problem, _, together = at_many_points(module)
        assert np.isfinite(together).all()
        assert np.isfinite(problem.value(problem.start_point()))

    def test_a_layer_that_stays_in_evaluation_mode_draws_nothing(self):
        class Half(nn.Sequential):
            def train(self, mode: bool = True) -> Any:
                super().train(mode)
                self[1].eval()
                return self

        def module() -> Any:
            return Half(nn.Linear(4, 8), nn.Dropout(0.5), nn.Dropout(0.3), nn.Linear(8, 3))

        _, alone, together = at_many_points(module)
        np.testing.assert_allclose(together, alone, atol=5e-6)

    def test_draws_that_are_not_known_beforehand_are_made_one_by_one(self):
        module = sequential(nn.Linear(4, 8), nn.AlphaDropout(0.5), nn.Linear(8, 3))
        with pytest.warns(UserWarning, match=r"random operation.*they are evaluated one by one"):
            _, alone, together = at_many_points(module)
        np.testing.assert_array_equal(alone, together)


class TestTrainingMode:
    def test_a_gradient_is_that_of_the_module_in_training_mode(self):
        problem = digits(mode="train", buffers="local")
        problem.module_arguments = {}
        x, sample = problem.start_point(), problem.draw(0, 5)
        made = module_at(problem, x).train()
        made.drop.p = 0.0
        problem._network._module.drop.p = 0.0
        inputs = torch.from_numpy(problem.X[sample[:-1]]).float() / 16
        loss = nn.functional.cross_entropy(made(inputs), torch.from_numpy(problem.y[sample[:-1]]))
        parts = torch.autograd.grad(loss, list(made.parameters()))
        expected = np.concatenate([part.reshape(-1).numpy() for part in parts])
        np.testing.assert_allclose(problem.gradient(x, sample), expected, atol=2e-6)

    def test_dropout_is_addressed_and_leaves_the_generator_alone(self):
        problem = digits(mode="train")
        x, state = problem.start_point(), torch.random.get_rng_state()
        first, again = (problem.gradient(x, problem.draw(0, 7)) for _ in range(2))
        assert first.tobytes() == again.tobytes()
        same_rows = problem.draw(0, 7).copy()
        same_rows[-1] += 1
        assert first.tobytes() != problem.gradient(x, same_rows).tobytes()
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_many_samples_are_those_of_each(self):
        problem = digits(mode="train", partition="split").split(3, 0)
        keys = Stream(0, "sample").keys(np.arange(3), np.arange(3))
        many = problem.draw_many(np.arange(3), keys)
        assert many.shape == (3, 17)
        for worker, (sample, key) in enumerate(zip(many, keys.tolist(), strict=True)):
            assert sample.tolist() == problem.draw(worker, key).tolist()

    def test_the_mean_of_statistics_is_what_batch_normalisation_keeps(self):
        """One worker and one update after the other: the buffers of PyTorch's own training loop."""
        problem = digits(mode="train")
        problem._network._module.drop.p = 0.0
        method = methods.ASGD(0.1)
        method.use_problem(problem)
        method.prepare(problem.start_point(), 1)
        made = module_at(problem, problem.start_point()).train()
        made.drop.p = 0.0
        optimiser = torch.optim.SGD(made.parameters(), lr=0.1)
        for key in range(5):
            sample = problem.draw(0, key)
            method.descend(problem.gradient_and_statistics(method.x, sample))
            optimiser.zero_grad()
            inputs = torch.from_numpy(problem.X[sample[:-1]]).float() / 16
            nn.functional.cross_entropy(made(inputs), torch.from_numpy(problem.y[sample[:-1]])).backward()
            optimiser.step()
        expected = [made.norm.running_mean, made.norm.running_var, made.norm2.running_mean, made.norm2.running_var]
        np.testing.assert_allclose(method.statistics, torch.cat(expected).numpy(), rtol=1e-4, atol=1e-6)
        parameters = nn.utils.parameters_to_vector(made.parameters()).detach().numpy()
        np.testing.assert_allclose(method.x, parameters, rtol=1e-3, atol=1e-5)
        made.eval()
        inputs = torch.from_numpy(problem.X).float() / 16
        value = nn.functional.cross_entropy(made(inputs), torch.from_numpy(problem.y)).item()
        assert problem.value(method.evaluated_point) == pytest.approx(value, rel=1e-4)

    def test_without_statistics_a_point_is_evaluated_with_those_of_the_start(self):
        problem, other = digits(mode="train"), digits()
        x = problem.start_point()
        first = problem.value(x)
        problem.gradient(x, problem.draw(0, 1))
        assert problem.value(x) == first == pytest.approx(other.value(x), rel=1e-6)

    def test_frozen_layers_stay_as_they_were_made(self):
        problem = digits(mode="train", buffers="frozen")
        problem._network._module.drop.p = 0.0
        x, sample = problem.start_point(), problem.draw(0, 3)
        rows = digits().gradient(x, sample[:-1])
        np.testing.assert_allclose(problem.gradient(x, sample), rows, atol=1e-6)
        assert problem.statistics_size == 0

    def test_local_statistics_are_those_of_the_rows_that_are_evaluated(self):
        problem = digits(mode="train", buffers="local")
        x = problem.start_point()
        made = module_at(problem, x).train()
        made.drop.eval()
        inputs = torch.from_numpy(problem.X).float() / 16
        value = nn.functional.cross_entropy(made(inputs), torch.from_numpy(problem.y)).item()
        assert problem.value(x) == pytest.approx(value, rel=1e-5)
        assert problem.value(x) == problem.value(x)

    def test_methods_train_on_mnist_to_an_accuracy(self):
        """In real time: tests/fleets/ray/test_torch_on_ray.py."""
        from tests.problems.torch_modules import mnist_in_training_mode

        chosen = [methods.FedAvg(0.1, local_steps=4), methods.Ringmaster(0.05, threshold=6), methods.Rennala(0.2, 4)]
        problem, workers = mnist_in_training_mode(), ro.Workers(4, "sqrt(i)")
        result = ro.run(chosen, problem, workers, until=ro.Until(time=150), record=ro.Record(every=150))
        assert (result.table.accuracy > 0.8).all(), result.table.accuracy

    @pytest.mark.parametrize("buffers", ["average", "local", "frozen"])
    def test_methods_train_to_an_accuracy(self, buffers):
        chosen = [methods.FedAvg(0.1, local_steps=8), methods.Ringmaster(0.1, threshold=8), methods.Rennala(0.4, 4)]
        problem = digits(mode="train", buffers=buffers, rows=None)
        result = ro.run(chosen, problem, ro.Workers(6, "sqrt(i)"), until=ro.Until(time=200))
        assert (result.table.accuracy > (0.5 if buffers == "frozen" else 0.85)).all(), result.table.accuracy

    @pytest.mark.parametrize("method", TABLE, ids=repr)
    def test_every_method_keeps_the_statistics_or_says_that_it_cannot(self, method):
        problem = digits(mode="train", rows=64, batch=8)
        workers = ro.Workers(8, UNEQUAL)
        if method.decentralized or method.needs_components:
            return
        made = method.fresh()
        if not made.keeps_statistics or made.compressor is not None:
            with pytest.raises(ro.InvalidInput, match=r"problem\.buffers: average: \w+ keeps no running statistics"):
                ro.run(made, problem, workers, until=ro.Until(time=2))
            return
        result = ro.run(made, problem, workers, until=ro.Until(time=12), force=True)
        assert np.isfinite(result.table.value).all()

    def test_the_server_keeps_them_through_a_checkpoint(self):
        problem = digits(mode="train")
        method = methods.Rennala([0.1, 0.2], batch_size=2)
        method.use_problem(problem)
        method.prepare(problem.start_point(), 3)
        method.descend(np.stack([problem.gradient_and_statistics(x, problem.draw(0, 1)) for x in method.x]))
        from rayopt.runs.snapshot import state_of
        from rayopt.storage.encoding import Decoder, Encoder

        encoder = Encoder()
        tree = encoder.encode(state_of(method), "method")
        again = Decoder(encoder.arrays).decode(tree)
        assert again["statistics"].tolist() == method.statistics.tolist()
        assert method.evaluated_point.shape == (2, problem.dimension + 16)

    def test_a_module_with_such_layers_in_evaluation_mode_is_one_sentence(self):
        result = ro.run(methods.ASGD(0.1), digits(), ro.Workers(2, 1.0), until=ro.Until(time=2))
        assert result.summary["notes"] == [
            "BatchNorm2d and Dropout of the module stay in evaluation mode; mode: train trains with them."
        ]
        trained = ro.run(methods.ASGD(0.1), digits(mode="train"), ro.Workers(2, 1.0), until=ro.Until(time=2))
        assert not trained.summary["notes"]

    def test_a_batch_of_one_row_has_no_statistics(self):
        def factory() -> Any:
            return nn.Sequential(nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))

        X, y = np.zeros((5, 64)), np.arange(5)
        with pytest.raises(ro.InvalidInput, match=r"batch: .*more than 1 value per channel.*; allowed: at least 2"):
            ro.problems.TorchProblem(factory, X, y, mode="train", batch=1)
        ro.problems.TorchProblem(factory, X, y, mode="train", batch=1, buffers="frozen")


class TestTiedWeightsAndEmbeddings:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(11, 6)
            self.out = nn.Linear(6, 11, bias=False)
            self.out.weight = self.words.weight

        def forward(self, tokens: Any) -> Any:
            return self.out(self.words(tokens).mean(dim=1))

    def test_they_are_one_part_of_x_and_have_the_gradient_of_both(self):
        random = np.random.default_rng(0)
        X, y = random.integers(0, 11, (20, 4)), random.integers(0, 11, 20)
        problem = ro.problems.TorchProblem(self.Tied, X, y, batch=4, dtype="float64")
        assert problem.dimension == 66
        x = problem.start_point()
        direction = random.normal(size=66)
        slope = (problem.value(x + 1e-6 * direction) - problem.value(x - 1e-6 * direction)) / 2e-6
        assert slope == pytest.approx(problem.full_gradient(x) @ direction, rel=1e-6)
        points = [x + 0.1 * k for k in range(3)]
        samples = [problem.draw(0, k) for k in range(3)]
        for found, point, sample in zip(problem.gradients(points, samples), points, samples, strict=True):
            np.testing.assert_allclose(found, problem.gradient(point, sample), atol=1e-12)


class TestManyPoints:
    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_each_is_its_own_gradient(self, dtype):
        problem = digits(dtype=dtype)
        random = np.random.default_rng(0)
        points = [problem.start_point() + 0.01 * random.normal(size=problem.dimension).astype(dtype) for _ in range(40)]
        samples = [problem.draw(0, key) for key in range(40)]
        found = problem.gradients(points, samples)
        tolerance = 1e-12 if dtype == "float64" else 2e-6
        for g, x, sample in zip(found, points, samples, strict=True):
            assert g.dtype == dtype
            np.testing.assert_allclose(g, problem.gradient(x, sample), atol=tolerance)

    def test_a_grid_is_near_its_members_or_equal_to_the_bit(self):
        points = np.stack([digits().start_point() * (1 + 0.1 * k) for k in range(5)])
        for bits in ("fast", "exact"):
            problem = digits(bits=bits, batch=1500)
            sample = problem.draw(0, 3)
            found = problem.gradient(points, sample)
            for g, x in zip(found, points, strict=True):
                alone = problem.gradient(x, sample)
                np.testing.assert_allclose(g, alone, atol=1e-6)
                assert bits == "fast" or g.tobytes() == alone.tobytes()

    def test_what_cannot_be_evaluated_together_is_evaluated_one_by_one(self):
        class Branches(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(3, 2)

            def forward(self, inputs: Any) -> Any:
                outputs = self.layer(inputs)
                return outputs if float(outputs.sum()) > 0 else 2 * outputs

        random = np.random.default_rng(0)
        problem = ro.problems.TorchProblem(Branches, random.normal(size=(9, 3)), random.integers(0, 2, 9))
        points = [problem.start_point() + 0.1 * k for k in range(3)]
        with pytest.warns(UserWarning, match=r"Branches cannot be evaluated at many points at once .*one by one"):
            found = problem.gradients(points, [0, 1, 2])
        for g, x, row in zip(found, points, (0, 1, 2), strict=True):
            assert g.tobytes() == problem.gradient(x, row).tobytes()


class TestDevices:
    def test_one_that_is_not_there_names_those_that_are(self):
        missing = f"cuda:{torch.cuda.device_count()}"
        with pytest.raises(ro.InvalidInput, match=rf"device: '{missing}' is not there; allowed: cpu.*auto"):
            digits(device=missing)
        automatic = digits(device="auto")
        assert automatic._network.device in ("cpu", "cuda:0", "mps")
        # Another process, with another accelerator or none, chooses for itself.
        assert automatic.to_config()["device"] == "auto"
        assert "device" not in copy.deepcopy(automatic._network).__dict__

    def test_the_way_of_an_accelerator_has_the_values_of_the_other(self):
        """Data that live on the device, points that are copied there: with the CPU as the device."""
        here, there = digits(), digits()
        there._network = copy.deepcopy(there._network)
        there._network.device = "cpu:0"
        x = here.start_point()
        assert there.start_point().tobytes() == x.tobytes()
        sample = here.draw(0, 1)
        np.testing.assert_allclose(there.gradient(x, sample), here.gradient(x, sample), atol=1e-7)
        assert there.metrics(x) == pytest.approx(here.metrics(x), rel=1e-6)
        assert len(there._on_device) == 3
        both = here.gradients([x, x], [sample, sample]), there.gradients([x, x], [sample, sample])
        np.testing.assert_allclose(both[1], both[0], atol=1e-7)
        assert "_on_device" in there.__dict__
        assert not copy.deepcopy(there)._on_device


def test_a_workload_says_all_of_it(tmp_path):
    problem = digits(mode="train", buffers="local", bits="exact", dtype="float64")
    config = problem.to_config()
    assert {key: config[key] for key in ("mode", "buffers", "bits", "dtype")} == {
        "mode": "train", "buffers": "local", "bits": "exact", "dtype": "float64",
    }  # fmt: skip
    assert "device" not in config


@pytest.mark.parametrize(
    ("changes", "key"), [({"mode": "training"}, "mode"), ({"buffers": "keep"}, "buffers"), ({"bits": 3}, "bits"),
                         ({"dtype": "bfloat16"}, "dtype"), ({"device": "tpu"}, "device")],
)  # fmt: skip
def test_what_is_not_allowed_is_one_line(changes, key):
    with pytest.raises(ro.InvalidInput) as caught:
        digits(**changes)
    assert caught.value.key == key
