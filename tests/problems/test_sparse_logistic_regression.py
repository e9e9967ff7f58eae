"""Sparse binary logistic regression: the formula, the touched coordinates, Hogwild's constants."""

from __future__ import annotations

import bz2
import gzip
import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.sparse import csr_array

import rayopt as ro
from rayopt.core.errors import DataError, InvalidInput
from rayopt.core.keys import Stream
from rayopt.problems import SparseLogisticRegression

ROWS, FEATURES = 40, 12


def small(**arguments) -> SparseLogisticRegression:
    return SparseLogisticRegression.synthetic(ROWS, FEATURES, 3, seed=1, **arguments)


def formula(problem: SparseLogisticRegression, x: np.ndarray, rows: np.ndarray) -> float:
    """The mean of f_r over some rows of equal weight, written out."""
    A = problem.X.toarray()
    share = (A != 0).mean(axis=0)
    total = 0.0
    for r in rows:
        touched = A[r] != 0
        total += np.log1p(np.exp(-problem.y[r] * (A[r] @ x)))
        total += problem.l2 / 2 * np.sum(x[touched] ** 2 / share[touched])
    return total / len(rows)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(1).standard_normal(FEATURES)


@pytest.fixture
def grid() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((4, FEATURES))


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_value_and_gradients_are_those_of_the_formula(l2, x):
    problem = small(l2=l2)
    everything = np.arange(ROWS)
    assert problem.value(x) == pytest.approx(formula(problem, x, everything), rel=1e-13)
    derivative = approx_fprime(x, lambda z: formula(problem, z, everything))
    np.testing.assert_allclose(problem.full_gradient(x), derivative, atol=1e-6)
    for sample in (7, np.array([3, 3, 9])):
        rows = np.atleast_1d(sample)
        derivative = approx_fprime(x, lambda z, rows=rows: formula(problem, z, rows))
        np.testing.assert_allclose(problem.gradient(x, sample), derivative, atol=1e-6)


def test_l2_is_on_the_features_that_occur_and_on_the_touched_coordinates(x):
    X = np.array([[1.0, 0, 0], [2, 3, 0]])
    problem = SparseLogisticRegression(X, [0, 1], l2=0.5)
    np.testing.assert_allclose(problem.coordinate_l2, [0.5, 1.0, 0.0])
    plain = SparseLogisticRegression(X, [0, 1])
    point = np.array([1.0, -2.0, 3.0])
    np.testing.assert_allclose(problem.gradient(point, 0) - plain.gradient(point, 0), [0.5, 0, 0])
    np.testing.assert_allclose(problem.gradient(point, 1) - plain.gradient(point, 1), [0.5, -2, 0])
    assert problem.value(point) - plain.value(point) == pytest.approx(0.25 * (1 + 4))


def test_the_mean_of_the_rows_is_the_full_gradient(x):
    problem = small(l2=0.2)
    mean = np.mean([problem.gradient(x, row) for row in range(ROWS)], axis=0)
    np.testing.assert_allclose(mean, problem.full_gradient(x), rtol=1e-12)


def test_minimum_is_that_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression as Reference

    problem = SparseLogisticRegression.synthetic(300, 20, 4, l2=0.05)
    reference = Reference(C=1 / (0.05 * 300), fit_intercept=False, tol=1e-10, max_iter=10_000)
    reference.fit(problem.X.toarray(), problem.y)
    solution = reference.coef_[0]
    assert np.abs(problem.full_gradient(solution)).max() < 1e-6
    assert problem.accuracy(solution) == pytest.approx(reference.score(problem.X.toarray(), problem.y))


@pytest.mark.parametrize("partition", ["homogeneous", "split"])
@pytest.mark.parametrize(("batch", "count"), [(1, 1), (1, 3), (4, 1), (4, 3)])
def test_one_draw_has_the_bits_of_many(partition, batch, count):
    problem = small(batch=batch, partition=partition, replacement=False).split(6, 0)
    stream = Stream(0, "sample")
    workers, numbers = np.array([0, 5, 2, 2]), np.array([0, 1, 7, 8])
    many = problem.draw_many(workers, stream.keys(workers, numbers), count)
    for worker, number, sample in zip(workers.tolist(), numbers.tolist(), many, strict=True):
        one = problem.draw(worker, stream.key(worker, number), count)
        np.testing.assert_array_equal(one, sample)
        assert all(len(set(rows.tolist())) == batch for rows in np.reshape(one, (count, batch)))


