"""Data sets by name: torchvision's MNIST from its files, one of Hugging Face from a folder; and what is missing."""

from __future__ import annotations

import gzip
import importlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rayopt as ro
from rayopt.core.errors import DataError, InvalidInput
from rayopt.problems.data import mnist
from rayopt.problems.data.tables import read_rows

SHIPPED = Path(mnist.__file__).parent / "shipped" / "mnist"


def needed(module: str) -> None:
    """Skips where the package is not there, or was made for another PyTorch."""
    try:
        importlib.import_module(module)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{module} is not installed ({str(error).splitlines()[0]})")


class TestTorchvision:
    @pytest.fixture
    def root(self, tmp_path):
        needed("torchvision.datasets")
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for path in SHIPPED.glob("*.gz"):
            (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        return tmp_path

    def test_its_mnist_is_ours(self, root):
        data = {"torchvision": "MNIST", "root": str(root)}
        found, own = read_rows(data), mnist.subset()
        np.testing.assert_allclose(found.X.reshape(len(found.X), -1), own.images / 255, atol=1e-7)
        assert found.y.tolist() == own.labels.tolist()
        assert found.y_test is not None
        assert found.y_test.tolist() == own.test_labels.tolist()
        problem = ro.problems.LogisticRegression.from_config(data=data)
        expected = ro.problems.LogisticRegression.from_config(data="mnist_subset")
        x = np.linspace(-1e-3, 1e-3, problem.dimension)
        assert problem.metrics(x) == pytest.approx(expected.metrics(x), rel=1e-5)

    def test_what_is_not_there_says_how_it_is_had(self, root):
        with pytest.raises(DataError, match=r"torchvision's CIFAR10 is not in .*download=True\) once, or root"):
            read_rows({"torchvision": "CIFAR10", "root": str(root)})
        with pytest.raises(InvalidInput, match=r"data.torchvision: 'MNITS' is unknown \(did you mean 'MNIST'\?\)"):
            read_rows({"torchvision": "MNITS"})


class TestHuggingFace:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
        needed("datasets")
        frame = pd.DataFrame({"a": np.arange(12.0), "b": np.arange(12.0) ** 2, "kind": ["x", "y", "z"] * 4})
        folder = tmp_path / "own"
        folder.mkdir()
        frame[:9].to_csv(folder / "train.csv", index=False)
        frame[9:].to_csv(folder / "test.csv", index=False)
        return folder

    def test_a_data_set_has_its_splits(self, folder):
        found = read_rows({"hugging_face": str(folder), "target": "kind"})
        assert found.X.tolist() == [[k, k**2] for k in np.arange(9.0)]
        assert found.y.tolist() == ["x", "y", "z"] * 3
        assert found.X_test is not None
        assert len(found.X_test) == 3
        problem = ro.problems.LogisticRegression.from_config(
            data={"hugging_face": str(folder), "target": "kind", "features": ["a"], "standardise": True}
        )
        assert problem.dimension == 6

    def test_columns_that_are_not_there(self, folder):
        with pytest.raises(InvalidInput, match=r"data.target: 'c' is not a column of .*; allowed: a, b, kind"):
            read_rows({"hugging_face": str(folder), "target": "c"})
        with pytest.raises(InvalidInput, match=r"data.features: .* has no column 'c'"):
            read_rows({"hugging_face": str(folder), "target": "a", "features": ["c"]})
        with pytest.raises(DataError, match=r"row 0, column 'kind': 'x' is not a finite number"):
            read_rows({"hugging_face": str(folder), "target": "a"})
        with pytest.raises(DataError, match=r"Hugging Face's 'nobody/nothing' cannot be had"):
            read_rows({"hugging_face": "nobody/nothing"})


@pytest.mark.parametrize(("data", "package"), [({"torchvision": "MNIST"}, "torchvision"),
                                               ({"hugging_face": "mnist"}, "datasets")])  # fmt: skip
def test_a_package_that_is_not_installed_is_named(data, package, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    (extra,) = data
    allowed = rf'pip install "rayopt\[{extra}\]"'
    with pytest.raises(InvalidInput, match=rf"data: {package} is not installed .*; allowed: {allowed}"):
        read_rows(data)
    extras = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert extras["project"]["optional-dependencies"][extra][0].startswith(package)


def test_a_package_whose_compiled_part_does_not_fit_is_one_line(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(InvalidInput, match=r"torchvision cannot be imported \(operator .*\); allowed: versions"):
        read_rows({"torchvision": "MNIST"})


def test_options_of_other_kinds_are_refused():
    with pytest.raises(InvalidInput, match=r"data.root: is not allowed with hugging_face"):
        read_rows({"hugging_face": "mnist", "root": "here"})
