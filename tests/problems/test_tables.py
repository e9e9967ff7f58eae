"""Every form of data that people have, with real files; and what is said of those that cannot be used."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import dump_svmlight_file, load_breast_cancer, load_diabetes, load_wine

import rayopt as ro
from rayopt.core.errors import DataError, InvalidInput
from rayopt.experiments.config import load_workload
from rayopt.problems.data.tables import read_rows

X, Y = load_wine(return_X_y=True)
NAMES = np.array(["barolo", "grignolino", "barbera"])[Y]
FRAME = pd.DataFrame(X, columns=load_wine().feature_names).assign(wine=NAMES)


def write(kind, folder):
    """The wines in a file; returns what a workload says of it."""
    path = folder / f"wine.{kind}"
    match kind:
        case "csv":
            FRAME.to_csv(path, index=False)
        case "parquet":
            FRAME.to_parquet(path)
        case "feather":
            FRAME.to_feather(path)
        case "npz":
            np.savez(path, X=X, y=Y)
        case "npy":
            np.save(path, X)
            np.save(folder / "target.npy", Y)
            return {"npy": str(path), "target": str(folder / "target.npy")}
        case "libsvm":
            dump_svmlight_file(X, Y, str(path))
    return {kind: str(path), **({"target": "wine"} if kind in ("csv", "parquet", "feather") else {})}


KINDS = ("csv", "parquet", "feather", "npz", "npy", "libsvm")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_each_form_is_the_arrays_themselves(kind, tmp_path):
    data = write(kind, tmp_path)
    problem = ro.problems.LogisticRegression.from_config(data=data)
    own = ro.problems.LogisticRegression(X, NAMES if "target" in data and kind != "npy" else Y)
    x = np.linspace(-1, 1, own.dimension)
    np.testing.assert_allclose(problem.value(x), own.value(x), rtol=1e-12)
    assert problem.classes_.tolist() == own.classes_.tolist()
    assert "178 training rows" in problem.source


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_of_a_run_makes_it_again_from_anywhere(kind, tmp_path, monkeypatch):
    data = {key: value.removeprefix(f"{tmp_path}/") for key, value in write(kind, tmp_path).items()}
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "workload.yaml"
    problem = {"name": "logistic_regression", "data": {**data, "standardise": True, "test_share": 0.25}, "batch": 4}
    file.write_text(yaml.safe_dump({
        "problem": problem, "workers": {"count": 3, "compute": "i"}, "until": {"time": 30},
        "methods": [{"name": "rennala", "step_size": 0.5, "batch_size": 3}],
    }))  # fmt: skip
    result = load_workload(file).build().run(tmp_path / "run")
    assert result.history.accuracy.iloc[-1] > 0.8
    monkeypatch.chdir("/")
    again = load_workload(tmp_path / "run" / "config.yaml").build().run()
    pd.testing.assert_frame_equal(again.history, result.history)


def test_numpy_files_are_mapped_and_not_read(tmp_path):
    assert isinstance(read_rows(write("npy", tmp_path)).X, np.memmap)


def test_test_rows_come_from_a_share_or_a_file(tmp_path):
    data = write("csv", tmp_path)
    divided = read_rows({**data, "test_share": 0.25})
    assert (len(divided.X), len(divided.X_test)) == (134, 44)
    both = np.vstack([divided.X, divided.X_test])
    assert sorted(map(tuple, both)) == sorted(map(tuple, X))
    np.testing.assert_array_equal(divided.X, read_rows({**data, "test_share": 0.25}).X)
    FRAME.iloc[:20].to_csv(tmp_path / "test.csv", index=False)
    other = read_rows({**data, "test": str(tmp_path / "test.csv")})
    assert (len(other.X), len(other.X_test)) == (178, 20)
    np.savez(tmp_path / "four.npz", X=X, y=Y, X_test=X[:5], y_test=Y[:5])
    assert len(read_rows({"npz": str(tmp_path / "four.npz")}).X_test) == 5


def test_features_are_chosen_and_standardised_over_the_training_rows(tmp_path):
    data = write("csv", tmp_path)
    found = read_rows({**data, "features": ["alcohol", "ash"], "standardise": True, "test_share": 0.5})
    assert found.X.shape[1] == 2
    np.testing.assert_allclose(found.X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.X.std(axis=0), 1)
    assert abs(found.X_test.mean()) > 1e-3
    constant = FRAME.assign(same=3.0)
    constant.to_csv(tmp_path / "constant.csv", index=False)
    assert (
        read_rows({"csv": str(tmp_path / "constant.csv"), "target": "wine", "standardise": True}).X[:, -1] == 0
    ).all()


def test_least_squares_a_network_and_pytorch_take_them_too(tmp_path):
    A, b = load_diabetes(return_X_y=True)
    pd.DataFrame(A).assign(y=b).rename(columns=str).to_csv(tmp_path / "diabetes.csv", index=False)
    regression = ro.problems.LeastSquares.from_config(data={"csv": str(tmp_path / "diabetes.csv"), "target": "y"})
    own = ro.problems.LeastSquares(A, b)
    assert regression.value(np.ones(10)) == pytest.approx(own.value(np.ones(10)), rel=1e-12)
    wine = write("csv", tmp_path)
    network = ro.problems.MLP.from_config(data={**wine, "standardise": True}, hidden=4)
    assert network.dimension == 13 * 4 + 4 + 4 * 3 + 3
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module = ro.problems.TorchProblem.from_config(
        module=lambda: torch.nn.Linear(13, 3), data={**wine, "standardise": True, "test_share": 0.2}
    )
    assert set(np.unique(module.y).tolist()) == {0, 1, 2}
    assert module.accuracy(np.zeros(module.dimension)) >= 0


def test_a_function_of_a_module_returns_arrays(tmp_path, monkeypatch):
    (tmp_path / "cancer_rows.py").write_text(
        "from sklearn.datasets import load_breast_cancer\n\n\n"
        "def rows():\n    return load_breast_cancer(return_X_y=True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    problem = ro.problems.LogisticRegression.from_config(
        data={"function": "cancer_rows:rows", "standardise": True, "test_share": 0.2}, batch=4
    )
    assert len(problem.y) + len(problem.y_test) == len(load_breast_cancer().target)


def test_openml_is_asked_by_name_or_id(monkeypatch):
    """The real call, with the network's answer in its place."""
    asked = []

    def fetch_openml(**given):
        asked.append(given)
        return type("Bunch", (), {"frame": FRAME, "target": FRAME["wine"]})

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    by_name = ro.problems.LogisticRegression.from_config(data={"openml": "wine", "target": "wine"})
    by_id = ro.problems.LogisticRegression.from_config(data={"openml": 187})
    assert by_name.classes == by_id.classes == 3
    assert [(given.get("name"), given.get("data_id"), given["target_column"]) for given in asked] == [
        ("wine", None, "wine"), (None, 187, "default-target"),
    ]  # fmt: skip