@pytest.mark.parametrize("partition", ["homogeneous", "split"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_shard_has_the_bits_of_its_parent(partition, batch, x):
    problem = small(l2=0.1, batch=batch, partition=partition).split(7, 3)
    stream = Stream(0, "sample")
    for worker in range(7):
        shard = pickle.loads(pickle.dumps(problem.shard(worker)))
        for key in (stream.key(worker, number) for number in range(5)):
            ours, theirs = problem.draw(worker, key), shard.draw(worker, key)
            assert problem.gradient(x, ours).tobytes() == shard.gradient(x, theirs).tobytes()


def test_the_split_function_is_the_mean_over_workers(x, grid):
    problem = small(l2=0.1, partition="split").split(7, 0)
    shards = [problem.shard(worker) for worker in range(7)]
    assert len({shard.row_count for shard in shards}) > 1
    for points in (x, grid):
        np.testing.assert_allclose(
            problem.value(points), np.mean([shard.value(points) for shard in shards], axis=0), rtol=1e-13
        )
        np.testing.assert_allclose(
            problem.full_gradient(points),
            np.mean([shard.full_gradient(points) for shard in shards], axis=0),
            rtol=1e-11,
            atol=1e-14,
        )
    shard = shards[-1]
    mean = np.mean([shard.gradient(x, row) for row in range(shard.row_count)], axis=0)
    np.testing.assert_allclose(mean, shard.full_gradient(x), rtol=1e-12)


@pytest.mark.parametrize("batch", [1, 5, 1500])
def test_a_grid_member_has_the_bits_of_its_own_run(batch):
    problem = SparseLogisticRegression.synthetic(500, 90, 7, l2=0.1, batch=batch)
    points = np.random.default_rng(0).standard_normal((3, problem.dimension))
    samples = problem.draw_many(np.zeros(3, dtype=int), np.arange(3, dtype=np.uint64))
    together = [problem.gradient(points, sample) for sample in samples]
    summed = problem.gradient_sum(points, samples)
    metrics = problem.metrics(points)
    for k, point in enumerate(points):
        for sample, rows in zip(samples, together, strict=True):
            assert problem.gradient(point, sample).tobytes() == rows[k].tobytes()
        assert problem.gradient_sum(point, samples).tobytes() == summed[k].tobytes()
        assert problem.metrics(point) == {name: values[k] for name, values in metrics.items()}


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (4, 3)])
def test_sum_is_the_sum_of_gradients(batch, count, x, grid):
    problem = small(batch=batch, l2=0.2)
    samples = problem.draw_many(np.zeros(6, dtype=int), np.arange(6, dtype=np.uint64), count)
    weights = np.linspace(-1, 2, 6)
    for points in (x, grid):
        expected = sum(w * problem.gradient(points, s) for w, s in zip(weights, samples, strict=True))
        found = problem.gradient_sum(points, samples, weights)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def test_margins_of_any_size():
    problem = SparseLogisticRegression([[1.0], [1.0]], [0, 1])
    far = np.array([1000.0])
    assert problem.value(far) == pytest.approx(500.0)
    np.testing.assert_allclose(problem.full_gradient(far), [0.5])
    np.testing.assert_allclose(problem.full_gradient(-far), [-0.5])


def test_constants_bound_what_they_bound(x):
    problem = small(l2=0.0)
    hessian = np.array([approx_fprime(0 * x, lambda z, j=j: problem.full_gradient(z)[j]) for j in range(FEATURES)])
    assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(problem.smoothness, rel=1e-5)
    norms = [np.linalg.norm(problem.gradient(-50 * problem.y[row] * problem.X.toarray()[row], row)) for row in range(9)]
    assert max(norms) == pytest.approx(problem.lipschitz)
    assert small(l2=0.1).lipschitz is None
    assert small(l2=0.1).smoothness == pytest.approx(problem.smoothness + 0.1)
    assert problem.convex is True


