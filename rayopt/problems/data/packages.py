"""Data sets by their names in packages that know many: OpenML (scikit-learn), torchvision, Hugging Face's datasets."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import DataError, InvalidInput, first_line, nearest
from rayopt.problems.data.columns import check_target, chosen, numbers

Array = NDArray[Any]
ROOT = "~/.cache/torch/datasets"


def openml(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    """Returns X and y of a data set of OpenML, by name or id; it is downloaded once.

    Raises:
      InvalidInput: it is neither a name nor an id.
      DataError: it cannot be had, or a value is not a number.
    """
    from sklearn.datasets import fetch_openml

    name = given["openml"]
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise InvalidInput("data.openml", f"{name!r} is neither a name nor an id", "the name or the id of a data set")
    which = {"data_id": name} if isinstance(name, int) else {"name": name}
    try:
        bunch = fetch_openml(**which, target_column=given.get("target", "default-target"), as_frame=True, parser="auto")
    except Exception as error:
        raise DataError(f"OpenML's {name!r} cannot be had ({first_line(error)}); expected a data set of openml.org and "
                        "a network, or a file in its place") from None  # fmt: skip
    frame = bunch.frame
    target = bunch.target.name
    place = f"OpenML's {name}"
    check_target(frame, place, target)
    return numbers(frame, place, chosen(frame.columns, place, target, given)), frame[target].to_numpy()


def torchvision(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    """Returns X, y, X_test and y_test of a data set of torchvision that was downloaded before; bytes become [0, 1].

    Raises:
      InvalidInput: torchvision is not installed, or knows no such data set.
      DataError: it is not in the folder.
    """
    known = _package("torchvision", "torchvision.datasets")
    name, root = given["torchvision"], str(Path(given.get("root", ROOT)).expanduser())
    kind = getattr(known, str(name), None)
    if not isinstance(kind, type) or not issubclass(kind, known.VisionDataset):
        names = [each for each in known.__all__ if each[:1].isupper()]
        raise InvalidInput("data.torchvision", f"{name!r} is unknown{nearest(str(name), names)}", ", ".join(names))
    by_split = "split" in inspect.signature(kind).parameters
    found: list[Array] = []
    for train in (True, False):
        part = {"split": "train" if train else "test"} if by_split else {"train": train}
        try:
            rows = kind(root=root, **part)
        except Exception as error:
            # What is missing raises RuntimeError in one class and FileNotFoundError in the next.
            wanted = f"torchvision.datasets.{name}({root!r}, download=True) once, or root: another folder"
            raise DataError(f"torchvision's {name} is not in {root} ({first_line(error)}); expected {wanted}") from None
        found += _images(rows)
    return tuple(found)


def _images(rows: Any) -> tuple[Array, Array]:
    """Returns X and y of a data set of pairs; at once where it holds them as arrays."""
    data, targets = (getattr(rows, name, None) for name in ("data", "targets"))
    if data is None or targets is None:
        pairs = [rows[position] for position in range(len(rows))]
        data, targets = [np.asarray(image) for image, _ in pairs], [target for _, target in pairs]
    return _scaled(np.asarray(data)), np.asarray(targets)


def _scaled(images: Array) -> Array:
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images


def hugging_face(given: Mapping[str, Any]) -> tuple[Array | None, ...]:
    """Returns the rows of a data set of Hugging Face, from its cache if it is there: splits train and test.

    The target is the column ``target``, by default the only one of classes; the features are a column of images, or
    columns of numbers.

    Raises:
      InvalidInput: datasets is not installed, or a column is not there.
      DataError: it cannot be had, or a value is not a number.
    """
    package, name = _package("datasets", "datasets"), given["hugging_face"]
    try:
        splits = package.load_dataset(name)
    except Exception as error:
        raise DataError(f"Hugging Face's {name!r} cannot be had ({first_line(error)}); expected the name of a data set "
                        "and a network, or one in the cache") from None  # fmt: skip
    if "train" not in splits:
        raise DataError(f"Hugging Face's {name!r} has the splits {', '.join(splits)}; expected train")
    columns = splits["train"].features
    classes = [column for column, kind in columns.items() if isinstance(kind, package.ClassLabel)]
    target = given.get("target", classes[0] if len(classes) == 1 else None)
    if target not in columns:
        raise InvalidInput("data.target", f"{target!r} is not a column of {name}", ", ".join(columns))
    features = chosen(columns, str(name), target, given)
    found: list[Array] = []
    for split in ("train", "test"):
        if split in splits:
            found += _split(splits[split], f"Hugging Face's {name}, {split}", features, target, package)
    return tuple(found)


def _split(rows: Any, place: str, features: list[str], target: str, package: Any) -> tuple[Array, Array]:
    y = rows.with_format("pandas")[:][[target]]
    check_target(y, place, target)
    if len(features) == 1 and isinstance(rows.features[features[0]], package.Image):
        X = _scaled(np.stack([np.asarray(image) for image in rows[features[0]]]))
    else:
        X = numbers(rows.with_format("pandas")[:], place, features)
    return X, y[target].to_numpy()


def _package(name: str, module: str) -> Any:
    extra = {"datasets": "hugging_face"}.get(name, name)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        allowed = f'pip install "rayopt[{extra}]"'
        raise InvalidInput("data", f"{name} is not installed ({first_line(error)})", allowed) from None
    except (RuntimeError, OSError, AttributeError) as error:
        # What compiled parts raise that were made for another version of what they need.
        allowed = f"versions that go together: pip install --upgrade {name}"
        raise InvalidInput("data", f"{name} cannot be imported ({first_line(error)})", allowed) from None
