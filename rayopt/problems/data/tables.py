"""Data that people have: tables in files, NumPy arrays, LIBSVM files, named data sets, and functions."""

from __future__ import annotations

import math
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
from rayopt.core.memory import check_fits
from rayopt.core.user_code import ALLOWED, imported
from rayopt.problems.data import packages
from rayopt.problems.data.columns import check_finite, check_target, chosen, numbers
from rayopt.problems.data.sparse import read_svmlight

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]

TABLES = ("csv", "parquet", "feather")
NAMED = ("openml", "torchvision", "hugging_face")
KINDS = (*TABLES, "npz", "npy", "libsvm", *NAMED, "function")
FILES = (*TABLES, "npz", "npy", "libsvm", "test", "test_target")
"""Keys whose values are paths; of ``npy`` the target is one too."""
OPTIONS = {
    "target": (*TABLES, "npy", "openml", "hugging_face"),
    "features": (*TABLES, "openml", "hugging_face"),
    "test": (*TABLES, "npz", "npy", "libsvm"),
    "test_target": ("npy",),
    "root": ("torchvision",),
    "test_share": KINDS,
    "standardise": KINDS,
}
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

    @property
    def places(self) -> dict[str, str]:
        """The file, name or function that each array is from, by its name."""
        return _places(self.data)


def _places(data: Mapping[str, Any]) -> dict[str, str]:
    place = str(next(data[kind] for kind in KINDS if kind in data))
    test = str(data.get("test", place))
    if "npy" in data:
        return {"X": place, "y": str(data["target"]), "X_test": test, "y_test": str(data.get("test_target", test))}
    return {"X": place, "y": place, "X_test": test, "y_test": test}


@contextmanager
def named(places: Mapping[str, str]) -> Iterator[None]:
    """Puts the file, or whatever it is, in front of what is wrong with an array from there."""
    try:
        yield
    except DataError as error:
        array = str(error).partition(":")[0].partition(" ")[0]
        place = places.get(array, places["X"])
        if place in str(error):
            raise
        raise DataError(f"{place}: {error}") from None


def numbers_of(y: Array, name: str) -> Array:
    """Returns targets that are to be numbers, or raises DataError for the first that is not a finite one.

    Args:
      y: shape (rows,).
      name: of the array, for errors.
    """
    if y.dtype.kind not in "OUS":
        return y
    found = np.empty(y.shape)
    for row, value in enumerate(y.tolist()):
        try:
            found[row] = value
        except (TypeError, ValueError):
            found[row] = np.nan
        if not np.isfinite(found[row]):
            problem = f"{name}: row {row}: the target {value!r} is not a finite number"
            raise DataError(f"{problem}; expected numbers; rows are counted from 0")
    return found