def test_smoothness_of_many_features_is_the_same():
    problem = SparseLogisticRegression.synthetic(300, 100, 5)
    A = problem.X.toarray()
    assert problem.smoothness == pytest.approx(np.linalg.eigvalsh(A.T @ A / 300)[-1] / 4, rel=1e-10)


def test_sparsity_counted_by_hand():
    X = np.array([[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]])
    found = SparseLogisticRegression(X, [1, -1, 1, 1]).sparsity()
    assert (found.omega, found.delta, found.rho) == (2, 0.75, 0.75)


def test_rho_of_some_rows_is_a_lower_bound():
    problem = SparseLogisticRegression.synthetic(700, 100, 5)
    edges = problem.X.toarray() != 0
    meets = (edges.astype(int) @ edges.T > 0).mean(axis=1)
    assert problem.sparsity().rho == pytest.approx(meets.max())
    assert problem.sparsity(rows=20).rho <= meets.max()


def test_rows_for_a_compiled_loop():
    problem = small()
    indptr, indices, values, y = problem.rows_csr()
    np.testing.assert_array_equal(csr_array((values, indices, indptr)).toarray(), problem.X.toarray())
    assert (indptr.dtype, indices.dtype, values.dtype) == (np.int64, np.int64, np.float64)
    assert set(y.tolist()) == {-1.0, 1.0}


class TestData:
    def test_svmlight(self, tmp_path):
        train, test = tmp_path / "train.svm", tmp_path / "test.svm"
        train.write_text("2 1:0.5 3:1\n1 2:-2\n2 1:1\n")
        test.write_text("1 4:1\n")
        problem = SparseLogisticRegression.from_svmlight(train, test)
        np.testing.assert_array_equal(problem.X.toarray(), [[0.5, 0, 1, 0], [0, -2, 0, 0], [1, 0, 0, 0]])
        assert problem.y.tolist() == [1, -1, 1]
        assert problem.y_test.tolist() == [-1]
        again = SparseLogisticRegression.from_config(problem.data)
        np.testing.assert_array_equal(again.X.toarray(), problem.X.toarray())

    def test_files_are_found_again_from_another_folder(self, tmp_path, monkeypatch):
        (tmp_path / "rows.svm").write_text("2 1:0.5\n1 2:-2\n")
        monkeypatch.chdir(tmp_path)
        data = SparseLogisticRegression.from_svmlight("rows.svm", "rows.svm").data
        assert data == {"path": str(tmp_path / "rows.svm"), "test_path": str(tmp_path / "rows.svm")}

    def test_a_file_that_is_wrong(self, tmp_path):
        with pytest.raises(DataError, match=r"no\.svm: the file is missing"):
            SparseLogisticRegression.from_svmlight(tmp_path / "no.svm")
        wrong = tmp_path / "wrong.svm"
        wrong.write_text("1 a:b\n")
        with pytest.raises(DataError, match=r"wrong\.svm, line 1: 'a:b' is not feature:value"):
            SparseLogisticRegression.from_svmlight(wrong)

    def test_synthetic_is_a_function_of_its_seed(self):
        first, second = small(), small()
        assert (first.X != second.X).nnz == 0
        np.testing.assert_array_equal(np.diff(first.X.indptr), 3)
        np.testing.assert_allclose(np.linalg.norm(first.X.toarray(), axis=1), 1.0)
        other = SparseLogisticRegression.synthetic(ROWS, FEATURES, 3, seed=2)
        assert (first.X != other.X).nnz > 0

    def test_from_config(self):
        problem = SparseLogisticRegression.from_config({"rows": 50, "features": 9, "nonzeros_per_row": 2}, l2=0.1)
        assert problem.X.shape == (50, 9)
        with pytest.raises(InvalidInput, match=r"data\.row: unknown key \(did you mean 'rows'\?\)"):
            SparseLogisticRegression.from_config({"row": 50})
        with pytest.raises(InvalidInput, match=r"data\.nonzeros_per_row: 20 of 9 features"):
            SparseLogisticRegression.from_config({"features": 9, "nonzeros_per_row": 20})
        with pytest.raises(InvalidInput, match="did you mean 'synthetic'"):
            SparseLogisticRegression.from_config("sinthetic")

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"X": np.zeros((0, 4))}, "empty"),
            ({"X": np.zeros((4, 2))}, "all features are 0"),
            ({"X": np.array([[1.0], [2], [np.nan], [1]])}, "X: row 2 is NaN or infinite"),
            ({"X": csr_array(np.array([[1.0], [0], [np.inf], [1]]))}, "X: row 2 is NaN or infinite"),
            ({"X": np.full((4, 1), "a")}, "expected real numbers"),
            ({"y": [1, -1]}, r"y: shape \(2,\); expected \(4,\)"),
            ({"y": [1, 1, 1, 1]}, "y: 1 kinds of labels"),
            ({"y": [1, 2, 3, 1]}, "y: 3 kinds of labels"),
            ({"X_test": np.ones((1, 1))}, "give both or neither"),
            ({"X_test": np.ones((1, 2)), "y_test": [1]}, "X_test has 2 features; expected 1"),
            ({"X_test": np.ones((1, 1)), "y_test": [0]}, "y_test: label 0 at row 0; expected one of -1, 1"),
        ],
    )
    def test_wrong_data(self, changes, problem):
        with pytest.raises(DataError, match=problem):
            SparseLogisticRegression(**{"X": np.ones((4, 1)), "y": [1, -1, 1, -1], **changes})

    @pytest.mark.parametrize("changes", [{"batch": 0}, {"l2": -1.0}, {"replacement": 1}, {"partition": "splitt"}])
    def test_wrong_arguments(self, changes):
        with pytest.raises(InvalidInput, match=next(iter(changes))):
            small(**changes)

    def test_more_rows_without_replacement_than_there_are(self):
        with pytest.raises(InvalidInput, match="batch: 41 rows without replacement of 40"):
            small(batch=41, replacement=False)
        problem = small(batch=8, replacement=False, partition="split")
        with pytest.raises(InvalidInput, match=r"problem\.batch: 8 rows without replacement, and a worker has 5"):
            problem.split(7, 0)


