"""MNIST files: the right ones are read, the wrong ones are named."""

from __future__ import annotations

import gzip
import shutil
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from rayopt.core.errors import DataError
from rayopt.problems.data import mnist
from rayopt.problems.data.mnist import SUBSET

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.FILES.values()


def idx(*shape: int, items: bytes | None = None) -> bytes:
    header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
    return header + (bytes(int(np.prod(shape))) if items is None else items)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small right folder: 3 training and 2 test images, two files gzipped and two not."""
    (tmp_path / TRAIN_IMAGES).write_bytes(idx(3, 28, 28))
    (tmp_path / TRAIN_LABELS).write_bytes(idx(3, items=bytes([0, 9, 5])))
    (tmp_path / f"{TEST_IMAGES}.gz").write_bytes(gzip.compress(idx(2, 28, 28)))
    (tmp_path / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(idx(2, items=bytes([1, 2]))))
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, and nothing in scikit-learn's cache."""

    def refuse(*arguments: object, **keywords: object) -> None:
        raise URLError("offline")

    monkeypatch.delenv("RAYOPT_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", refuse)


def test_real_files(digits):
    rows, test_rows = len(digits.images), len(digits.test_images)
    assert (rows, test_rows) in {(60_000, 10_000), (12_000, 2_000)}
    assert f"{rows:,} training and {test_rows:,} test images" in digits.source
    for images, labels in ((digits.images, digits.labels), (digits.test_images, digits.test_labels)):
        assert images.shape == (len(labels), 784)
        assert images.dtype == labels.dtype == np.uint8
        assert images.max() == 255
        assert set(np.unique(labels)) == set(range(10))
    # Drawn right way up: a one is a vertical stroke in the middle, a zero is empty there.
    means = [digits.images[digits.labels == digit].mean(axis=0).reshape(28, 28) for digit in range(10)]
    assert means[1][14, 14] > 150 > 50 > means[0][14, 14]


def test_subset_in_the_package_is_balanced():
    subset = mnist.read_folder(mnist.SUBSET)
    np.testing.assert_array_equal(np.bincount(subset.labels), np.full(10, 1200))
    np.testing.assert_array_equal(np.bincount(subset.test_labels), np.full(10, 200))


def test_subset_is_of_real_rows(digits):
    subset = mnist.read_folder(mnist.SUBSET)
    whole = {images.tobytes() for images in digits.images}
    assert all(images.tobytes() in whole for images in subset.images)


def test_gzipped_or_not(folder):
    found = mnist.load(folder)
    assert found.labels.tolist() == [0, 9, 5]
    assert found.test_labels.tolist() == [1, 2]
    assert found.source == f"MNIST, 3 training and 2 test images ({folder})"


def test_the_argument_goes_before_the_environment(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("RAYOPT_DATA", str(folder))
    assert len(mnist.load().images) == 3
    with pytest.raises(DataError, match="nowhere"):
        mnist.load(tmp_path / "nowhere")


def test_without_folder_and_network_the_subset_says_so(offline):
    start = time.perf_counter()
    found = mnist.load()
    assert time.perf_counter() - start < 10
    assert len(found.images) == 12_000
    assert found.data == "mnist_subset"
    assert found.source == (
        "MNIST, 12,000 training and 2,000 test images "
        "(the subset that comes with rayopt, as OpenML does not answer: URLError)"
    )


def test_openml(monkeypatch):
    class Found:
        data = np.zeros((70_000, 784), dtype=np.float32)
        target = np.full(70_000, "7", dtype=object)

    monkeypatch.delenv("RAYOPT_DATA", raising=False)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *arguments, **keywords: Found)
    found = mnist.load()
    assert found.source == "MNIST, 60,000 training and 10,000 test images (OpenML)"
    assert found.data == "mnist"
    assert (len(found.images), len(found.test_labels)) == (60_000, 10_000)
    assert found.labels.dtype == np.uint8
    assert found.labels[0] == 7


@pytest.mark.parametrize("name", list(mnist.FILES.values()))
def test_missing_file(folder, name, offline):
    for file in folder.glob(f"{name}*"):
        file.unlink()
    with pytest.raises(DataError, match=f"{name}: the file is missing"):
        mnist.load(folder)


