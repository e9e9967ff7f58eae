"""Any PyTorch module, loss and data set as an oracle with a flat x."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput, at_least, one_of, positive
from rayopt.core.user_code import dotted
from rayopt.problems import torch_data
from rayopt.problems.base import Array, Checkpoint
from rayopt.problems.classification import Classification
from rayopt.problems.data.partition import Partition
from rayopt.problems.rows import CHUNK, float_or_array
from rayopt.problems.torch_network import LOSSES, TorchNetwork, factory_of, loss_of, require_torch, single_thread

if TYPE_CHECKING:
    import torch


class TorchProblem(Classification):
    r"""The mean loss of a PyTorch module over the rows of a data set.

    .. math::
        f(x) = \frac1n \sum_{i=1}^n \frac{1}{m_i} \sum_r \ell\bigl(\text{module}(a_r; x), y_r\bigr),

    where r runs over the m_i rows of worker i, and x of shape (dimension,) holds the trainable parameters of
    the module one after the other, in the order of ``module.named_parameters()``. The initial point is the
    module's own, made under ``torch.manual_seed(initial_seed)``.

    The module runs in evaluation mode, so that a gradient is a function of x and its rows: no dropout, and
    buffers such as the statistics of batch normalisation stay as they were made. PyTorch runs on one thread.

    Args:
      module: a factory of the module: a class or function, or its name "package.module:name".
      X: inputs, shape (rows, ...); floats, or bytes to be scaled, or integers of ``scale`` 1 for an embedding.
      y: targets, shape (rows, ...); integers are classes.
      X_test: data on which ``accuracy`` is measured, the training data by default.
      y_test: their targets.
      loss: the name of a loss of ``torch.nn.functional``, a loss module, or a function of (outputs, targets)
        or its dotted name. A function returns the loss of each row, shape (rows,); further axes are averaged.
      module_arguments: keyword arguments of the factory.
      initial_seed: of the initial point.
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows (see ``rayopt.problems.data.partition``); by label if the
        targets are integers of shape (rows,).
      replacement: whether the rows of one stochastic gradient may repeat.
      dtype: "float64" or "float32", of the module; x and the gradient are float64 all the same.
      scale: by which inputs are multiplied (1/255 for bytes).
      input_shape: the shape of one row for the module, by default that of X.
      block: rows of one component, for methods of finite sums.

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range, the module cannot be applied to a row, or PyTorch is
        not installed.

    Examples:
      >>> import pytest; torch = pytest.importorskip("torch", reason="PyTorch is not installed")
      >>> X, y = [[1.0, 2.0], [3.0, 4.0]], [[1.0], [2.0]]
      >>> problem = TorchProblem(lambda: torch.nn.Linear(2, 1), X, y, loss="mse_loss")
      >>> problem.dimension
      3

    References:
      `PyTorch <https://pytorch.org>`_, ``torch.func.functional_call``.
    """

    name: ClassVar[str] = "torch"
    rows: int | None = None

    def __init__(
        self,
        module: str | Callable[..., Any],
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
        loss: str | Callable[..., Any] = "cross_entropy",
        module_arguments: Mapping[str, Any] | None = None,
        initial_seed: int = 0,
        batch: int = 1,
        partition: str | Mapping[str, Any] | Partition | None = None,
        replacement: bool = True,
        dtype: str = "float64",
        scale: float = 1.0,
        input_shape: Sequence[int] | None = None,
        block: int = 1,
    ) -> None:
        require_torch()
        self.module = factory_of(module)
        self.loss = loss if loss in LOSSES else loss_of(loss)
        self.module_arguments = dict(module_arguments or {})
        self.initial_seed = at_least("initial_seed", initial_seed, 0)
        self.dtype = one_of("dtype", dtype, ("float64", "float32"))
        self.scale = positive("scale", scale)
        self.input_shape = None if input_shape is None else [at_least("input_shape", side, 1) for side in input_shape]
        self.X, self.y = torch_data.checked(X, y, "")
        if (X_test is None) != (y_test is None):
            raise DataError("X_test and y_test go together; give both or neither")
        self.X_test = self.y_test = None
        if X_test is not None and y_test is not None:
            self.X_test, self.y_test = torch_data.checked(X_test, y_test, "_test")
        self._divide(batch, partition, replacement, block)
        self._network = TorchNetwork(self.module, self.module_arguments, self.initial_seed, self.dtype)
        self.dimension = self._network.dimension
        self._try_one_row()

    # ---- where data come from ----

    @classmethod
    def from_dataset(
        cls, module: str | Callable[..., Any], dataset: Any, test_dataset: Any = None, **arguments: Any
    ) -> Self:
        """Returns the problem over a map-style ``torch.utils.data.Dataset`` of pairs (input, target), read at once.

        Args:
          module: as for the class.
          dataset: has a length, and ``dataset[i]`` is a pair.
          test_dataset: the same, for ``accuracy``.
          **arguments: those of the class.
        """
        test = (None, None) if test_dataset is None else torch_data.stacked(test_dataset)
        return cls(module, *torch_data.stacked(dataset), *test, **arguments)

    @classmethod
    def from_config(
        cls,
        module: str,
        data: str | Mapping[str, Any] = "mnist",
        loss: str = "cross_entropy",
        module_arguments: Mapping[str, Any] | None = None,
        initial_seed: int = 0,
        partition: str | Mapping[str, Any] | Partition = "homogeneous",
        batch: int = 1,
        rows: int | None = None,
        replacement: bool = True,
        dtype: str = "float64",
        input_shape: Sequence[int] | None = None,
        block: int = 1,
    ) -> Self:
        """Returns the problem of a workload file.

        A file that names a module runs its code: trust it as a program.

        Args:
          module: "package.module:name" of a class derived from ``torch.nn.Module``, or of a function that is
            annotated as one that returns one.
          data: "mnist", "mnist_subset" (the one in the package), "digits", {"path": folder of the IDX files of
            MNIST}, or {"function": "package.module:name"} of a function that returns X, y or X, y, X_test, y_test.
          loss: a name as for the class, or "package.module:name" of a module, or of a function that is annotated as
            one that returns a ``torch.Tensor``.
          module_arguments: as for the class.
          initial_seed: as for the class.
          partition: as for the class.
          batch: as for the class.
          rows: train on the first so many rows; on all by default.
          replacement: as for the class.
          dtype: as for the class.
          input_shape: as for the class.
          block: as for the class.

        Raises:
          InvalidInput: an argument is unknown or out of its range.
          DataError: the data cannot be used.
        """
        require_torch()
        found = torch_data.load(data, rows)
        arguments: dict[str, Any] = {
            **found.arrays, "scale": found.scale, "loss": loss, "module_arguments": module_arguments,
            "initial_seed": initial_seed, "partition": partition, "batch": batch, "replacement": replacement,
            "dtype": dtype, "input_shape": input_shape, "block": block,
        }  # fmt: skip
        problem = cls(module, **arguments)
        problem.source, problem.data, problem.rows = found.source, found.data, rows
        return problem

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file."""
        keys = (
            "name", "data", "module_arguments", "initial_seed", "partition", "batch", "rows", "replacement", "dtype",
            "input_shape", *(["block"] if self.block > 1 else []),
        )  # fmt: skip
        found = {key: getattr(self, key) for key in keys}
        loss = self.loss if isinstance(self.loss, str) else dotted(self.loss)
        return {**found, "module": dotted(self.module), "loss": loss}

    # ---- workers ----

    @property
    def from_user_code(self) -> tuple[Any, ...]:
        """The code of the user's that must travel with the problem."""
        return (self.module, self.loss)

    def row_labels(self) -> NDArray[np.intp] | None:
        return self.y if self.y.ndim == 1 and self.y.dtype.kind == "i" else None

    @property
    def parameter_shapes(self) -> list[list[int]]:
        return self._network.shapes

    @property
    def metric_names(self) -> tuple[str, ...]:
        names = super().metric_names
        return names if self.row_labels() is not None else tuple(name for name in names if name != "accuracy")

    def start_point(self) -> Array:
        return self._network.start_point()

    # ---- rows into the module, and its outputs into losses ----

    def _inputs(self, X: NDArray[Any]) -> torch.Tensor:
        import torch

        inputs = torch.from_numpy(torch_data.writable(X))
        if X.dtype.kind == "f" or self.scale != 1.0:
            inputs = inputs.to(getattr(torch, self.dtype))
        if self.scale != 1.0:
            inputs = inputs * self.scale
        return inputs if self.input_shape is None else inputs.reshape(len(X), *self.input_shape)

    def _losses(self, outputs: torch.Tensor, y: NDArray[Any]) -> torch.Tensor:
        """Returns the loss of each row, shape (rows,)."""
        import torch

        targets = torch.from_numpy(torch_data.writable(y))
        if y.dtype.kind == "f":
            targets = targets.to(getattr(torch, self.dtype))
        if isinstance(self.loss, str):
            losses = getattr(torch.nn.functional, self.loss)(outputs, targets, reduction="none")
        else:
            losses = self.loss(outputs, targets)
        if losses.ndim > 1:
            losses = losses.reshape(len(losses), -1).mean(dim=1)
        if losses.shape != (len(y),):
            problem = f"it returned shape {tuple(losses.shape)} for {len(y)} rows"
            raise InvalidInput("loss", problem, 'the loss of each row, shape (rows,): reduction="none"')
        return losses

    def _try_one_row(self) -> None:
        """Raises InvalidInput if the module or the loss cannot be applied."""
        try:
            self._pass(self.start_point(), [(self.X[:2], self.y[:2], np.ones(len(self.y[:2])))])
        except InvalidInput:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            shape = self.input_shape or list(self.X.shape[1:])
            problem = f"{dotted(self.module)} and its loss cannot be applied to rows of shape {shape} ({error})"
            raise InvalidInput("module", problem, "a module for such rows, or another input_shape or loss") from error

    # ---- values and gradients ----

    def _pass(
        self, x: Array, chunks: Iterable[tuple[NDArray[Any], NDArray[Any], Array]], gradient: bool = True
    ) -> tuple[float, Array]:
        """Returns the weighted sums over rows of the losses and of their gradients at one point."""
        import torch

        total, g = 0.0, np.zeros(self.dimension)
        with single_thread(), torch.set_grad_enabled(gradient):
            parameters = self._network.leaves(x, gradient)
            leaves = list(parameters.values())
            for X, y, weights in chunks:
                losses = self._losses(self._network.outputs(parameters, self._inputs(X)), y)
                loss = losses @ torch.from_numpy(weights).to(losses.dtype)
                total += float(loss.detach())
                if not gradient:
                    continue
                start = 0
                for part in torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True):
                    g[start : start + part.numel()] += part.reshape(-1).numpy()
                    start += part.numel()
        return total, g

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        def chunks() -> Iterator[tuple[NDArray[Any], NDArray[Any], Array]]:
            for start in range(0, len(rows), CHUNK):
                if start and checkpoint is not None:
                    checkpoint()
                chunk = rows[start : start + CHUNK]
                yield self.X[chunk], self.y[chunk], weights[start : start + CHUNK]

        # A grid is a loop over its points, so that a point has the same bits alone.
        return np.array([self._pass(point, chunks())[1] for point in np.atleast_2d(x)]).reshape(x.shape)

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        found = [self._pass(point, self._all_rows(), gradient) for point in np.atleast_2d(x)]
        values, gradients = np.array([value for value, _ in found]), np.array([g for _, g in found])
        return float_or_array(values.reshape(x.shape[:-1])), gradients.reshape(x.shape)

    def _all_rows(self) -> Iterator[tuple[NDArray[Any], NDArray[Any], Array]]:
        for start in range(0, self.row_count, CHUNK):
            rows = slice(start, min(start + CHUNK, self.row_count))
            yield self.X[rows], self.y[rows], self._weights(rows)

    def accuracy(self, x: Array) -> Any:
        """Returns the share of correct answers on the test data (training data if none): a float, or shape (G,).

        The answer is the class of the largest output; for a single output, whether it is above 0.
        """
        import torch

        X, y = (self.X, self.y) if self.X_test is None or self.y_test is None else (self.X_test, self.y_test)
        points = np.atleast_2d(x)
        right = np.zeros(len(points))
        for k, point in enumerate(points):
            with single_thread(), torch.no_grad():
                parameters = self._network.leaves(point, gradient=False)
                for start in range(0, len(y), CHUNK):
                    rows = slice(start, start + CHUNK)
                    outputs = self._network.outputs(parameters, self._inputs(X[rows])).numpy().reshape(len(y[rows]), -1)
                    answers = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0
                    right[k] += np.count_nonzero(answers == y[rows])
        right[~np.isfinite(points).all(axis=1)] = np.nan
        return float_or_array((right / len(y)).reshape(x.shape[:-1]))
