"""PyTorch modules as an oracle: the gradients of another implementation, the bits, the input."""

from __future__ import annotations

import builtins
import pickle
import sys

import numpy as np
import pytest

from rayopt.core.errors import DataError, InvalidInput
from rayopt.core.keys import Stream
from rayopt.experiments.config import load_workload
from rayopt.problems import MLP, TorchProblem

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the extra 'torch')")
nn = torch.nn

ROWS, FEATURES, CLASSES = 40, 5, 3


def network(hidden: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))


def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.standard_normal((ROWS, FEATURES)), random.integers(0, CLASSES, ROWS)


def row_squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] - targets) ** 2


def binary(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.softplus((1 - 2 * targets) * outputs[:, 0])


def cross_entropy_of_rows(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def small(**arguments) -> TorchProblem:
    return TorchProblem(network, *arrays(), **{"dtype": "float64", **arguments})


@pytest.fixture
def x() -> np.ndarray:
    return 0.5 * np.random.default_rng(1).standard_normal(small().dimension)


@pytest.fixture
def grid() -> np.ndarray:
    return 0.5 * np.random.default_rng(2).standard_normal((3, small().dimension))


def as_torch(flat: np.ndarray, mlp: MLP) -> np.ndarray:
    """The parameters of an MLP in the order of torch: W' before w."""
    parts = [part for W, w in mlp._parameters(flat) for part in (W.T.reshape(-1), w)]
    return np.concatenate(parts)


class TestAgainstMLP:
    @pytest.fixture
    def both(self) -> tuple[MLP, TorchProblem]:
        X, y = arrays()
        mlp = MLP(X, y, hidden=[7, 4], batch=5, partition="split")
        layers = (nn.Linear(FEATURES, 7), nn.ReLU(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, CLASSES))
        return mlp, TorchProblem(lambda: nn.Sequential(*layers), X, y, batch=5, partition="split", dtype="float64")

    def test_the_same_gradients_to_1e_10(self, both):
        mlp, torch_problem = (problem.split(7, 0) for problem in both)
        point = 0.5 * np.random.default_rng(3).standard_normal(mlp.dimension)
        theirs = as_torch(point, mlp)
        for key in range(5):
            sample = mlp.draw(2, key)
            np.testing.assert_array_equal(torch_problem.draw(2, key), sample)
            expected = as_torch(mlp.gradient(point, sample), mlp)
            np.testing.assert_allclose(torch_problem.gradient(theirs, sample), expected, rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            torch_problem.full_gradient(theirs), as_torch(mlp.full_gradient(point), mlp), rtol=0, atol=1e-10
        )
        found, expected = torch_problem.metrics(theirs), mlp.metrics(point)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-10)

    def test_single_precision_is_near(self):
        double, single = small(), TorchProblem(network, *arrays())
        x = double.start_point()
        np.testing.assert_allclose(single.start_point(), x, rtol=1e-6)
        gradient = single.gradient(single.start_point(), np.arange(4))
        assert (
            single.start_point().dtype
            == gradient.dtype
            == single.full_gradient(single.start_point()).dtype
            == np.float32
        )
        np.testing.assert_allclose(gradient, double.gradient(x, np.arange(4)), atol=1e-6)
        assert not np.array_equal(gradient, double.gradient(x, np.arange(4)))


def test_start_is_the_module_s_own_and_leaves_the_generator_alone():
    before = torch.random.get_rng_state()
    problem = small(initial_seed=3)
    x = problem.start_point()
    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = nn.utils.parameters_to_vector(network().parameters()).detach().numpy()
    np.testing.assert_array_equal(x, expected.astype(np.float64))
    assert not np.array_equal(x, small().start_point())


def test_threads_are_as_they_were(x):
    before = torch.get_num_threads()
    small().gradient(x, 3)
    assert torch.get_num_threads() == before


class TestBits:
    @pytest.mark.parametrize("batch", [1, 3, 1500])
    def test_a_grid_member_has_the_bits_of_its_own_run(self, batch, grid):
        problem = small(batch=batch, bits="exact")
        samples = problem.draw_many(np.zeros(2, dtype=int), np.arange(2, dtype=np.uint64))
        together = [problem.gradient(grid, sample) for sample in samples]
        metrics = problem.metrics(grid)
        for k, point in enumerate(grid):
            for sample, rows in zip(samples, together, strict=True):
                assert problem.gradient(point, sample).tobytes() == rows[k].tobytes()
            assert problem.metrics(point) == {name: values[k] for name, values in metrics.items()}

    def test_sum_is_the_sum_of_gradients(self, x, grid):
        problem = small(batch=4)
        samples = problem.draw_many(np.zeros(6, dtype=int), np.arange(6, dtype=np.uint64), 2)
        weights = np.linspace(-1, 2, 6)
        for points in (x, grid):
            expected = sum(w * problem.gradient(points, s) for w, s in zip(weights, samples, strict=True))
            found = problem.gradient_sum(points, samples, weights)
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())

    @pytest.mark.parametrize("partition", ["homogeneous", {"name": "labels", "shards_per_worker": 1}])
    def test_a_shard_has_the_bits_of_its_parent(self, partition, x):
        problem = small(batch=2, partition=partition).split(3, 3)
        problem.gradient(x, 0)
        stream = Stream(0, "sample")
        for worker in range(3):
            carried = pickle.dumps(problem.shard(worker))
            shard = pickle.loads(carried)
            for key in (stream.key(worker, number) for number in range(5)):
                ours, theirs = problem.draw(worker, key), shard.draw(worker, key)
                assert problem.gradient(x, ours).tobytes() == shard.gradient(x, theirs).tobytes()

    def test_a_shard_carries_no_parameters(self):
        problem = TorchProblem(nn.Linear, *arrays(), module_arguments={"in_features": 5, "out_features": 5000})
        problem.gradient(problem.start_point(), 0)
        assert len(pickle.dumps(problem.shard(0))) < 20_000

    def test_a_long_gradient_can_be_ended(self, x):
        calls = []
        small(batch=3000).gradient(x, np.zeros(3000, dtype=int), lambda: calls.append(1))
        assert len(calls) == 2