def test_empty_folder_of_the_environment_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOPT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES}: the file is missing"):
        mnist.load()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (TRAIN_IMAGES, b"", "it starts with ; expected 00 00 08 03"),
        (TRAIN_IMAGES, b"\0\0\x08\x03\0\0", "6 bytes; expected a header of 16"),
        (TRAIN_IMAGES, idx(3), "it starts with 00 00 08 01; expected 00 00 08 03"),
        (TRAIN_IMAGES, idx(3, 28, 28)[:-1], r"2,351 bytes after the header; expected 2,352"),
        (TRAIN_IMAGES, idx(3, 28, 28) + b"\0", r"2,353 bytes after the header; expected 2,352"),
        (TRAIN_IMAGES, idx(3, 27, 28), r"items of shape \(27, 28\); expected \(28, 28\)"),
        (TRAIN_IMAGES, idx(4, 28, 28), "3 labels; expected 4"),
        (TRAIN_LABELS, idx(3, 28, 28), "it starts with 00 00 08 03; expected 00 00 08 01"),
        (TRAIN_LABELS, idx(2), "2 labels; expected 3"),
        (TRAIN_LABELS, idx(3, items=bytes([0, 10, 1])), "label 10 at row 1; expected labels 0 to 9"),
        (f"{TEST_IMAGES}.gz", b"not gzip", "it cannot be read"),
        (f"{TEST_IMAGES}.gz", gzip.compress(idx(2, 28, 28))[:-9], "it cannot be read"),
        (f"{TEST_LABELS}.gz", gzip.compress(idx(2))[:12] + b"\xff\xff\xff" + bytes(20), "it cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_file(folder, name, content, problem):
    (folder / name).write_bytes(content)
    # Where images and labels disagree, the labels are named.
    named = name.replace("images-idx3", "labels-idx1") if "labels" in problem else name
    with pytest.raises(DataError, match=f"{named}: .*{problem}"):
        mnist.load(folder)


def test_no_images(folder):
    (folder / TRAIN_IMAGES).write_bytes(idx(0, 28, 28))
    (folder / TRAIN_LABELS).write_bytes(idx(0))
    with pytest.raises(DataError, match="no images; expected at least one"):
        mnist.load(folder)


def test_a_file_is_not_a_folder(folder):
    with pytest.raises(DataError, match="is not a folder"):
        mnist.load(folder / TRAIN_IMAGES)


def test_a_folder_is_not_a_file(folder):
    (folder / TRAIN_IMAGES).unlink()
    (folder / TRAIN_IMAGES).mkdir()
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES}: the file is missing"):
        mnist.load(folder)


class TestNamesThatPeopleHave:
    """The files as other programs leave them: another separator, torchvision's root, EMNIST's prefix."""

    def copy(self, folder, rename=lambda name: name):
        folder.mkdir(parents=True, exist_ok=True)
        for path in SUBSET.iterdir():
            shutil.copy(path, folder / rename(path.name))

    @pytest.mark.parametrize(
        ("place", "rename"),
        [
            ("", lambda name: name.replace("-idx", ".idx")),
            ("MNIST/raw", lambda name: name),
            ("FashionMNIST/raw", lambda name: name),
            ("KMNIST/raw", lambda name: name),
            ("raw", lambda name: name),
            ("EMNIST/raw", lambda name: "emnist-digits-" + name.replace("t10k", "test")),
            ("EMNIST/raw", lambda name: "emnist-mnist-" + name.replace("t10k", "test")),
        ],
        ids=["dots", "MNIST", "FashionMNIST", "KMNIST", "raw", "EMNIST digits", "EMNIST mnist"],
    )
    def test_are_found_and_named(self, tmp_path, place, rename):
        self.copy(tmp_path / place, rename)
        found = mnist.read_folder(tmp_path)
        assert len(found.images) == 12_000
        assert str(tmp_path / place) in found.source
        assert found.data == {"path": str(tmp_path)}

    def test_a_folder_with_none_of_them(self, tmp_path):
        with pytest.raises(DataError, match="train-images-idx3-ubyte: the file is missing"):
            mnist.read_folder(tmp_path)

    def test_arrays_can_be_written_to(self):
        """PyTorch warns of an array that cannot, and the user can do nothing about it."""
        assert mnist.read_folder(SUBSET).images.flags.writeable