def test_openml_without_a_network_says_so(monkeypatch):
    def fetch_openml(**given):
        raise OSError("Name or service not known")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    with pytest.raises(DataError, match=r"OpenML's 'wine' cannot be had .*not known.*; expected a data set"):
        read_rows({"openml": "wine"})


BAD_ROWS = {
    "word": ("a,b,y\n1,2,0\n3,x,1\n", r"row 1, column 'b': 'x' is not a finite number; expected numbers"),
    "missing": ("a,b,y\n1,2,0\n,4,1\n", r"row 1, column 'a': the value is missing"),
    "infinite": ("a,b,y\n1,inf,0\n3,4,1\n", r"row 0, column 'b': .*inf.* is not a finite number"),
    "categories": ("a,b,y\n1,red,0\n3,blue,1\n4,red,1\n", r"row 0, column 'b': 'red' .*; columns of 0 and 1 stand for"),
    "no target": ("a,b,y\n1,2,0\n3,4,\n", r"row 1, column 'y': the target is missing"),
    "empty": ("", r"it cannot be read \(.*\); expected a csv file"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_value_is_named_with_its_file_row_and_column(name, tmp_path):
    text, said = BAD_ROWS[name]
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as error:
        read_rows({"csv": str(path), "target": "y"})
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"target": "whine"}, r"data.target: .* has no column 'whine' \(did you mean 'wine'\?\); allowed: alcohol, "),
        ({"features": ["alcohol", "colour"]}, r"data.features: .* has no column 'colour'"),
        ({"features": ["alcohol", "wine"]}, r"data.features: 'wine' is the target"),
        ({"features": "alcohol"}, r"data.features: 'alcohol' is not a list of columns"),
        ({"target": None, "delete": True}, "data.target: missing; allowed: the column that is to be predicted"),
        ({"test_share": 1.5}, "data.test_share: 1.5 is not a share; allowed: a number between 0 and 1"),
        ({"test_share": 0.5, "test": "x.csv"}, "data.test_share: cannot be combined with test"),
        ({"standardize": True}, r"data.standardize: is not allowed with csv \(did you mean 'standardise'\?\)"),
        ({"standardise": "yes"}, "data.standardise: 'yes'"),
        ({"csv": 3}, "data.csv: 3 is not a path"),
    ],
)
def test_a_bad_key_is_one_error(given, said, tmp_path):
    data = {**write("csv", tmp_path), **given}
    if data.pop("delete", False):
        del data["target"]
    with pytest.raises(InvalidInput, match=said):
        read_rows(data)