def names_rows(data: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether this is a mapping that says where rows are."""
    return isinstance(data, Mapping) and any(kind in data for kind in KINDS)


def read_rows(data: Mapping[str, Any], rows: int | None = None, keep_sparse: bool = False) -> Rows:
    """Returns the rows that a workload file names.

    Args:
      data: one of the keys of ``KINDS`` with its file, name or function, and beside it: ``target``, the column of the
        targets (of ``npy`` their file, of named data sets by default their own); ``features``, a list of columns,
        or "all" others (by default); ``test``, a file of test data of the same form, or ``test_share``, the share
        of rows that are drawn for the test; ``standardise``, whether each feature is shifted and scaled to mean 0 and
        variance 1 over the training rows; ``test_target``, of ``npy`` the file of the test targets; ``root``, the
        folder of torchvision's data sets. An ``.npz`` holds X and y, and X_test and y_test if there are any.
      rows: train on the first so many rows; on all if None.
      keep_sparse: whether rows of a LIBSVM file stay sparse.

    Raises:
      InvalidInput: a key is unknown, missing or does not go with the others, or a column is not there.
      DataError: a file is missing or damaged, or a value is not a number: file, row, column and value.
    """
    kind = next(kind for kind in KINDS if kind in data)
    _check_keys(kind, data)
    given = dict(data)
    for key in (*FILES, *(["target"] if kind == "npy" else [])):
        if key in data:
            given[key] = absolute(_text(key, data[key]))
    found: tuple[Any, ...] = _READERS[kind](given)
    X, y, X_test, y_test = (*found, None, None)[:4]
    if not keep_sparse:
        X, X_test = (_dense(rows, f"data.{kind}") if hasattr(rows, "tocsr") else rows for rows in (X, X_test))
    places = _places(given)
    _check_shapes({"X": X, "y": y, "X_test": X_test, "y_test": y_test}, places)
    if X_test is None and (share := data.get("test_share")) is not None:
        X, y, X_test, y_test = _divided(X, y, share)
    if rows is not None:
        if at_least("rows", rows, 1) > X.shape[0]:
            raise InvalidInput("rows", f"{rows:,} of {X.shape[0]:,} training rows", f"at most {X.shape[0]:,}")
        X, y = X[:rows], y[:rows]
    if boolean("data.standardise", data.get("standardise", False)):
        with named(places):
            X, X_test = _standardised(X, X_test)
    counts = f"{X.shape[0]:,} training rows" + ("" if X_test is None else f" and {X_test.shape[0]:,} test rows")
    return Rows(X, y, X_test, y_test, f"{given[kind]}, {counts}", given)


def _check_shapes(arrays: Mapping[str, Any], places: Mapping[str, str]) -> None:
    for name, array in arrays.items():
        if array is not None and (array.ndim == 0 or 0 in array.shape):
            raise DataError(f"{places[name]}: {name} has shape {array.shape}; expected at least one value")
    X, X_test = arrays["X"], arrays["X_test"]
    if X_test is not None and X_test.shape[1:] != X.shape[1:]:
        problem = f"{places['X_test']}: rows of X_test have shape {X_test.shape[1:]}"
        raise DataError(f"{problem}; expected {X.shape[1:]}, as those of X")


def _check_keys(kind: str, data: Mapping[str, Any]) -> None:
    allowed = [kind, *(option for option, kinds in OPTIONS.items() if kind in kinds)]
    for key in data:
        if key not in allowed:
            raise InvalidInput(f"data.{key}", f"is not allowed with {kind}{nearest(str(key), allowed)}",
                               ", ".join(allowed))  # fmt: skip
    if kind in (*TABLES, "npy") and "target" not in data:
        what = "the file of the targets" if kind == "npy" else "the column that is to be predicted"
        raise InvalidInput("data.target", "missing", what)
    if kind == "npy" and ("test" in data) != ("test_target" in data):
        lacking = "test_target" if "test" in data else "test"
        raise InvalidInput(f"data.{lacking}", "missing", "test and test_target, the files of test data")
    if "test" in data and "test_share" in data:
        raise InvalidInput("data.test_share", "cannot be combined with test", "one of them")


def _text(key: str, value: Any) -> str:
    if not isinstance(value, (str, Path)):
        raise InvalidInput(f"data.{key}", f"{value!r} is not a path", "a file")
    return str(value)


# ---- tables ----


def _from_table(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    kind = next(kind for kind in TABLES if kind in given)
    path, target = given[kind], str(given["target"])
    frame = _frame(kind, path)
    columns = chosen(frame.columns, path, target, given)
    found: list[Array | None] = [numbers(frame, path, columns), frame[target].to_numpy()]
    check_target(frame, path, target)
    if "test" in given:
        other = _frame(kind, given["test"])
        chosen(other.columns, given["test"], target, {"features": columns})
        check_target(other, given["test"], target)
        found += [numbers(other, given["test"], columns), other[target].to_numpy()]
    return tuple(found)


def _frame(kind: str, path: str) -> pd.DataFrame:
    import pandas as pd

    readers: dict[str, Callable[[str], pd.DataFrame]] = {
        "csv": pd.read_csv, "parquet": pd.read_parquet, "feather": pd.read_feather,
    }  # fmt: skip
    with _reading(path, f"a {kind} file"):
        frame = readers[kind](path)
    frame.columns = frame.columns.map(str)
    if not len(frame):
        raise DataError(f"{path}: it has no rows; expected at least one")
    if kind == "csv" and len(frame.columns) == 1:
        for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in frame.columns[0]:
                raise DataError(f"{path}: its columns are separated by {word}; expected commas")
    if kind == "csv" and not isinstance(frame.index, pd.RangeIndex):
        # What rows have more than the header would be read as their names.
        values = len(frame.columns) + frame.index.nlevels
        raise DataError(f"{path}: its rows have {values} values, its header {len(frame.columns)}; expected as many")
    return frame


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
    paths = [given["npy"], given["target"], *([given["test"], given["test_target"]] if "test" in given else [])]
    found = []
    for path in paths:
        with _reading(path, "an .npy file without pickled objects"):
            # Mapped, not read: a row is looked at when it is used.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise DataError(f"{path}: it holds several arrays; expected an .npy file, or {{npz: FILE}}")
            found.append(array)
    return tuple(found)


def _from_libsvm(given: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(read_svmlight([given["libsvm"], *([given["test"]] if "test" in given else [])], None))


# ---- elsewhere ----


def _from_function(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    function = imported("data.function", given["function"])
    wanted = "a function without arguments that returns X, y or X, y, X_test, y_test"
    if not callable(function):
        raise InvalidInput("data.function", f"{given['function']!r} is not a function", wanted)
    try:
        arrays = function()
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise
        # It did not begin.
        raise InvalidInput("data.function", f"{given['function']!r} cannot be called ({error})", wanted) from None
    if not isinstance(arrays, tuple) or len(arrays) not in (2, 4):
        raise InvalidInput("data.function", f"{given['function']!r} returned {type(arrays).__name__}",
                           wanted)  # fmt: skip
    try:
        return tuple(_array(array, is_target=position % 2 == 1) for position, array in enumerate(arrays))
    except ValueError as error:
        problem = f"{given['function']!r} returned what is no array ({first_line(error)})"
        raise InvalidInput("data.function", problem, wanted) from None


def _array(given: Any, is_target: bool) -> Any:
    """Returns rows or targets as an array; rows that are sparse stay so."""
    if not hasattr(given, "tocsr"):
        return np.asarray(given)
    return given.toarray().reshape(-1) if is_target else given.tocsr()


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
    rows = X.shape[0]
    if rows != len(y):
        raise DataError(f"y: {len(y):,} targets; expected {rows:,}, one for each row of X")
    test = round(share * rows)
    if not 0 < test < rows:
        raise InvalidInput(
            "data.test_share", f"{share!r} of {rows} rows leaves none", "a share with a row on each side"
        )
    order = Stream(0, "test rows").generator().permutation(rows)
    train = np.sort(order[test:])
    held_out = np.sort(order[:test])
    return X[train], y[train], X[held_out], y[held_out]


def _dense(X: Any, key: str) -> Array:
    check_fits(key, X.shape[-1], math.prod(X.shape) * 8)
    found: Array = X.toarray()
    return found


def _standardised(X: Any, X_test: Any) -> tuple[Any, Any]:
    """Returns features of mean 0 and variance 1 over the training rows; one that never changes is 0."""
    if not isinstance(X, np.ndarray):
        raise InvalidInput("data.standardise", "rows that are sparse would be dense", "false")
    for name, array in (("X", X), ("X_test", X_test)):
        if array is None:
            continue
        if array.dtype.kind not in "uifb":
            raise DataError(f"{name}: {array.dtype} cannot be standardised; expected numbers")
        if array.dtype.kind == "f":
            check_finite(array, name)
    mean = X.mean(axis=0, dtype=np.float64)
    spread = X.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1.0
    return (X - mean) / spread, None if X_test is None else (X_test - mean) / spread
