"""MNIST: from a folder, from OpenML, or the subset that comes with rayopt."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import DataError
from rayopt.core.file_names import absolute

FILES = {
    "images": "train-images-idx3-ubyte",
    "labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
TORCHVISION = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST")
"""Folders below torchvision's root that hold IDX files of this form."""
EMNIST_SPLITS = ("mnist", "digits")
"""The splits of EMNIST with the ten digits."""
SUBSET = Path(__file__).parent / "shipped" / "mnist"

_SIDE = 28
_TRAINING_ROWS = 60_000
# scikit-learn asks at least twice.
_ANSWER_SECONDS = 1.5


@dataclass(frozen=True)
class Digits:
    """Images of handwritten digits.

    Attributes:
      images: training images, one row each, uint8, shape (N, 784).
      labels: 0, ..., 9, uint8, shape (N,).
      test_images: as ``images``.
      test_labels: as ``labels``.
      source: a sentence that says where they come from.
      data: the same for a workload file: "mnist" (OpenML), "mnist_subset", or {"path": folder}.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    source: str
    data: str | dict[str, str]


def load(path: str | Path | None = None) -> Digits:
    """Returns MNIST from the first of three places.

    1. A folder of the four IDX files, gzipped or not: ``path``, or else the environment
       variable ``RAYOPT_DATA``. If one is named, the files must be there and be right.
    2. OpenML, from scikit-learn's cache or the network, if it answers within 3 s.
    3. The subset in the package: 12,000 training and 2,000 test images, class-balanced.

    Args:
      path: the folder.

    Raises:
      DataError: a file of the named folder is missing, truncated or mislabelled.

    References:
      LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    folder = path if path is not None else os.environ.get("RAYOPT_DATA")
    if folder:
        return read_folder(folder)
    try:
        return _fetch()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return subset(f", as OpenML does not answer: {type(error).__name__}")


def subset(reason: str = "") -> Digits:
    """Returns the subset in the package; ``source`` gives the reason for taking it."""
    digits = read_folder(SUBSET)
    counts = _counts(digits.images, digits.test_images)
    return replace(digits, source=f"{counts} (the subset that comes with rayopt{reason})", data="mnist_subset")


def read_folder(folder: str | Path) -> Digits:
    """Returns the digits of a folder of the four IDX files, each with or without ``.gz``.

    The files may be named ``train-images-idx3-ubyte`` or ``train-images.idx3-ubyte``, and may lie below torchvision's
    root, in ``MNIST/raw`` and the like.

    Raises:
      DataError: a file is missing, truncated or mislabelled; the text names it.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected one with the files {', '.join(FILES.values())}")
    arrays = {}
    named, (folder, prefix) = folder, _look(folder)
    for kind in ("", "test_"):
        images = _find(folder, _with_prefix(prefix, FILES[f"{kind}images"]))
        labels = _find(folder, _with_prefix(prefix, FILES[f"{kind}labels"]))
        arrays[f"{kind}images"] = _read_idx(images, (_SIDE, _SIDE)).reshape(-1, _SIDE * _SIDE)
        arrays[f"{kind}labels"] = found = _read_idx(labels, ())
        rows = len(arrays[f"{kind}images"])
        if len(found) != rows:
            raise DataError(f"{labels}: {len(found):,} labels; expected {rows:,}, as there are images in {images.name}")
        if rows == 0:
            raise DataError(f"{images}: no images; expected at least one")
        if found.max() > 9:
            raise DataError(f"{labels}: label {found.max()} at row {found.argmax():,}; expected labels 0 to 9")
    source = f"{_counts(arrays['images'], arrays['test_images'])} ({folder})"
    return Digits(**arrays, source=source, data={"path": absolute(named)})


def _with_prefix(prefix: str, name: str) -> str:
    """Returns the name of a file in a distribution with names of its own: EMNIST calls its test files so."""
    return f"{prefix}{name.replace('t10k', 'test')}" if prefix else name


def _find(folder: Path, name: str) -> Path:
    for path in _forms(folder, name):
        if path.is_file():
            return path
    raise DataError(f"{folder / name}: the file is missing; expected it there, or with the ending .gz")


def _forms(folder: Path, name: str) -> list[Path]:
    """Returns the paths that a file may have: some unpackers turn the last hyphen into a dot."""
    return [folder / f"{form}{ending}" for form in (name, name.replace("-idx", ".idx")) for ending in ("", ".gz")]


def _places(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields where the files may be, and the prefix of their names: as downloaded, and as torchvision keeps them."""
    yield folder, ""
    for place in (folder / "raw", *(folder / name / "raw" for name in TORCHVISION)):
        yield place, ""
    for place in (folder, folder / "raw", folder / "EMNIST" / "raw"):
        for split in EMNIST_SPLITS:
            yield place, f"emnist-{split}-"


def _look(folder: Path) -> tuple[Path, str]:
    """Returns the first place that holds the training images; the folder itself if none does."""
    for place, prefix in _places(folder):
        if any(path.is_file() for path in _forms(place, _with_prefix(prefix, FILES["images"]))):
            return place, prefix
    return folder, ""


def _read_idx(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns the array of an IDX file of unsigned bytes, shape (items, *item_shape).

    The header is four bytes (0, 0, 8 for unsigned bytes, number of axes), then the length of
    each axis as a big-endian 32-bit integer; the items follow.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: it cannot be read ({error}); expected a complete file") from error
    axes = 1 + len(item_shape)
    magic = bytes((0, 0, 8, axes))
    if content[:4] != magic:
        raise DataError(
            f"{path}: it starts with {content[:4].hex(' ')}; expected {magic.hex(' ')}, an IDX file of bytes"
        )
    header = 4 + 4 * axes
    if len(content) < header:
        raise DataError(f"{path}: {len(content)} bytes; expected a header of {header}")
    shape = tuple(int(length) for length in np.frombuffer(content, ">u4", axes, offset=4))
    if shape[1:] != item_shape:
        raise DataError(f"{path}: items of shape {shape[1:]}; expected {item_shape}")
    size = int(np.prod(shape, dtype=np.int64))
    if len(content) != header + size:
        raise DataError(f"{path}: {len(content) - header:,} bytes after the header; expected {size:,} for {shape}")
    # A copy can be written to: PyTorch warns of arrays that cannot.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _fetch() -> Digits:
    """Returns MNIST from scikit-learn's cache or from OpenML; raises OSError if neither answers."""
    from sklearn.datasets import fetch_openml

    with _socket_timeout(_ANSWER_SECONDS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A network error occurred")
        found = fetch_openml("mnist_784", version=1, as_frame=False, n_retries=1, delay=0.1)
    images, labels = found.data.astype(np.uint8), found.target.astype(np.uint8)
    first, rest = slice(None, _TRAINING_ROWS), slice(_TRAINING_ROWS, None)
    source = f"{_counts(images[first], images[rest])} (OpenML)"
    return Digits(images[first], labels[first], images[rest], labels[rest], source, data="mnist")


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _counts(images: NDArray[np.uint8], test_images: NDArray[np.uint8]) -> str:
    return f"MNIST, {len(images):,} training and {len(test_images):,} test images"
