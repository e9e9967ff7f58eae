"""Data that people have: tables in files, NumPy arrays, LIBSVM files, named data sets, and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import DataError, InvalidInput, at_least, boolean, first_line, nearest
from rayopt.core.file_names import absolute
from rayopt.core.keys import Stream
from rayopt.core.user_code import ALLOWED, imported
from rayopt.problems.data import packages
from rayopt.problems.data.columns import check_target, numbers

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]

TABLES = ("csv", "parquet", "feather")
NAMED = ("openml", "torchvision", "hugging_face")
KINDS = (*TABLES, "npz", "npy", "libsvm", *NAMED, "function")
OPTIONS = {
    "target": (*TABLES, "npy", "openml", "hugging_face"), "features": (*TABLES, "hugging_face"),
    "test": (*TABLES, "npz", "libsvm"), "root": ("torchvision",), "test_share": KINDS, "standardise": KINDS,
}  # fmt: skip
"""What may stand beside each kind."""
FORMS = "{csv | parquet | feather: FILE, target: COLUMN}, {npz: FILE}, {npy: FILE, target: FILE}, {libsvm: FILE}, " + (
    "{openml: NAME or id}, {torchvision: NAME}, {hugging_face: NAME}, {function: " + ALLOWED + "}"
)


@dataclass(frozen=True)
class Rows:
    """Training data, and test data if there are any.

    Attributes:
      X: shape (rows, ...).
      y: targets, shape (rows,) or (rows, ...).
      X_test: as X; None without test data.
      y_test: as y.
      source: a sentence that says where they come from.
      data: the same for a workload file, its paths absolute.
    """

    X: Array
    y: Array
    X_test: Array | None
    y_test: Array | None
    source: str
    data: dict[str, Any]


def names_rows(data: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a mapping that says where rows are."""
    return isinstance(data, Mapping) and any(kind in data for kind in KINDS)


def read_rows(data: Mapping[str, Any], rows: int | None = None) -> Rows:
    """Returns the rows that a workload file names.

    Args:
      data: one of the keys of ``KINDS`` with its file, name or function, and beside it: ``target``, the column of the
        targets (of ``npy`` their file, of named data sets by default their own); ``features``, a list of columns,
        or "all" others (by default); ``test``, a file of test data of the same form, or ``test_share``, the share
        of rows that are drawn for the test; ``standardise``, whether each feature is shifted and scaled to mean 0 and
        variance 1 over the training rows; ``root``, the folder of torchvision's data sets. An ``.npz`` holds X and y,
        and X_test and y_test if there are any.
      rows: train on the first so many rows; on all if None.

    Raises:
      InvalidInput: a key is unknown, missing or does not go with the others, or a column is not there.
      DataError: a file is missing or damaged, or a value is not a number: file, row, column and value.
    """
    kind = next(kind for kind in KINDS if kind in data)
    _check_keys(kind, data)
    given = dict(data)
    for key in {*TABLES, "npz", "npy", "libsvm", "test", *(["target"] if kind == "npy" else [])} & set(data):
        given[key] = absolute(_text(key, data[key]))
    found: tuple[Any, ...] = _READERS[kind](given)
    X, y, X_test, y_test = (*found, None, None)[:4]
    if X_test is None and (share := data.get("test_share")) is not None:
        X, y, X_test, y_test = _divided(X, y, share)
    if rows is not None:
        if at_least("rows", rows, 1) > len(X):
            raise InvalidInput("rows", f"{rows:,} of {len(X):,} training rows", f"at most {len(X):,}")
        X, y = X[:rows], y[:rows]
    if boolean("data.standardise", data.get("standardise", False)):
        X, X_test = _standardised(X, X_test)
    counts = f"{len(X):,} training rows" + ("" if X_test is None else f" and {len(X_test):,} test rows")
    return Rows(X, y, X_test, y_test, f"{given[kind]}, {counts}", given)


def _check_keys(kind: str, data: Mapping[str, Any]) -> None:
    allowed = [kind, *(option for option, kinds in OPTIONS.items() if kind in kinds)]
    for key in data:
        if key not in allowed:
            raise InvalidInput(f"data.{key}", f"is not allowed with {kind}{nearest(str(key), allowed)}",
                               ", ".join(allowed))  # fmt: skip
    if kind in (*TABLES, "npy") and "target" not in data:
        what = "the file of the targets" if kind == "npy" else "the column that is to be predicted"
        raise InvalidInput("data.target", "missing", what)
    if "test" in data and "test_share" in data:
        raise InvalidInput("data.test_share", "cannot be combined with test", "one of them")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, (str, Path)):
        raise InvalidInput(f"data.{key}", f"{value!r} is not a path", "a file")
    return str(value)


# ---- tables ----


def _from_table(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    kind = next(kind for kind in TABLES if kind in given)
    path, target = given[kind], given["target"]
    frame = _frame(kind, path)
    columns = _columns(frame, path, target, given.get("features", "all"))
    found: list[Array | None] = [numbers(frame, path, columns), frame[target].to_numpy()]
    check_target(frame, path, target)
    if "test" in given:
        other = _frame(kind, given["test"])
        _columns(other, given["test"], target, columns)
        check_target(other, given["test"], target)
        found += [numbers(other, given["test"], columns), other[target].to_numpy()]
    return tuple(found)


def _frame(kind: str, path: str) -> pd.DataFrame:
    import pandas as pd

    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        "csv": pd.read_csv, "parquet": pd.read_parquet, "feather": pd.read_feather,
    }  # fmt: skip
    with _reading(path, f"a {kind} file"):
        return readers[kind](path)


