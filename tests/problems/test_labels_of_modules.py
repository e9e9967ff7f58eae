"""Labels of any kind for modules of PyTorch and functions of JAX: the numbers of their classes, or of outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rayopt as ro
from rayopt.core.errors import DataError, InvalidInput

X = np.random.default_rng(0).normal(size=(30, 2))
NUMBERS = np.arange(30) % 3
WORDS = np.array(["barolo", "grignolino", "barbera"])
SENTENCE = "are the classes 0 to 2 in this order"


def of_torch(y: Any, outputs: int = 3, loss: Any = "cross_entropy", **arguments: Any) -> ro.problems.TorchProblem:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return ro.problems.TorchProblem(lambda: torch.nn.Linear(2, outputs), X, y, loss=loss, **arguments)


def of_jax(y: Any, outputs: int = 3, predict: bool = True, **arguments: Any) -> ro.problems.JaxProblem:
    jax = pytest.importorskip("jax", reason="JAX is not installed")

    def scores(parameters: Any, X: Any) -> Any:
        return X @ parameters["W"]

    def loss(parameters: Any, X: Any, y: Any) -> Any:
        return -jax.nn.log_softmax(scores(parameters, X))[jax.numpy.arange(len(y)), y]

    W = np.random.default_rng(1).normal(size=(2, outputs))
    return ro.problems.JaxProblem(loss, {"W": W}, X, y, predict=scores if predict else None, **arguments)


@pytest.mark.parametrize("make", [of_torch, of_jax])
class TestBoth:
    @pytest.mark.parametrize(
        ("y", "classes"),
        [
            (NUMBERS + 1, [1, 2, 3]), (NUMBERS - 1, [-1, 0, 1]), (NUMBERS * 10, [0, 10, 20]),
            (WORDS[NUMBERS], ["barbera", "barolo", "grignolino"]), (NUMBERS + 1.0, [1.0, 2.0, 3.0]),
        ],
    )  # fmt: skip
    def test_labels_are_numbered_with_a_sentence(self, make, y, classes):
        with pytest.warns(UserWarning, match=SENTENCE):
            problem = make(y)
        assert problem.classes_.tolist() == classes
        assert [classes[number] for number in problem.y] == y.tolist()
        assert 0 <= problem.accuracy(problem.start_point()) <= 1

    @pytest.mark.parametrize("y", [NUMBERS, NUMBERS.astype(float), NUMBERS.astype(np.uint8)])
    def test_numbers_of_outputs_stay_as_they_are(self, make, y, recwarn):
        problem = make(y)
        assert problem.y.tolist() == NUMBERS.tolist()
        assert problem.classes_.tolist() == [0, 1, 2]
        assert not [warning for warning in recwarn if SENTENCE in str(warning.message)]

    def test_an_output_may_have_no_row(self, make, recwarn):
        problem = make(NUMBERS + 1, outputs=4)
        assert problem.y.tolist() == (NUMBERS + 1).tolist()
        assert not [warning for warning in recwarn if "classes" in str(warning.message)]

    @pytest.mark.parametrize(
        ("y", "arguments", "what"),
        [
            (NUMBERS + 1, {"outputs": 2}, r"y: 3 classes \(1, 2, 3\); expected at most 2"),
            (np.full(30, 7), {}, r"y: all labels are 7; expected at least two classes"),
            (NUMBERS, {"X_test": X, "y_test": NUMBERS + 1}, r"y_test: label 3 at row 2; expected one of 0, 1, 2"),
            (NUMBERS + 1, {"X_test": X, "y_test": NUMBERS}, r"y_test: label 0 at row 0; expected one of 1, 2, 3"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:the labels")
    def test_labels_that_do_not_fit(self, make, y, arguments, what):
        with pytest.raises(DataError, match=what):
            make(y, **arguments)

    @pytest.mark.filterwarnings("ignore:the labels")
    def test_rows_are_divided_by_label(self, make):
        bound = make(WORDS[NUMBERS], partition={"name": "labels", "shards_per_worker": 1}).split(3, 0)
        assert [len(set(bound.shard(worker).y.tolist())) for worker in range(3)] == [1, 1, 1]


def test_modules_of_losses_are_known_by_their_class():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.warns(UserWarning, match=SENTENCE):
        problem = of_torch(WORDS[NUMBERS], loss=torch.nn.CrossEntropyLoss(reduction="none"))
    assert problem.value(problem.start_point()) == pytest.approx(
        of_torch(np.searchsorted(np.sort(WORDS), WORDS[NUMBERS])).value(problem.start_point())
    )


@pytest.mark.parametrize("y", [NUMBERS > 1, np.where(NUMBERS > 1, 1, -1), np.where(NUMBERS > 1, "yes", "no"),
                               (NUMBERS > 1).astype(float), np.where(NUMBERS > 1, 1.0, -1.0)])  # fmt: skip
@pytest.mark.filterwarnings("ignore:the labels")
@pytest.mark.parametrize("by_name", [True, False])
def test_two_classes_of_one_output(y, by_name):
    """Outputs of shape (rows, 1) meet targets of shape (rows,) one by one, not each with each."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module = torch.nn.BCEWithLogitsLoss(reduction="none")
    problem = of_torch(y, outputs=1, loss="binary_cross_entropy_with_logits" if by_name else module)
    x = problem.start_point()
    logits = torch.from_numpy(X.astype(np.float32) @ x[:2] + x[2])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(1.0 * (NUMBERS > 1)).float()
    )
    assert problem.value(x) == pytest.approx(float(expected), rel=1e-5)


