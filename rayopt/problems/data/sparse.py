"""Sparse rows with two kinds of labels: from files, made up, checked, and how sparse they are."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput, at_least, is_number, shortened
from rayopt.core.keys import Stream, distinct_below, subkeys
from rayopt.core.memory import check_fits
from rayopt.problems.data.classes import classes_of, encoded, shown

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Array = NDArray[np.float64]

_BLOCK = 256
_DENSE = 64
_SPREAD = 4.0


@dataclass(frozen=True)
class Sparsity:
    """Hogwild's constants of a hypergraph whose edges are the nonzero features of the rows.

    Attributes:
      omega: features of the largest edge.
      delta: largest share of the edges that contain one feature.
      rho: largest share of the edges that meet one edge, itself included.
    """

    omega: int
    delta: float
    rho: float


def sparsity(X: csr_array, rows: int | None = None) -> Sparsity:
    """Returns the constants of the rows of X; rho among ``rows`` of them, evenly spaced, or all."""
    from scipy.sparse import csr_array

    total = X.shape[0]
    examined = total if rows is None else min(at_least("rows", rows, 1), total)
    pattern = csr_array((np.ones(len(X.data), dtype=np.int32), X.indices, X.indptr), shape=X.shape)
    columns = pattern.T.tocsr()
    chosen = np.linspace(0, total - 1, examined).astype(np.intp)
    most = 0
    for start in range(0, examined, _BLOCK):
        meets = pattern[chosen[start : start + _BLOCK]] @ columns
        most = max(most, int(np.diff(meets.indptr).max()))
    return Sparsity(
        omega=int(np.diff(X.indptr).max()), delta=float(np.diff(columns.indptr).max() / total), rho=most / total
    )


def synthetic(rows: int, features: int, nonzeros_per_row: int, seed: int) -> tuple[csr_array, Array]:
    """Returns rows of norm 1 and labels +1 with probability 1/(1 + exp(-a'z)) for z ~ N(0, 16) in each coordinate.

    Raises:
      InvalidInput: an argument is out of its range.
    """
    from scipy.sparse import csr_array

    at_least("rows", rows, 2)
    at_least("features", features, 1)
    at_least("nonzeros_per_row", nonzeros_per_row, 1)
    at_least("seed", seed, 0)
    if nonzeros_per_row > features:
        raise InvalidInput("nonzeros_per_row", f"{nonzeros_per_row:,} of {features:,} features", "at most features")
    check_fits("rows", rows, rows * nonzeros_per_row * 16)
    check_fits("features", features, features * 8)
    stream = Stream(seed, "sparse data")
    keys = stream.keys(np.zeros(rows, dtype=np.intp), np.arange(rows))
    indices = np.sort(distinct_below(subkeys(keys, nonzeros_per_row), features), axis=1)
    generator = stream.generator()
    values = generator.standard_normal((rows, nonzeros_per_row))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    truth = _SPREAD * generator.standard_normal(features)
    margins = np.einsum("rj,rj->r", values, truth[indices])
    y = np.where(generator.random(rows) < 1.0 / (1.0 + np.exp(-margins)), 1.0, -1.0)
    # Both labels must occur, however few the rows.
    y[0], y[1] = 1.0, -1.0
    offsets = np.arange(rows + 1) * nonzeros_per_row
    return csr_array((values.reshape(-1), indices.reshape(-1), offsets), shape=(rows, features)), y


def read_svmlight(paths: Sequence[str | Path], features: int | None) -> list[Any]:
    """Returns X, y of each file, one after the other, as many features in all.

    Raises:
      DataError: a file cannot be read.
      InvalidInput: ``features`` is not a positive integer.
    """
    from sklearn.datasets import load_svmlight_files

    if features is not None:
        at_least("features", features, 1)
    for path in paths:
        if not isinstance(path, (str, Path)):
            raise InvalidInput("path", f"{path!r} is not a path", "the name of a file")
    names = [str(Path(path).expanduser()) for path in paths]
    for name in names:
        if not Path(name).is_file():
            raise DataError(f"{name}: the file is missing; expected one of lines 'label feature:value ...'")
    try:
        return load_svmlight_files(
            [io.BytesIO(_content(name)) for name in names], n_features=features, dtype=np.float64
        )
    except (ValueError, OSError, EOFError) as error:
        for name in names:
            _check_lines(name)
        raise DataError(
            f"{', '.join(names)}: it cannot be read ({error}); expected lines 'label feature:value ...'"
        ) from error


def _content(name: str) -> bytes:
    """Returns the bytes of a file, unpacked if its name ends in .gz or .bz2, without a byte order mark."""
    opened = gzip.open if name.endswith(".gz") else bz2.open if name.endswith(".bz2") else open
    with opened(name, "rb") as file:
        return bytes(file.read()).removeprefix(codecs.BOM_UTF8)


def _check_lines(name: str) -> None:
    """Raises DataError with the first line that is none of a LIBSVM file: its number, its text and what is expected."""
    for number, line in enumerate(_content(name).decode("utf-8", "replace").splitlines(), start=1):
        text = line.partition("#")[0].split()
        if text and (problem := _line_problem(text)):
            raise DataError(f"{name}, line {number}: {problem} in {shortened(line.strip(), 80)!r}; expected "
                            "'label feature:value ...' with single colons and no blank beside them")  # fmt: skip


def _line_problem(parts: Sequence[str]) -> str:
    label, *pairs = parts
    if ":" in label:
        return f"no label before {label!r}"
    if not all(map(is_number, label.split(","))):
        return f"the label {label!r} is not a number"
    last = -1
    for pair in pairs:
        feature, colon, value = pair.partition(":")
        if feature == "qid":
            continue
        if not colon or not feature.isdecimal() or not is_number(value):
            return f"{pair!r} is not feature:value"
        if int(feature) <= last:
            return f"the feature {feature} comes after {last}, not before it"
        last = int(feature)
    return ""


def checked_rows(X: Any, name: str) -> csr_array:
    """Returns X as float64 rows without explicit zeros, indices sorted and once each, or raises DataError."""
    from scipy.sparse import csr_array, issparse

    if not issparse(X):
        X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "uifb":
        raise DataError(f"{name}: shape {X.shape} of {X.dtype}; expected real numbers of shape (rows, features)")
    if 0 in X.shape:
        raise DataError(f"{name}: shape {X.shape} is empty; expected at least one row and one feature")
    rows = csr_array(X, dtype=np.float64, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    if not np.isfinite(rows.data).all():
        at = int(np.flatnonzero(~np.isfinite(rows.data))[0])
        row = int(np.searchsorted(rows.indptr, at, side="right")) - 1
        raise DataError(f"{name}: row {row} is NaN or infinite; expected finite numbers")
    if not rows.nnz:
        raise DataError(f"{name}: all features are 0; expected some that are not")
    return rows


def two_classes(y: ArrayLike) -> NDArray[Any]:
    """Returns the two labels that occur, the smaller one first, or raises DataError."""
    kinds = classes_of(y)
    if len(kinds) != 2:
        raise DataError(f"y: {len(kinds)} kinds of labels ({shown(kinds)}); expected two, such as -1 and 1")
    return kinds


def signs(y: ArrayLike, kinds: NDArray[Any], rows: int, name: str) -> Array:
    """Returns -1.0 for the first kind of label and 1.0 for the second, shape (rows,), or raises DataError."""
    y = np.asarray(y)
    if y.shape != (rows,):
        raise DataError(f"{name}: shape {y.shape}; expected {(rows,)}, one label for each row")
    return np.where(encoded(y, kinds, name) == 1, 1.0, -1.0)


def largest_eigenvalue(X: csr_array, weights: Array) -> float:
    """Returns the largest eigenvalue of sum_r weights[r] a_r a_r' over the rows a_r of X."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    features = X.shape[1]
    if features <= _DENSE:
        dense = X.toarray()
        return float(np.linalg.eigvalsh(dense.T @ (weights[:, None] * dense))[-1])

    def product(vector: Array) -> Array:
        return X.T @ (weights * (X @ vector))

    operator = LinearOperator((features, features), matvec=product, dtype=np.float64)
    start = Stream(0, "eigenvalue").generator().standard_normal(features)
    return float(eigsh(operator, k=1, v0=start, return_eigenvectors=False)[0])
