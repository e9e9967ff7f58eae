"""Any pure loss function of JAX over a tree of parameters as an oracle with a flat x."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import InvalidInput, first_line, one_of, positive
from rayopt.core.user_code import declared_return, dotted, imported
from rayopt.problems import array_data
from rayopt.problems.base import DTYPES, Array, Checkpoint, points_of_a_pass
from rayopt.problems.classification import Classification
from rayopt.problems.data.partition import Partition
from rayopt.problems.data.tables import named
from rayopt.problems.rows import CHUNK, float_or_array

if TYPE_CHECKING:
    pass

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
BITS = ("fast", "exact")
MOST_LABELS = 20
"""More targets of consecutive numbers are counts, and not classes."""


class JaxProblem(Classification):
    r"""The mean of a loss function of JAX over the rows of a data set.

    .. math::
        f(x) = \frac1n \sum_{i=1}^n \frac{1}{m_i} \sum_r \ell(\text{parameters}(x), a_r, y_r),

    where r runs over the m_i rows of worker i, and x of shape (dimension,) holds the leaves of the tree of parameters
    one after the other, in the order of ``jax.flatten_util.ravel_pytree``. The initial point is the tree that is given.

    Functions are compiled once for each number of rows, which is rounded up to a power of two; rows that are added
    weigh 0. XLA runs on one thread if rayopt is the first to import JAX.

    Args:
      loss: a pure function of (parameters, X, y) for some rows that returns the loss of each, shape (rows,), or their
        mean, a scalar; or its name "package.module:name".
      parameters: the initial tree: arrays in dicts, lists and tuples; or a function that returns it, or its name.
      X: inputs, shape (rows, ...); floats, or bytes to be scaled, or integers of ``scale`` 1.
      y: targets, shape (rows, ...). With ``predict`` of several scores, labels of shape (rows,) may have any values:
        they are the numbers of their classes, sorted, unless they are those of the scores already.
      X_test: data on which ``accuracy`` is measured, the training data by default.
      y_test: their targets.
      predict: a function of (parameters, X) that returns the scores of the classes, shape (rows, classes), or its name;
        without it there is no metric ``accuracy``.
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows (see ``rayopt.problems.data.partition``).
      replacement: whether the rows of one stochastic gradient may repeat.
      dtype: "float32" or "float64", of x, the gradients and the computation.
      scale: by which inputs are multiplied (1/255 for bytes).
      block: rows of one component, for methods of finite sums.
      device: the platform of JAX on which all is computed, such as "cpu" or "gpu", or "auto" for JAX's own choice.
      bits: "fast": the members of a grid of points are evaluated together, and each equals its own single run up to
        rounding; "exact": one after the other, each to the bit.

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range, the loss cannot be applied, or JAX is not installed.

    Examples:
      >>> import pytest; jax = pytest.importorskip("jax", reason="JAX is not installed")
      >>> def loss(parameters, X, y):
      ...     return (X @ parameters["w"] + parameters["b"] - y) ** 2
      >>> X, y = [[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0]
      >>> JaxProblem(loss, {"w": np.zeros(2), "b": np.zeros(())}, X, y).dimension
      3

    References:
      `JAX <https://docs.jax.dev>`_, ``jax.grad``, ``jax.vmap``.
    """

    name: ClassVar[str] = "jax"
    rows: int | None = None

    def __init__(
        self,
        loss: str | Callable[..., Any],
        parameters: Any,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
        predict: str | Callable[..., Any] | None = None,
        batch: int = 1,
        partition: str | Mapping[str, Any] | Partition | None = None,
        replacement: bool = True,
        dtype: str = "float32",
        scale: float = 1.0,
        block: int = 1,
        device: str = "cpu",
        bits: str = "fast",
    ) -> None:
        require_jax()
        self.loss = _function("loss", loss)
        self.predict = None if predict is None else _function("predict", predict)
        self.dtype = one_of("dtype", dtype, DTYPES)
        self.scale = positive("scale", scale)
        self.device = _device(device)
        self.bits = one_of("bits", bits, BITS)
        self.X, self.y = array_data.checked(X, y, "")
        self.X_test, self.y_test = array_data.checked_test(X_test, y_test, self.y)
        self.parameters = parameters
        self._start, self._tree = self._flattened(parameters)
        self.dimension = len(self._start)
        self._classes = self._number_labels()
        self._divide(batch, partition, replacement, block)
        self._per_row = self._returns_losses()

    @classmethod
    def from_config(
        cls,
        loss: str,
        parameters: str,
        data: str | Mapping[str, Any] = "mnist",
        predict: str | None = None,
        partition: str | Mapping[str, Any] | Partition = "homogeneous",
        batch: int = 1,
        rows: int | None = None,
        replacement: bool = True,
        dtype: str = "float32",
        block: int = 1,
        device: str = "cpu",
        bits: str = "fast",
    ) -> Self:
        """Returns the problem of a workload file.

        A file that names functions runs their code: trust it as a program.

        Args:
          loss: "package.module:name" of a function that is annotated as one that returns a ``jax.Array``.
          parameters: the same of a function without arguments that is annotated as one that returns a dict, list or
            tuple, the initial tree.
          data: as for ``logistic_regression``, or {"function": "package.module:name"}.
          predict: as ``loss``.
          partition: as for the class.
          batch: as for the class.
          rows: train on the first so many rows; on all by default.
          replacement: as for the class.
          dtype: as for the class.
          block: as for the class.
          device: as for the class.
          bits: as for the class.

        Raises:
          InvalidInput: an argument is unknown or out of its range.
          DataError: the data cannot be used.
        """
        require_jax()
        found = array_data.load(data, rows)
        arguments: dict[str, Any] = {
            **found.arrays, "scale": found.scale, "predict": predict, "partition": partition, "batch": batch,
            "replacement": replacement, "dtype": dtype, "block": block, "device": device, "bits": bits,
        }  # fmt: skip
        with named(found.places):
            problem = cls(loss, parameters, **arguments)
        problem.source, problem.data, problem.rows = found.source, found.data, rows
        return problem

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file."""
        keys = ("name", "data", "partition", "batch", "rows", "replacement", "dtype")
        found = {key: getattr(self, key) for key in keys}
        defaults = {"block": 1, "device": "cpu", "bits": "fast"}
        found |= {key: getattr(self, key) for key, default in defaults.items() if getattr(self, key) != default}
        functions = {"loss": self.loss, "predict": self.predict}
        if callable(self.parameters) or isinstance(self.parameters, str):
            functions["parameters"] = self.parameters
        return found | {key: value if isinstance(value, str) else dotted(value)
                        for key, value in functions.items() if value is not None}  # fmt: skip

    @property
    def from_user_code(self) -> tuple[Any, ...]:
        """The code of the user's that must travel with the problem."""
        return tuple(part for part in (self.loss, self.predict, self.parameters) if callable(part))

    def __getstate__(self) -> dict[str, Any]:
        # Compiled functions are made again where they are used.
        return {key: value for key, value in self.__dict__.items() if key not in ("_functions", "_tree")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        require_jax()
        self.__dict__.update(state)
        _, self._tree = self._flattened(self.parameters)

    @property
    def classes_(self) -> NDArray[Any] | None:
        """The label of each class, sorted, shape (classes,); None if the targets are no labels."""
        return array_data.classes_by_number(self._classes, self.y)

    def row_labels(self) -> NDArray[np.intp] | None:
        return array_data.label_numbers(self.y)

    @property
    def parameter_shapes(self) -> list[list[int]]:
        import jax

        return [list(leaf.shape) for leaf in jax.tree.leaves(self._tree(self._start))]

    @property
    def metric_names(self) -> tuple[str, ...]:
        names = super().metric_names
        return names if self.predict is not None else tuple(name for name in names if name != "accuracy")

    def start_point(self) -> Array:
        return self._start.copy()

    # ---- trees and functions ----

    def _flattened(self, parameters: Any) -> tuple[Array, Callable[[Any], Any]]:
        """Returns x of the initial tree, and the function from x to a tree."""
        import jax
        from jax.flatten_util import ravel_pytree

        given = _function("parameters", parameters) if isinstance(parameters, str) else parameters
        with self._setting():
            try:
                tree = jax.tree.map(
                    lambda leaf: np.asarray(leaf, dtype=self.dtype), given() if callable(given) else given
                )
                flat, unravel = ravel_pytree(tree)
            except (TypeError, ValueError) as error:
                raise InvalidInput("parameters", f"{type(given).__name__} is not a tree of arrays ({error})",
                                   "numbers and arrays in dicts, lists and tuples") from error  # fmt: skip
            if not flat.size:
                raise InvalidInput("parameters", "a tree without numbers", "a tree of at least one array")
            return np.array(flat, dtype=self.dtype), unravel

    def _setting(self) -> Any:
        """Within, numbers have the problem's type."""
        import jax

        return jax.enable_x64(self.dtype == "float64")

    def _number_labels(self) -> NDArray[Any] | None:
        """Makes labels the numbers of their classes; returns the classes, or None if they are numbers already."""
        outputs = self._output_count()
        # Without scores, or with one, what numbers mean is the loss's own affair: -1 and 1, or 0 and 1.
        outputs = None if outputs == 1 else outputs
        if self.y.ndim > 1 or (outputs is None and self.y.dtype.kind not in "OUS"):
            labels = np.unique(self.y) if self.y.ndim == 1 and self.y.dtype.kind == "i" else np.zeros(0)
            is_counted = 1 < len(labels) <= MOST_LABELS and np.array_equal(labels, np.arange(1, len(labels) + 1))
            if self.predict is None and is_counted:
                problem = f"the loss receives the targets 1 to {len(labels)} as they are"
                warnings.warn(f"{problem}: as indices they count from 0, and JAX raises nothing", stacklevel=3)
            return None
        given = [targets for targets in (self.y, self.y_test) if targets is not None and targets.dtype.kind == "f"]
        whole = all((np.rint(targets) == targets).all() for targets in given)
        if given and not (whole and outputs is not None and len(np.unique(self.y)) <= outputs):
            # Several outputs may be a mean and its variance too.
            return None
        self.y, self.y_test, classes = array_data.numbered(self.y, self.y_test, outputs)
        return classes

    def _output_count(self) -> int | None:
        """Returns the number of scores of a row; None without ``predict``, or if they are no vector."""
        import jax

        if self.predict is None:
            return None
        predict, count = self.predict, min(2, len(self.X))
        with self._setting():
            try:
                shape = jax.eval_shape(
                    lambda x: predict(self._tree(x), self._scaled(self.X[:count])), self._start
                ).shape
            except Exception as error:
                # Whatever a user's function raises: the text of the error names it.
                problem = f"{dotted(predict)} cannot be applied to rows of shape {list(self.X.shape[1:])}"
                raise InvalidInput(
                    "predict", f"{problem} ({first_line(error)})", "a function of (parameters, X)"
                ) from error
        return 1 if len(shape) == 1 else int(shape[1]) if len(shape) == 2 else None

    def _returns_losses(self) -> bool:
        """Whether the loss returns that of each row and not their mean; raises InvalidInput if it cannot be applied."""
        import jax

        count = min(2, len(self.y)) + 1
        rows = np.zeros(count, dtype=np.intp)
        with self._setting():
            try:
                shape = jax.eval_shape(
                    lambda x: self.loss(self._tree(x), self._scaled(self.X[rows]), self.y[rows]), self._start
                ).shape
            except Exception as error:
                # Whatever a user's function raises: the text of the error names it.
                text = str(error).partition("\n")[0]
                problem = f"{dotted(self.loss)} cannot be applied to rows of shape {list(self.X.shape[1:])} ({text})"
                raise InvalidInput("loss", problem, "a function of (parameters, X, y)") from error
        if shape not in ((), (count,)):
            problem = f"it returned shape {tuple(shape)} for {count} rows"
            raise InvalidInput("loss", problem, "the loss of each row, shape (rows,), or their mean, a scalar")
        return shape != ()

    def _scaled(self, X: Any) -> Any:
        if X.dtype.kind == "f" or self.scale != 1.0:
            X = X.astype(self.dtype)
        return X if self.scale == 1.0 else X * np.asarray(self.scale, dtype=self.dtype)

    def _losses(self, x: Any, X: Any, y: Any) -> Any:
        """Returns the loss of each row, shape (rows,)."""
        import jax

        tree, X = self._tree(x), self._scaled(X)
        if self._per_row:
            return self.loss(tree, X, y)
        return jax.vmap(lambda row, target: self.loss(tree, row[None], target[None]))(X, y)

    @cached_property
    def _functions(self) -> dict[str, Any]:
        """The compiled functions of (x, X, y, weights), by name."""
        import jax

        def total(x: Any, X: Any, y: Any, weights: Any) -> Any:
            return self._losses(x, X, y) @ weights

        gradient = jax.grad(total)
        return {
            "value": jax.jit(total),
            "gradient": jax.jit(gradient),
            "both": jax.jit(jax.value_and_grad(total)),
            "grid": jax.jit(jax.vmap(gradient, in_axes=(0, None, None, None))),
            "points": jax.jit(jax.vmap(gradient, in_axes=(0, 0, 0, None))),
        }

    def _call(self, name: str, x: Array, X: NDArray[Any], y: NDArray[Any], weights: Array) -> Any:
        import jax

        with self._setting(), jax.default_device(jax.devices(None if self.device == "auto" else self.device)[0]):
            return jax.tree.map(np.array, self._functions[name](x, X, y, weights.astype(self.dtype)))

    def _padded(self, rows: NDArray[np.intp], weights: Array) -> tuple[NDArray[np.intp], Array]:
        """Returns rows and weights with others of weight 0 behind them, up to a power of two."""
        size = 1 << (len(rows) - 1).bit_length()
        found, weight = np.zeros(size, dtype=np.intp), np.zeros(size)
        found[: len(rows)], weight[: len(rows)] = rows, weights
        found[len(rows) :] = rows[0]
        return found, weight

    # ---- values and gradients ----

    def gradients(self, points: Sequence[Array], samples: Sequence[Any]) -> Sequence[Array]:
        rows = np.stack([np.atleast_1d(sample) for sample in samples])
        weights = np.full(rows.shape[1], 1.0 / rows.shape[1])
        together, found = points_of_a_pass(points[0].nbytes), []
        for start in range(0, len(points), together):
            # Up to a power of two, by repeats of the last one: a function is compiled for each number.
            size = 1 << (min(len(points) - start, together) - 1).bit_length()
            chosen = np.minimum(np.arange(start, start + size), min(len(points), start + together) - 1)
            own = rows[chosen]
            g = self._call("points", np.stack([points[k] for k in chosen]), self.X[own], self.y[own], weights)
            found += [one.copy() for one in g[: min(len(points) - start, together)]]
        return found

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        if x.ndim == 2 and self.bits == "exact":
            return np.stack([self._sum_of_rows(point, rows, weights, total, checkpoint) for point in x])
        found: Array | None = None
        for start in range(0, len(rows), CHUNK):
            if start and checkpoint is not None:
                checkpoint()
            some, weight = self._padded(rows[start : start + CHUNK], weights[start : start + CHUNK])
            part = self._call("gradient" if x.ndim == 1 else "grid", x, self.X[some], self.y[some], weight)
            found = part if found is None else found + part
        assert found is not None
        return found

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        values, gradients = [], []
        for point in np.atleast_2d(x):
            value, g = 0.0, np.zeros(self.dimension)
            for rows, weights in self._all_rows():
                some, weight = self._padded(rows, weights)
                name = "both" if gradient else "value"
                part = self._call(name, point.astype(self.dtype, copy=False), self.X[some], self.y[some], weight)
                value += float(part[0] if gradient else part)
                g = g + part[1] if gradient else g
            values.append(value)
            gradients.append(g.astype(self.dtype))
        return float_or_array(np.array(values).reshape(x.shape[:-1])), np.array(gradients).reshape(x.shape)

    def _all_rows(self) -> Iterator[tuple[NDArray[np.intp], Array]]:
        for start in range(0, self.row_count, CHUNK):
            rows = slice(start, min(start + CHUNK, self.row_count))
            yield np.arange(rows.start, rows.stop), self._weights(rows)

    def accuracy(self, x: Array) -> Any:
        """Returns the share of correct answers on the test data (training data if none): a float, or shape (G,)."""
        X, y = (self.X, self.y) if self.X_test is None or self.y_test is None else (self.X_test, self.y_test)
        points = np.atleast_2d(x)
        right = np.zeros(len(points))
        assert self.predict is not None
        for k, point in enumerate(points):
            for start in range(0, len(y), CHUNK):
                rows = slice(start, start + CHUNK)
                with self._setting():
                    scores = np.asarray(self.predict(self._tree(point.astype(self.dtype)), self._scaled(X[rows])))
                scores = scores.reshape(len(y[rows]), -1)
                answers = scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > 0
                right[k] += np.count_nonzero(answers == y[rows])
        right[~np.isfinite(points).all(axis=1)] = np.nan
        return float_or_array((right / len(y)).reshape(x.shape[:-1]))


def require_jax() -> None:
    """Imports JAX, on one thread if it was not imported before, or raises InvalidInput if it is not installed."""
    if "jax" not in sys.modules:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
    try:
        import jax  # noqa: F401
    except ImportError as error:
        raise InvalidInput("name", f"'jax' needs JAX ({error})", "pip install 'rayopt[jax]'") from error


def _device(given: Any) -> str:
    """Returns the platform that is asked for, or "auto" for JAX's own choice where it is computed.

    Raises:
      InvalidInput: it is not there; the text names those that are.
    """
    import jax

    if given == "auto":
        return "auto"
    try:
        return str(jax.devices(given)[0].platform)
    except (RuntimeError, TypeError):
        there = sorted({device.platform for device in jax.devices()} | {"cpu"})
        raise InvalidInput("device", f"{given!r} is not there", ", ".join([*there, "auto"])) from None


def _function(key: str, given: Any) -> Callable[..., Any]:
    """Returns the function that is given or named, or raises InvalidInput.

    What a file names is called only if it says what it makes.
    """
    import jax

    found = imported(key, given)
    if not callable(found):
        raise InvalidInput(key, f"{given!r} is not a function", 'a function, or its name "package.module:name"')
    kinds = (dict, list, tuple) if key == "parameters" else (jax.Array,)
    if isinstance(given, str) and not any(declared_return(found, kind) for kind in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidInput(key, f"{given!r} does not say what it returns", f"a function annotated `-> {wanted}`")
    return found