def test_a_regression_of_one_output_meets_its_targets_one_by_one():
    targets = np.arange(30)
    problem = of_torch(targets, outputs=1, loss="mse_loss")
    x = problem.start_point()
    expected = np.mean((X @ x[:2] + x[2] - targets) ** 2)
    assert problem.value(x) == pytest.approx(expected, rel=1e-5)
    assert problem.classes_ is None or problem.y.tolist() == targets.tolist()
    with pytest.raises(InvalidInput, match=r"loss: mse_loss of outputs of shape \(2, 3\) and targets \(2,\)"):
        of_torch(targets, outputs=3, loss="mse_loss")


def test_words_are_no_numbers_and_labels_that_a_loss_ignores_stay():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(DataError, match=r"y: row 2: the target 'many' is not a finite number"):
        of_torch(np.array(["1.5", "2.5", "many"] * 10), outputs=1, loss="mse_loss")
    assert of_torch(np.array(["1.5", "2.5", "3"] * 10), outputs=1, loss="l1_loss").y[:3].tolist() == [1.5, 2.5, 3.0]
    ignoring = of_torch(NUMBERS - 1, loss=torch.nn.CrossEntropyLoss(ignore_index=-1, reduction="none"))
    assert ignoring.y.tolist() == (NUMBERS - 1).tolist()


def test_a_loss_that_pairs_each_with_each_is_refused():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(
        InvalidInput, match=r"loss: it pairs outputs of shape \(2, 1\) with targets \(2,\) each with each"
    ):
        of_torch(np.arange(30.0), outputs=1, loss=lambda outputs, targets: (outputs - targets) ** 2)
    of_torch(np.arange(30.0), outputs=1, loss=lambda outputs, targets: (outputs.squeeze(-1) - targets) ** 2)
    with pytest.raises(InvalidInput, match=r"loss: 'mse' is unknown \(did you mean 'mse_loss'\?\); allowed: cross"):
        of_torch(np.arange(30.0), outputs=1, loss="mse")


def test_code_of_a_user_that_fails_is_one_line(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "half_written.py").write_text("import torch\n\nnetwork = unknown\n")
    (tmp_path / "not_python.py").write_text("def network(:\n")
    monkeypatch.chdir(tmp_path)
    for name, what in (("half_written", r"NameError: .*, line 3 of half_written.py"), ("not_python", "SyntaxError: ")):
        with pytest.raises(InvalidInput, match=rf"module: '{name}:network' cannot be imported \({what}"):
            ro.problems.TorchProblem(f"{name}:network", X, NUMBERS)

    def factory() -> torch.nn.Module:
        raise ValueError("no such width")

    with pytest.raises(InvalidInput, match=r"module: .*factory raised ValueError: no such width, line \d+ of test"):
        ro.problems.TorchProblem(factory, X, NUMBERS)


def test_several_scores_of_jax_may_be_a_regression():
    targets = np.random.default_rng(2).normal(size=30)
    jax = pytest.importorskip("jax", reason="JAX is not installed")

    def scores(parameters: Any, X: Any) -> Any:
        return X @ parameters["W"]

    def loss(parameters: Any, X: Any, y: Any) -> Any:
        mean, log_variance = scores(parameters, X).T
        return (y - mean) ** 2 / jax.numpy.exp(log_variance) + log_variance

    problem = ro.problems.JaxProblem(loss, {"W": np.ones((2, 2))}, X, targets, predict=scores)
    assert problem.y.dtype == np.float64
    assert problem.classes_ is None


def test_a_loss_of_jax_that_counts_from_1_is_warned_of():
    with pytest.warns(UserWarning, match=r"receives the targets 1 to 3 as they are: as indices they count from 0"):
        problem = of_jax(NUMBERS + 1, predict=False)
    assert problem.y.tolist() == (NUMBERS + 1).tolist()


def test_muon_knows_the_matrices_of_a_tree():
    problem = of_jax(NUMBERS)
    assert problem.parameter_shapes == [[2, 3]]
    values = [
        ro.run(
            ro.methods.ASGD(0.1, server=server), problem, ro.Workers(3, "i"), until=ro.Until(updates=20)
        ).table.value[0]
        for server in (ro.server.Muon(0.9), ro.server.Nesterov(0.9))
    ]
    assert values[0] != values[1]