def test_a_run_descends():
    problem = SparseLogisticRegression.synthetic(500, 50, 5, l2=0.01, partition="split")
    until = ro.Until(updates=400)
    result = ro.run(ro.methods.ASGD(step_size=0.5), problem, ro.Workers(4, "i"), until=until, force=True)
    assert result.history.value.iloc[-1] < 0.9 * result.history.value.iloc[0]


class TestRealFiles:
    """LIBSVM files as people have them: one line says what is wrong where, and a byte order mark is skipped."""

    def write(self, tmp_path, content: bytes):
        path = tmp_path / "rows.svm"
        path.write_bytes(content)
        return path

    @pytest.mark.parametrize("ending", ["", ".gz", ".bz2"])
    def test_a_byte_order_mark_is_skipped(self, tmp_path, ending):
        packed = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[ending]
        path = tmp_path / f"rows.svm{ending}"
        path.write_bytes(packed(b"\xef\xbb\xbf1 1:0.5\n-1 2:1\n"))
        problem = SparseLogisticRegression.from_svmlight(path)
        assert problem.y.tolist() == [1.0, -1.0]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"1 1:2\n0 63: .50\n", r"rows\.svm, line 2: '63:' is not feature:value in '0 63: \.50'; expected"),
            (b"1 1:2\n# a comment\n2:1 3:1\n", r"rows\.svm, line 3: no label before '2:1' in '2:1 3:1'"),
            (b"1 1:2\nyes 2:1\n", r"rows\.svm, line 2: the label 'yes' is not a number"),
            (b"1 3:2 2:1\n", r"rows\.svm, line 1: the feature 2 comes after 3"),
            (b"1 1:a\n", r"rows\.svm, line 1: '1:a' is not feature:value"),
            (b"1 1,2\n", r"rows\.svm, line 1: '1,2' is not feature:value"),
            (b"1 1:2\n0 " + b"x" * 5000 + b"\n", r"rows\.svm, line 2: .*\(5,0\d\d characters\)"),
        ],
    )
    def test_one_line_with_file_number_text_and_what_is_expected(self, tmp_path, content, message):
        with pytest.raises(DataError, match=message) as refused:
            SparseLogisticRegression.from_svmlight(self.write(tmp_path, content))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 1700
