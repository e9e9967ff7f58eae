"""Draws the class-balanced subset of MNIST that comes with rayopt."""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayopt.core.keys import Stream
from rayopt.problems.data.mnist import FILES, SUBSET, read_folder

Bytes = NDArray[np.uint8]


def choose(labels: Bytes, each: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """Returns the numbers of ``each`` random rows of every class, in the order of the file."""
    rows = [generator.choice(np.flatnonzero(labels == digit), each, replace=False) for digit in range(10)]
    return np.sort(np.concatenate(rows))


def write_idx(path: Path, array: Bytes) -> None:
    """Writes a gzipped IDX file; the same array gives the same bytes."""
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    # Without a name and a time in the gzip header.
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(header + array.tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of the four IDX files of MNIST")
    parser.add_argument("--out", type=Path, default=SUBSET, help="folder to write")
    parser.add_argument("--train", type=int, default=1200, help="training images of each class")
    parser.add_argument("--test", type=int, default=200, help="test images of each class")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    arguments = parser.parse_args()

    digits = read_folder(arguments.source)
    generator = Stream(arguments.seed, "mnist subset").generator()
    train = choose(digits.labels, arguments.train, generator)
    test = choose(digits.test_labels, arguments.test, generator)
    arguments.out.mkdir(parents=True, exist_ok=True)
    subset = {
        "images": digits.images[train].reshape(-1, 28, 28),
        "labels": digits.labels[train],
        "test_images": digits.test_images[test].reshape(-1, 28, 28),
        "test_labels": digits.test_labels[test],
    }
    for part, array in subset.items():
        write_idx(arguments.out / f"{FILES[part]}.gz", array)


if __name__ == "__main__":
    main()