def test_the_split_function_is_the_mean_over_workers(x):
    problem = small(partition="split").split(7, 0)
    shards = [problem.shard(worker) for worker in range(7)]
    assert problem.value(x) == pytest.approx(np.mean([shard.value(x) for shard in shards]), rel=1e-13)
    mean = np.mean([shard.full_gradient(x) for shard in shards], axis=0)
    np.testing.assert_allclose(problem.full_gradient(x), mean, atol=1e-14)


def test_its_code_travels_with_the_problem():
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    from rayopt.fleets.ray.shard_loading import ship_modules

    ship_modules(small(loss=cross_entropy_of_rows))
    try:
        assert __name__ in cloudpickle.list_registry_pickle_by_value()
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_loss_without_parameters_is_refused():
    with pytest.raises(InvalidInput, match=r"module: .* cannot be applied"):
        small(loss=lambda outputs, targets: targets.double())


class TestLosses:
    def test_of_rows_by_hand(self):
        X, y = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([1.0, 2.0])
        x = np.array([2.0, 1.0, 0.5])
        for loss, targets in ((row_squares, y), ("mse_loss", y[:, None]), (nn.MSELoss(reduction="none"), y[:, None])):
            arguments = {"in_features": 2, "out_features": 1}
            problem = TorchProblem(nn.Linear, X, targets, loss=loss, module_arguments=arguments)
            # Outputs 4.5 and 5.5: residuals 3.5 and 3.5.
            assert problem.value(x) == pytest.approx(3.5**2)
            np.testing.assert_allclose(problem.gradient(x, 1), [2 * 3.5 * 3, -2 * 3.5, 2 * 3.5])
            assert problem.metric_names == ("value", "grad_norm_sq")
            assert problem.convex is None

    def test_a_mean_over_the_batch_is_refused(self):
        with pytest.raises(InvalidInput, match=r"loss: it returned shape \(\) for 2 rows"):
            small(loss=nn.CrossEntropyLoss())

    def test_a_single_output_is_a_class(self):
        X, y = np.array([[1.0], [-1.0], [2.0]]), np.array([1, 0, 0])
        arguments = {"in_features": 1, "out_features": 1}
        problem = TorchProblem(nn.Linear, X, y, loss=binary, module_arguments=arguments)
        assert problem.accuracy(np.array([1.0, 0.0])) == pytest.approx(2 / 3)
        assert "accuracy" in problem.metric_names


