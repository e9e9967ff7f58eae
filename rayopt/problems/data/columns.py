"""Columns of a table as numbers, and the value that is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]


def numbers(frame: pd.DataFrame, path: str, columns: Sequence[str]) -> Array:
    """Returns columns as float64, or raises DataError for the first value that is not a finite number."""
    import pandas as pd

    found = np.empty((len(frame), len(columns)))
    for place, name in enumerate(columns):
        column = frame[name]
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            row = int(bad[0])
            hint = ""
            if len(bad) > len(values) / 2 and not pd.api.types.is_numeric_dtype(column):
                hint = "; columns of 0 and 1 stand for categories (pandas.get_dummies), or features leaves this one out"
            raise DataError(f"{path}: row {row}, column {name!r}: {column.iloc[row]!r} is not a finite number; "
                            f"expected numbers{hint}")  # fmt: skip
        found[:, place] = values
    return found


def check_target(frame: pd.DataFrame, path: str, target: str) -> None:
    missing = np.flatnonzero(frame[target].isna().to_numpy())
    if len(missing):
        raise DataError(f"{path}: row {missing[0]}, column {target!r}: the target is missing; expected a value")
