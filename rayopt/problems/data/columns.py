"""Columns of a table as numbers, and the value that is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import DataError, InvalidInput, nearest

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


ROWS = 1024
"""That are looked at together, so that a large array needs no second one."""
HINT = "; columns of 0 and 1 stand for categories (pandas.get_dummies), or features leaves this one out"


def check_finite(values: Array, name: str) -> None:
    """Raises DataError at the first row with a number that is NaN or infinite."""
    for start in range(0, len(values), ROWS):
        some = values[start : start + ROWS]
        finite = np.isfinite(some.reshape(len(some), -1)).all(axis=1)
        if not finite.all():
            raise DataError(f"{name}: row {start + finite.argmin()} is NaN or infinite; expected finite numbers")


def numbers(frame: pd.DataFrame, path: str, columns: Sequence[str]) -> Array:
    """Returns columns as float64, or raises DataError for the first value that is not a finite number.

    A column of categories or dates is refused as a whole: their codes are no quantities.
    """
    import pandas as pd

    found = np.empty((len(frame), len(columns)))
    for place, name in enumerate(columns):
        column = frame[name]
        if isinstance(column, pd.DataFrame):
            raise DataError(f"{path}: {column.shape[1]} columns have the name {name!r}; expected one")
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind in "mMc":
            raise DataError(f"{path}: column {name!r} is of {column.dtype}; expected numbers{HINT}")
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            row = int(bad[0])
            hint = HINT if isinstance(column.iloc[row], str) else ""
            missing = bool(column.isna().iloc[row])
            what = "the value is missing" if missing else f"{column.iloc[row]!r} is not a finite number"
            raise DataError(f"{path}: row {row}, column {name!r}: {what}; "
                            f"expected numbers{hint}; rows are counted from 0")  # fmt: skip
        found[:, place] = values
    return found


def chosen(columns: Iterable[Any], place: str, target: Any, given: Mapping[str, Any]) -> list[str]:
    """Returns the columns that a workload wants as features: those that it lists, or all but the target.

    Raises:
      InvalidInput: one of them, or the target, is not there.
    """
    known, features = [str(name) for name in columns], given.get("features", "all")
    if features == "all":
        features = [name for name in known if name != target]
    if not isinstance(features, Sequence) or isinstance(features, str) or not features:
        raise InvalidInput("data.features", f"{features!r} is not a list of columns", "all, or a list of columns")
    features = [str(name) for name in features]
    for key, name in (("target", target), *(("features", name) for name in features)):
        if name not in known:
            raise InvalidInput(f"data.{key}", f"{place} has no column {name!r}{nearest(str(name), known)}",
                               ", ".join(known))  # fmt: skip
    if target in features:
        raise InvalidInput("data.features", f"{target!r} is the target", "other columns")
    if twice := [name for position, name in enumerate(features) if name in features[:position]]:
        raise InvalidInput("data.features", f"{twice[0]!r} stands twice", "each column once")
    return features


def check_target(frame: pd.DataFrame, path: str, target: str) -> None:
    """Raises DataError at the first row without a target."""
    missing = np.flatnonzero(frame[target].isna().to_numpy())
    if len(missing):
        raise DataError(f"{path}: row {missing[0]}, column {target!r}: the target is missing; expected a value; "
                        "rows are counted from 0")  # fmt: skip