def test_evaluation_mode_and_fixed_buffers():
    def factory() -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 4), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, CLASSES))

    problem = TorchProblem(factory, *arrays(), batch=8, dtype="float64")
    x = problem.start_point()
    first = problem.gradient(x, np.arange(8))
    assert first.tobytes() == problem.gradient(x, np.arange(8)).tobytes()
    each = np.mean([problem.gradient(x, row) for row in range(8)], axis=0)
    np.testing.assert_allclose(first, each, atol=1e-14)


def test_frozen_parameters_are_no_part_of_x():
    def factory() -> nn.Module:
        made = network()
        made[0].requires_grad_(False)
        return made

    problem = TorchProblem(factory, *arrays())
    assert problem.dimension == 7 * CLASSES
    assert problem.gradient(problem.start_point(), 0).shape == (21,)


class TestData:
    def test_of_a_data_set(self):
        X, y = arrays()
        dataset = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
        problem = TorchProblem.from_dataset(network, dataset, dataset)
        np.testing.assert_array_equal(problem.X, X)
        np.testing.assert_array_equal(problem.y_test, y)
        with pytest.raises(InvalidInput, match="dataset"):
            TorchProblem.from_dataset(network, iter([]))

    def test_of_a_file(self):
        linear = {"module": "torch.nn:Linear", "module_arguments": {"in_features": 64, "out_features": 10}}
        problem = TorchProblem.from_config(**linear, data="digits", rows=50, batch=2)
        assert (problem.dimension, problem.row_count, problem.scale) == (650, 50, 1 / 16)
        config = problem.to_config()
        assert config.pop("name") == "torch"
        again = TorchProblem.from_config(**config)
        assert again.to_config() == problem.to_config()
        np.testing.assert_array_equal(again.start_point(), problem.start_point())
        linear = {"module": "torch.nn:Flatten"}
        with pytest.raises(InvalidInput, match=r"module: .*Flatten has no trainable parameter"):
            TorchProblem.from_config(**linear, data="digits")

    def test_images(self):
        def factory() -> nn.Module:
            return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6 * 6, 10))

        problem = TorchProblem.from_config(factory, data="digits", input_shape=[1, 8, 8])
        assert problem.gradient(problem.start_point(), 0).shape == (problem.dimension,)

    def test_a_function_that_returns_data(self, tmp_path, monkeypatch):
        (tmp_path / "rows_of_my_own.py").write_text(
            "import numpy as np\ndef few(): return np.ones((6, 5)), np.arange(6) % 3\ndef wrong(): return 3\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        problem = TorchProblem.from_config(network, data={"function": "rows_of_my_own:few"}, rows=4)
        assert problem.y.tolist() == [0, 1, 2, 0]
        assert problem.to_config()["data"] == {"function": "rows_of_my_own:few"}
        with pytest.raises(InvalidInput, match=r"data\.function: 'rows_of_my_own:wrong' returned int"):
            TorchProblem.from_config(network, data={"function": "rows_of_my_own:wrong"})
        with pytest.raises(InvalidInput, match="rows: 7 of 6 training rows"):
            TorchProblem.from_config(network, data={"function": "rows_of_my_own:few"}, rows=7)
        with pytest.raises(InvalidInput, match=r"data\.function: 'numpy:zero': .*did you mean 'zeros'"):
            TorchProblem.from_config(network, data={"function": "numpy:zero"})
        with pytest.raises(InvalidInput, match=r"allowed: .*function: package\.module:name"):
            TorchProblem.from_config(network, data="minst")

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"X": np.zeros((0, 5))}, "X: shape"),
            ({"X": np.where(np.arange(ROWS)[:, None] == 7, np.nan, np.ones((ROWS, 5)))}, "X: row 7 is NaN or infinite"),
            ({"y": np.zeros(3, int)}, "y: 3 targets; expected 40"),
            ({"y": np.full(ROWS, -1)}, "y: all labels are -1; expected at least two classes"),
            ({"X_test": np.zeros((3, 5))}, "give both or neither"),
        ],
    )
    def test_wrong_data(self, changes, problem):
        X, y = arrays()
        with pytest.raises(DataError, match=problem):
            TorchProblem(**{"module": network, "X": X, "y": y, **changes})