def test_files_that_are_not_there_or_something_else(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.parquet: there is no such file; expected a parquet file"):
        read_rows({"parquet": str(tmp_path / "nowhere.parquet"), "target": "y"})
    other = tmp_path / "other.npz"
    other.write_bytes(b"this is no archive")
    with pytest.raises(DataError, match=r"other.npz: it cannot be read .*; expected an .npz file"):
        read_rows({"npz": str(other)})
    np.savez(tmp_path / "lacking.npz", X=X)
    with pytest.raises(DataError, match=r"lacking.npz has no array 'y' \(X\)"):
        read_rows({"npz": str(tmp_path / "lacking.npz")})
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"objects.npy: it cannot be read .*; expected an .npy file without pickled"):
        read_rows({"npy": str(tmp_path / "objects.npy"), "target": str(tmp_path / "objects.npy")})


def test_the_command_says_it_in_one_line(tmp_path):
    from typer.testing import CliRunner

    from rayopt.cli import main

    file = tmp_path / "workload.yaml"
    file.write_text(yaml.safe_dump({
        "problem": {"name": "logistic_regression", "data": {**write("csv", tmp_path), "target": "whine"}},
        "workers": {"count": 3, "compute": "i"}, "until": {"time": 30},
        "methods": [{"name": "asgd", "step_size": 0.5}],
    }))  # fmt: skip
    done = CliRunner().invoke(main, ["run", str(file), "--out", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert done.output.startswith(f"{file}: problem.data.target: ")


def test_words_of_the_test_rows_are_the_classes_of_the_training_rows(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    FRAME[FRAME.wine != "barbera"].to_csv(tmp_path / "test.csv", index=False)
    data = {**write("csv", tmp_path), "test": str(tmp_path / "test.csv")}
    problem = ro.problems.TorchProblem.from_config(module=lambda: torch.nn.Linear(13, 3), data=data)
    # Of barbera, barolo and grignolino the first is not among them.
    assert set(np.unique(problem.y_test).tolist()) == {1, 2}


def text(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("a,b,y\n1,2,0,5\n1,2,1,4\n", r"its rows have 4 values, its header 3; expected as many"),
        ("a,b,y\n1,2,0\n1,2,3,4\n", r"it cannot be read .*line 3"),
        ("a,b,y\n", r"it has no rows; expected at least one"),
        ("a;b;y\n1;2;0\n", r"its columns are separated by semicolons; expected commas"),
        ("a\tb\ty\n1\t2\t0\n", r"its columns are separated by tabs; expected commas"),
    ],
)
def test_a_csv_whose_rows_do_not_fit_its_header(content, what, tmp_path):
    path = text(tmp_path, "rows.csv", content)
    with pytest.raises(DataError, match=rf"rows\.csv: {what}"):
        ro.problems.LogisticRegression.from_config(data={"csv": path, "target": "y"})


def test_categories_and_dates_are_not_numbers(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "y": [0, 1, 0]})
    for column, kind in ((pd.Categorical(["1", "2", "1"]), "category"),
                         (pd.date_range("2020-01-01", periods=3), "datetime64")):  # fmt: skip
        frame.assign(c=column).to_parquet(tmp_path / "rows.parquet")
        with pytest.raises(DataError, match=rf"column 'c' is of {kind}.*columns of 0 and 1 stand for categories"):
            read_rows({"parquet": str(tmp_path / "rows.parquet"), "target": "y"})
    some = text(tmp_path, "some.csv", "a,y\n1,0\n2,1\nred,0\n")
    with pytest.raises(DataError, match=r"row 2, column 'a': 'red' .*stand for categories.*counted from 0"):
        read_rows({"csv": some, "target": "y"})


@pytest.mark.parametrize("problem", ["logistic_regression", "sparse_logistic_regression"])
def test_a_libsvm_file_is_read_in_one_way(problem, tmp_path):
    make = {"logistic_regression": ro.problems.LogisticRegression,
            "sparse_logistic_regression": ro.problems.SparseLogisticRegression}[problem].from_config  # fmt: skip
    marked = text(tmp_path, "marked.svm", b"\xef\xbb\xbf1 1:0.5\n0 1:2\n")
    assert make(data={"libsvm": marked}).row_count == 2
    test = text(tmp_path, "test.svm", "1 1:0.5 3:1\n")
    found = make(data={"libsvm": marked, "test": test})
    assert (found.X.shape, found.X_test.shape) == ((2, 3), (1, 3))
    assert make(data=found.to_config()["data"]).row_count == 2
    for content, what in (("1 1:0.5 2:abc\n0 1:1\n", r"bad\.svm, line 1: '2:abc' is not feature:value"),
                          ("1 1:nan\n0 1:2\n", r"bad\.svm: X: row 0 is NaN")):  # fmt: skip
        with pytest.raises(DataError, match=what):
            make(data={"libsvm": text(tmp_path, "bad.svm", content)})


def test_a_libsvm_file_that_is_too_large_when_dense_is_one_line(tmp_path):
    path = text(tmp_path, "huge.svm", "1 1:0.5\n0 1000000000:2\n" * 100)
    with pytest.raises(InvalidInput, match=r"data\.libsvm: 1,000,000,000 needs at least 1\.6 TB of memory"):
        read_rows({"libsvm": path})
    assert ro.problems.SparseLogisticRegression.from_config(data={"libsvm": path}).dimension == 10**9
    with pytest.raises(InvalidInput, match=r"data\.standardise: rows that are sparse would be dense"):
        ro.problems.SparseLogisticRegression.from_config(data={"libsvm": path, "standardise": True})


def test_sparse_logistic_regression_takes_a_table(tmp_path):
    path = text(tmp_path, "rows.csv", "a,b,y\n1,0,no\n0,2,yes\n0,3,no\n4,0,yes\n")
    problem = ro.problems.SparseLogisticRegression.from_config(data={"csv": path, "target": "y", "test_share": 0.25})
    assert (problem.row_count, problem.X_test.shape) == (3, (1, 2))
    assert problem.source == f"{path}, 3 training rows and 1 test rows"


def test_numpy_files_have_test_files(tmp_path):
    data = write("npy", tmp_path)
    found = read_rows({**data, "test": data["npy"], "test_target": data["target"]})
    np.testing.assert_array_equal(found.X_test, X)
    np.testing.assert_array_equal(found.y_test, Y)
    with pytest.raises(InvalidInput, match=r"data\.test_target: missing"):
        read_rows({**data, "test": data["npy"]})


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"X": np.array([["a", "b"]]), "y": [0]}, r"X: shape \(1, 2\) of <U1"),
        ({"X": np.ones((3, 2)), "y": [0, 1]}, r"y: shape \(2,\); expected \(3,\)"),
        ({"X": [[1.0], [np.nan]], "y": [0, 1]}, r"X: row 1 is NaN"),
    ],
)
def test_what_is_wrong_with_arrays_of_a_file_names_the_file(arrays, what, tmp_path):
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(DataError, match=rf"rows\.npz: {what}"):
        ro.problems.LogisticRegression.from_config(data={"npz": str(tmp_path / "rows.npz")})


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"X": np.float64(1), "y": [0]}, r"X has shape \(\)"),
        ({"X": np.ones((2, 1)), "y": np.int64(1)}, r"y has shape \(\)"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, r"X has shape \(0, 2\); expected at least one value"),
        ({"X": np.ones((2, 2)), "y": [0, 1], "X_test": np.ones((2, 3)), "y_test": [0, 1]},
         r"rows of X_test have shape \(3,\); expected \(2,\)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"standardise": True}])
def test_arrays_without_rows_or_of_other_rows(arrays, what, options, tmp_path):
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(DataError, match=rf"rows\.npz: {what}"):
        read_rows({"npz": str(tmp_path / "rows.npz"), **options})


def test_several_arrays_are_no_npy_file(tmp_path):
    data = write("npz", tmp_path)["npz"]
    with pytest.raises(DataError, match=r"wine\.npz: it holds several arrays; expected an \.npy file"):
        read_rows({"npy": data, "target": data})


def test_columns_whose_names_are_numbers(tmp_path):
    frame = pd.DataFrame({0: [1.0, 2.0], 1: [0, 1]})
    frame.to_parquet(tmp_path / "rows.parquet")
    for target in (1, "1"):
        found = read_rows({"parquet": str(tmp_path / "rows.parquet"), "target": target})
        assert (found.X.tolist(), found.y.tolist()) == ([[1.0], [2.0]], [0, 1])


def test_a_function_may_return_sparse_rows(tmp_path, monkeypatch):
    (tmp_path / "sparse_rows.py").write_text(
        "from scipy.sparse import csr_array\nimport numpy as np\n\n\n"
        "def rows():\n    return csr_array(np.eye(4)), [0, 1, 0, 1]\n\n\n"
        "def numbers():\n    return 1, 2\n\n\ndef ragged():\n    return [[1], [1, 2]], [0, 1]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sparse = ro.problems.SparseLogisticRegression.from_config(data={"function": "sparse_rows:rows"})
    assert sparse.X.nnz == 4
    dense = ro.problems.LogisticRegression.from_config(data={"function": "sparse_rows:rows"})
    np.testing.assert_array_equal(dense.X, np.eye(4))
    with pytest.raises(DataError, match=r"sparse_rows:numbers: X has shape \(\)"):
        read_rows({"function": "sparse_rows:numbers"})
    with pytest.raises(InvalidInput, match=r"'sparse_rows:ragged' returned what is no array"):
        read_rows({"function": "sparse_rows:ragged"})


def test_a_label_of_the_test_file_alone_names_that_file(tmp_path):
    train = text(tmp_path, "train.csv", "a,y\n1,no\n2,yes\n")
    test = text(tmp_path, "test.csv", "a,y\n1,no\n2,perhaps\n")
    with pytest.raises(DataError, match=r"^\S*test\.csv: y_test: label 'perhaps' at row 1"):
        ro.problems.LogisticRegression.from_config(data={"csv": train, "target": "y", "test": test})


def test_least_squares_of_words(tmp_path):
    path = text(tmp_path, "rows.csv", "a,y\n1,2\n2,many\n")
    with pytest.raises(DataError, match=r"rows\.csv: b: row 1: the target 'many' is not a finite number; expected"):
        ro.problems.LeastSquares.from_config(data={"csv": path, "target": "y"})


@pytest.mark.parametrize("name", ["numpy:zeros", "numpy:pi"])
def test_a_function_that_cannot_be_called(name):
    with pytest.raises(InvalidInput, match=r"data\.function: .*(be called|is not a function).*without arguments"):
        read_rows({"function": name})