@contextmanager
def _reading(path: str, allowed: str) -> Iterator[None]:
    """Gives what others say of a file that cannot be read in the words of rayopt.

    Raises:
      DataError: there is no such file, or it is damaged.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file; expected {allowed}")
    try:
        yield
    except (DataError, InvalidInput, MemoryError):
        raise
    except Exception as error:
        # What pandas, PyArrow and NumPy raise at a damaged file has no common base class.
        raise DataError(f"{path}: it cannot be read ({first_line(error)}); expected {allowed}") from None


def _columns(frame: pd.DataFrame, path: str, target: Any, features: Any) -> list[str]:
    """Returns the columns of the features, all of which are there, as is the target."""
    known = [str(name) for name in frame.columns]
    if features == "all":
        features = [name for name in known if name != target]
    if not isinstance(features, Sequence) or isinstance(features, str) or not features:
        raise InvalidInput("data.features", f"{features!r} is not a list of columns", "all, or a list of columns")
    for key, name in (("target", target), *(("features", name) for name in features)):
        if name not in frame.columns:
            raise InvalidInput(f"data.{key}", f"{path} has no column {name!r}{nearest(str(name), known)}",
                               ", ".join(known))  # fmt: skip
    if target in features:
        raise InvalidInput("data.features", f"{target!r} is the target", "other columns")
    return list(features)


# ---- arrays ----


def _from_npz(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    found = _arrays(given["npz"], ("X", "y"), ("X_test", "y_test"))
    if "test" in given:
        found = [*found[:2], *_arrays(given["test"], ("X", "y"), ())]
    return tuple(found)


def _arrays(path: str, needed: Sequence[str], optional: Sequence[str]) -> list[Array]:
    allowed = "an .npz file with the arrays X and y, without pickled objects"
    with _reading(path, allowed), np.load(path, allow_pickle=False) as file:
        names = [*needed, *(optional if set(optional) <= set(file) else ())]
        if lacking := [name for name in names if name not in file]:
            raise DataError(f"{path} has no array {lacking[0]!r} ({', '.join(file) or 'none'}); expected {allowed}")
        return [file[name] for name in names]


def _from_npy(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    found = []
    for path in (given["npy"], given["target"]):
        with _reading(path, "an .npy file without pickled objects"):
            # Mapped, not read: a row is looked at when it is used.
            found.append(np.load(path, mmap_mode="r", allow_pickle=False))
    return tuple(found)


def _from_libsvm(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    from sklearn.datasets import load_svmlight_file

    with _reading(given["libsvm"], "a LIBSVM file"):
        X, y = load_svmlight_file(given["libsvm"])
    if "test" not in given:
        return X.toarray(), y
    with _reading(given["test"], "a LIBSVM file"):
        X_test, y_test = load_svmlight_file(given["test"], n_features=X.shape[1])
    return X.toarray(), y, X_test.toarray(), y_test


# ---- elsewhere ----


def _from_function(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    arrays = imported("data.function", given["function"])()
    if not isinstance(arrays, tuple) or len(arrays) not in (2, 4):
        raise InvalidInput("data.function", f"{given['function']!r} returned {type(arrays).__name__}",
                           "a function that returns X, y or X, y, X_test, y_test")  # fmt: skip
    return tuple(np.asarray(array) for array in arrays)


_READERS: dict[str, Callable[[Mapping[str, Any]], tuple[Array | None, ...]]] = {
    **dict.fromkeys(TABLES, _from_table),
    "npz": _from_npz,
    "npy": _from_npy,
    "libsvm": _from_libsvm,
    "openml": packages.openml,
    "torchvision": packages.torchvision,
    "hugging_face": packages.hugging_face,
    "function": _from_function,
}


# ---- rows ----


def _divided(X: Any, y: Any, share: Any) -> tuple[Any, ...]:
    """Returns training and test rows; which is which depends on their number alone."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise InvalidInput("data.test_share", f"{share!r} is not a share", "a number between 0 and 1")
    if len(X) != len(y):
        raise DataError(f"y: {len(y):,} targets; expected {len(X):,}, one for each row of X")
    test = round(share * len(X))
    if not 0 < test < len(X):
        raise InvalidInput(
            "data.test_share", f"{share!r} of {len(X)} rows leaves none", "a share with a row on each side"
        )
    order = Stream(0, "test rows").generator().permutation(len(X))
    train = np.sort(order[test:])
    held_out = np.sort(order[:test])
    return X[train], y[train], X[held_out], y[held_out]


def _standardised(X: Any, X_test: Any) -> tuple[Any, Any]:
    """Returns features of mean 0 and variance 1 over the training rows; one that never changes is 0."""
    if X.dtype.kind not in "uifb":
        raise DataError(f"X: {X.dtype} cannot be standardised; expected numbers")
    mean = X.mean(axis=0, dtype=np.float64)
    spread = X.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1.0
    return (X - mean) / spread, None if X_test is None else (X_test - mean) / spread