class TestArguments:
    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"module": "torch.nn.Linear"}, "module: 'torch.nn.Linear' is not a dotted name"),
            ({"module": "torch.nn:Linaer"}, r"has no 'Linaer' \(did you mean 'Linear'"),
            ({"module": "no_such_package.net:Net"}, "cannot be imported"),
            ({"module": "os:sep"}, "module: str is not a factory"),
            ({"module": "subprocess:check_output"}, "module: .* does not say that it makes a module"),
            ({"module": "torch:zeros"}, "module: .* does not say that it makes a module"),
            ({"loss": "os:system"}, "loss: .* does not say that it returns a tensor"),
            ({"module": nn.Linear(5, 3)}, "module: Linear is not a factory"),
            ({"module": dict}, "module: builtins:dict returned dict"),
            ({"module": nn.Linear}, "module_arguments: .* cannot be called with"),
            ({"module_arguments": {"hidden": 0.5}}, "module_arguments"),
            ({"module": nn.Linear, "module_arguments": {"in_features": 4, "out_features": 3}}, r"shape \[5\]"),
            ({"input_shape": [4]}, "module"),
            ({"loss": "cross_entropi"}, "loss"),
            ({"loss": 3}, "loss: 3 is not a loss"),
            ({"dtype": "float16"}, "dtype"),
            ({"initial_seed": -1}, "initial_seed"),
            ({"scale": 0}, "scale"),
            ({"batch": 0}, "batch"),
        ],
    )
    def test_wrong_arguments(self, changes, problem):
        X, y = arrays()
        with pytest.raises(InvalidInput, match=problem):
            TorchProblem(**{"module": network, "X": X, "y": y, **changes})

    def test_what_a_file_may_name(self, tmp_path, monkeypatch):
        (tmp_path / "nets_of_my_own.py").write_text(
            "import torch\n"
            "class Net(torch.nn.Linear): pass\n"
            "def net(**sides) -> Net: return Net(**sides)\n"
            "def loss(outputs, targets) -> torch.Tensor:\n"
            "    return torch.nn.functional.cross_entropy(outputs, targets, reduction='none')\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        sides = {"in_features": FEATURES, "out_features": CLASSES}
        for module in ("nets_of_my_own:Net", "nets_of_my_own:net", "torch.nn:Linear"):
            problem = TorchProblem(module, *arrays(), module_arguments=sides, loss="nets_of_my_own:loss")
            assert problem.dimension == CLASSES * (FEATURES + 1)

    def test_partition_by_label_needs_labels(self):
        X, _ = arrays()
        arguments = {"loss": "mse_loss", "partition": {"name": "labels"}}
        with pytest.raises(InvalidInput, match="partition: 'labels' divides by label"):
            TorchProblem(network, X, np.zeros((ROWS, CLASSES)), **arguments)


def test_without_torch(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **others):
        if name == "torch":
            raise ImportError("No module named 'torch'")
        return real(name, *arguments, **others)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InvalidInput, match=r"name: 'torch' needs PyTorch .*rayopt\[torch\]"):
        small()


def test_a_workload_file_descends(tmp_path):
    path = tmp_path / "torch.yaml"
    path.write_text(
        "problem: {name: torch, module: 'torch.nn:Linear', data: digits, batch: 8,\n"
        "          module_arguments: {in_features: 64, out_features: 10}}\n"
        "workers: {count: 4, compute: i}\n"
        "methods: [{name: asgd, step_size: [0.2, 0.4]}]\n"
        "until: {updates: 200}\n"
    )
    result = load_workload(path).build().run()
    assert (result.table.accuracy > 0.7).all()
