"""Any PyTorch module, loss and data set as an oracle with a flat x."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import starmap
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import DataError, InvalidInput, at_least, first_line, one_of, positive
from rayopt.core.keys import mix_many
from rayopt.core.tasks import weighted_total
from rayopt.core.user_code import dotted
from rayopt.problems import array_data, torch_loss
from rayopt.problems.base import DTYPES, Array, Checkpoint, points_of_a_pass
from rayopt.problems.classification import Classification
from rayopt.problems.data.partition import Partition
from rayopt.problems.data.tables import named, numbers_of
from rayopt.problems.rows import CHUNK, float_or_array
from rayopt.problems.torch_network import (
    BUFFERS,
    MODES,
    TorchNetwork,
    device_of,
    factory_of,
    require_torch,
    single_thread,
)  # fmt: skip

if TYPE_CHECKING:
    import torch

Batch = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]
"""Inputs, targets and weights of rows."""
BITS = ("fast", "exact")
SMALL_POINT = 2**18
"""Bytes up to which the points of a grid are faster together than one by one."""


class TorchProblem(Classification):
    r"""The mean loss of a PyTorch module over the rows of a data set.

    .. math::
        f(x) = \frac1n \sum_{i=1}^n \frac{1}{m_i} \sum_r \ell\bigl(\text{module}(a_r; x), y_r\bigr),

    where r runs over the m_i rows of worker i, and x of shape (dimension,) holds the trainable parameters of
    the module one after the other, in the order of ``module.named_parameters()``. The initial point is the
    module's own, made under ``torch.manual_seed(initial_seed)``.

    In evaluation mode, ``mode="eval"``, a gradient is a function of x and its rows: no dropout, and the statistics of
    batch normalisation stay as they were made. In training mode, ``mode="train"``, dropout draws what the key of the
    task says, and batch normalisation takes the statistics of the rows of one stochastic gradient; f is evaluated in
    evaluation mode all the same. PyTorch runs on one thread.

    Args:
      module: a factory of the module: a class or function, or its name "package.module:name".
      X: inputs, shape (rows, ...); floats, or bytes to be scaled, or integers of ``scale`` 1 for an embedding.
      y: targets, shape (rows, ...). With a loss of classes, labels of shape (rows,) may have any values: they are the
        numbers of their classes, sorted, unless they are those of the module's outputs already.
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
      dtype: "float32" or "float64", of the module, x and the gradients.
      scale: by which inputs are multiplied (1/255 for bytes).
      input_shape: the shape of one row for the module, by default that of X.
      block: rows of one component, for methods of finite sums.
      device: where the module and its data live: "cpu", "cuda", "cuda:1", "mps", or "auto", an accelerator if there is
        one where it is computed.
      mode: "eval" or "train".
      buffers: in training mode, what becomes of the running statistics of batch normalisation: "average": the server
        keeps their running mean, with the layer's momentum, of the mean over the replies of an update, and f is
        evaluated with it; "local": they stay where they are, and f is evaluated with the statistics of the rows at
        hand, up to 1,024 at a time; "frozen": these layers are in evaluation mode all the time.
      bits: "fast": the members of a grid of small points (up to 256 kB) are evaluated together, and each equals its own
        single run up to rounding; "exact": one after the other, each to the bit.

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
    _stacks = True
    _is_compared = False

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
        dtype: str = "float32",
        scale: float = 1.0,
        input_shape: Sequence[int] | None = None,
        block: int = 1,
        device: str = "cpu",
        mode: str = "eval",
        buffers: str = "average",
        bits: str = "fast",
    ) -> None:
        require_torch()
        self.module = factory_of(module)
        self.loss = loss if loss in torch_loss.LOSSES else torch_loss.loss_of(loss)
        self.module_arguments = dict(module_arguments or {})
        self.initial_seed = at_least("initial_seed", initial_seed, 0)
        self.dtype = one_of("dtype", dtype, DTYPES)
        self.device = device if device == "auto" else device_of(device)
        self.mode = one_of("mode", mode, MODES)
        self.buffers = one_of("buffers", buffers, BUFFERS)
        self.bits = one_of("bits", bits, BITS)
        self.scale = positive("scale", scale)
        self.input_shape = None if input_shape is None else [at_least("input_shape", side, 1) for side in input_shape]
        self.X, self.y = array_data.checked(X, y, "")
        self.X_test, self.y_test = array_data.checked_test(X_test, y_test, self.y)
        self._network = TorchNetwork(self.module, self.module_arguments, self.initial_seed, self.dtype, self.device,
                                     self.mode, self.buffers)  # fmt: skip
        self.dimension = self._network.dimension
        self.statistics_size = self._network.statistics_size
        self._on_device: dict[int, tuple[Any, Any]] = {}
        with self._applied():
            self._classes = self._number_labels()
        self._divide(batch, partition, replacement, block)
        with self._applied():
            self._try_one_row()

    def __getstate__(self) -> dict[str, Any]:
        # What lives on a device is made again where it is used.
        return {**self.__dict__, "_on_device": {}}

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
        test = (None, None) if test_dataset is None else array_data.stacked(test_dataset)
        return cls(module, *array_data.stacked(dataset), *test, **arguments)

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
        dtype: str = "float32",
        input_shape: Sequence[int] | None = None,
        block: int = 1,
        device: str = "cpu",
        mode: str = "eval",
        buffers: str = "average",
        bits: str = "fast",
    ) -> Self:
        """Returns the problem of a workload file.

        A file that names a module runs its code: trust it as a program.

        Args:
          module: "package.module:name" of a class derived from ``torch.nn.Module``, or of a function that is
            annotated as one that returns one.
          data: "mnist", "mnist_subset" (the one in the package), "digits", {"path": folder of the IDX files of MNIST},
            {"csv" | "parquet" | "feather": file, "target": column, "features": columns or "all"}, {"npz": file},
            {"npy": file, "target": file}, {"libsvm": file}, {"openml": name or id}, {"torchvision": name},
            {"hugging_face": name} or {"function": "package.module:name"} of a function that returns X, y or X, y,
            X_test, y_test; with "standardise": true, and "test_share": 0.2 or "test": file.
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
          device: as for the class.
          mode: as for the class.
          buffers: as for the class.
          bits: as for the class.

        Raises:
          InvalidInput: an argument is unknown or out of its range.
          DataError: the data cannot be used.
        """
        require_torch()
        found = array_data.load(data, rows)
        arguments: dict[str, Any] = {
            **found.arrays, "scale": found.scale, "loss": loss, "module_arguments": module_arguments,
            "initial_seed": initial_seed, "partition": partition, "batch": batch, "replacement": replacement,
            "dtype": dtype, "input_shape": input_shape, "block": block, "device": device, "mode": mode,
            "buffers": buffers, "bits": bits,
        }  # fmt: skip
        with named(found.places):
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
        defaults = {"device": "cpu", "mode": "eval", "buffers": "average", "bits": "fast"}
        found |= {key: getattr(self, key) for key, default in defaults.items() if getattr(self, key) != default}
        loss = self.loss if isinstance(self.loss, str) else dotted(self.loss)
        return {**found, "module": dotted(self.module), "loss": loss}

    # ---- workers ----

    @property
    def from_user_code(self) -> tuple[Any, ...]:
        """The code of the user's that must travel with the problem."""
        return (self.module, self.loss)

    @property
    def classes_(self) -> NDArray[Any] | None:
        """The label of each class, sorted, shape (classes,); None if the targets are no labels."""
        return array_data.classes_by_number(self._classes, self.y)

    def row_labels(self) -> NDArray[np.intp] | None:
        return array_data.label_numbers(self.y)

    @property
    def parameter_shapes(self) -> list[list[int]]:
        return self._network.shapes

    @property
    def note(self) -> str:
        layers = self._network.changes_in_training
        if self.mode == "train" or not layers:
            return ""
        return f"{' and '.join(layers)} of the module stay in evaluation mode; mode: train trains with them."

    @property
    def metric_names(self) -> tuple[str, ...]:
        names = super().metric_names
        return names if self.row_labels() is not None else tuple(name for name in names if name != "accuracy")

    def start_point(self) -> Array:
        return self._network.start_point()

    @property
    def components(self) -> int | None:
        # In training mode the gradient of rows is not a function of x alone.
        return None if self.mode == "train" else super().components

    # ---- samples ----

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        rows = super().draw_many(workers, keys, count)
        if self.mode == "eval":
            return rows
        # Behind the rows the key of what the layers draw.
        own = (mix_many(~keys) >> np.uint64(1)).astype(np.int64)
        return np.concatenate([rows.reshape(len(keys), -1), own[:, None]], axis=1)

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        if self.mode == "eval":
            return super().draw(worker, key, count)
        return self.draw_many(np.array([worker]), np.array([key], dtype=np.uint64), count)[0]

    # ---- rows into the module, and its outputs into losses ----

    def _rows(self, data: NDArray[Any], rows: Any) -> torch.Tensor:
        """Returns rows of the inputs or the targets on the device; all of them are moved there once."""
        import torch

        if self._network.device == "cpu":
            return torch.from_numpy(array_data.writable(data[rows]))
        kept, there = self._on_device.get(id(data), (None, None))
        if kept is not data:
            there = torch.from_numpy(array_data.writable(data)).to(self._network.device)
            self._on_device[id(data)] = (data, there)
        assert there is not None
        return there[rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self._network.device)]

    def _inputs(self, data: NDArray[Any], rows: Any) -> torch.Tensor:
        """Returns inputs for the module, shape (*shape of rows, *input_shape)."""
        import torch

        inputs = given = self._rows(data, rows)
        if inputs.is_floating_point() or self.scale != 1.0:
            inputs = inputs.to(getattr(torch, self.dtype))
        if self.scale != 1.0:
            inputs = inputs * self.scale
        if inputs is given and isinstance(rows, slice):
            # A layer may work in the memory of its input, and these are the data themselves.
            inputs = inputs.clone()
        leading = inputs.shape[: inputs.ndim - data.ndim + 1]
        return inputs if self.input_shape is None else inputs.reshape(*leading, *self.input_shape)

    def _targets(self, data: NDArray[Any], rows: Any) -> torch.Tensor:
        import torch

        targets = self._rows(data, rows)
        are_numbers = targets.is_floating_point() or torch_loss.is_of_numbers(self.loss)
        return targets.to(getattr(torch, self.dtype)) if are_numbers else targets

    @contextmanager
    def _applied(self) -> Iterator[None]:
        """Raises InvalidInput if the module or the loss cannot be applied."""
        try:
            yield
        except (InvalidInput, DataError):
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            shape = self.input_shape or list(self.X.shape[1:])
            problem = f"{dotted(self.module)} and its loss cannot be applied to rows of shape {shape} ({error})"
            if "more than 1 value per channel" in str(error):
                raise InvalidInput("batch", problem, "at least 2 for batch normalisation in training mode") from error
            raise InvalidInput("module", problem, "a module for such rows, or another input_shape or loss") from error

    def _try_one_row(self) -> None:
        rows = np.arange(min(2, len(self.y)))
        with self._network.evaluation(None):
            self._pass(self.start_point(), [self._batch(rows, np.ones(len(rows)))])
        if self.mode == "train":
            # Batch normalisation takes no batch of one row.
            self._trained(self.start_point(), np.append(np.arange(self.batch) % len(self.y), 0))

    def _number_labels(self) -> NDArray[Any] | None:
        """Makes labels the numbers of their classes; returns the classes, or None if they are numbers already."""
        if (ignored := torch_loss.ignored(self.loss, self.y, self.y_test)) is not None:
            array_data.check_labels(self.y, self.y_test, self._output_count(), ignored)
            return None
        if not torch_loss.takes_labels(self.loss, self.y):
            self.y = numbers_of(self.y, "y")
            self.y_test = None if self.y_test is None else numbers_of(self.y_test, "y_test")
            return None
        most = torch_loss.most_classes(self.loss, self._output_count())
        self.y, self.y_test, classes = array_data.numbered(self.y, self.y_test, most)
        return classes

    def _output_count(self) -> int | None:
        """Returns the number of outputs of a row; None if they are no vector."""
        import torch

        with single_thread(), torch.no_grad(), self._network.evaluation(None):
            self._network.place(self.start_point())
            found = self._network.outputs(self._inputs(self.X, np.arange(min(2, len(self.X)))))
        return int(found.shape[1]) if found.ndim == 2 else None

    # ---- values and gradients ----

    def _batch(self, rows: Any, weights: Array) -> Batch:
        """Returns inputs, targets and weights of rows, on the device."""
        import torch

        weight = torch.from_numpy(weights).to(device=self._network.device, dtype=getattr(torch, self.dtype))
        return self._inputs(self.X, rows), self._targets(self.y, rows), weight

    def _pass(
        self, x: Array, batches: Iterable[Batch], gradient: bool = True, statistics: bool = False
    ) -> tuple[float, Array]:
        """Returns the weighted sums over rows of the losses and of their gradients at one point.

        Args:
          x: shape (dimension,).
          batches: of :meth:`_batch`.
          gradient: whether gradients are asked for.
          statistics: whether those of the pass, and 1, are to stand behind the gradient: no copy is made for them.
        """
        import torch

        total, g, is_first = 0.0, np.zeros(0, dtype=self.dtype), True
        with single_thread(), torch.set_grad_enabled(gradient):
            parameters = self._network.place(x)
            for inputs, targets, weights in batches:
                loss = torch_loss.of_rows(self.loss, self._network.outputs(inputs), targets) @ weights
                if not gradient:
                    total += float(loss)
                    continue
                parts = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
                total += float(loss.detach())
                behind = self._network.statistics() if statistics else ()
                flat = torch.cat([part.reshape(-1) for part in (*parts, *behind)]).cpu().numpy()
                # Not written to before: memory of PyTorch's own, which lives as long as the array.
                g = flat if is_first else g + flat
                is_first = False
        return total, g

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        if self.mode == "eval":
            return super().gradient(x, sample, checkpoint)
        return self.gradient_and_statistics(x, sample)[..., : self.dimension]

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        if self.mode == "train":
            weights = np.ones(len(samples)) if weights is None else weights
            return weighted_total(x, (self.gradient(x, sample) for sample in samples), weights)
        return super().gradient_sum(x, samples, weights)

    def start_statistics(self) -> tuple[Array, Array]:
        return self._network.start_statistics()

    def gradient_and_statistics(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        if x.ndim == 1:
            return self._trained(x, sample)
        return np.stack([self.gradient_and_statistics(point, sample) for point in x])

    def _trained(self, x: Array, sample: Any) -> Array:
        """Returns the gradient in training mode at one point, the statistics and 1, the mean over the passes.

        There is a pass for each stochastic gradient. Shape (dimension + statistics_size + 1,).
        """
        rows, key = sample[:-1].reshape(-1, self.batch), int(sample[-1])
        found = []
        for number, own in enumerate(rows):
            with self._network.training(key + number):
                batch = self._batch(own, np.full(len(own), 1.0 / len(own)))
                found.append(self._pass(x, [batch], statistics=True)[1])
        return found[0] if len(found) == 1 else np.mean(found, axis=0, dtype=self.dtype)

    def gradients(self, points: Sequence[Array], samples: Sequence[Any]) -> Sequence[Array]:
        if self.mode == "train":
            return [found[: self.dimension] for found in self.gradients_and_statistics(points, samples)]
        rows = np.stack([np.atleast_1d(sample) for sample in samples])
        return self._together(points, rows) or super().gradients(points, samples)

    def gradients_and_statistics(self, points: Sequence[Array], samples: Sequence[Any]) -> Sequence[Array]:
        if len(samples[0]) == self.batch + 1:
            drawn = np.stack(samples)
            if found := self._together(points, drawn[:, :-1], drawn[:, -1].tolist()):
                return found
        return super().gradients_and_statistics(points, samples)

    def _together(
        self, points: Sequence[Array], rows: NDArray[np.intp], keys: Sequence[int] | None = None
    ) -> list[Array]:
        """Returns gradients at many points, each on rows of its own; nothing if the module cannot be evaluated so.

        Args:
          points: K of them, each of shape (dimension,).
          rows: shape (K, rows).
          keys: K of them, in training mode: the statistics and a 1 stand behind each gradient.
        """
        if not self._stacks:
            return []
        weights = np.full(rows.shape[1], 1.0 / rows.shape[1])
        behind = 0 if keys is None else self.statistics_size + 1
        # An array each: one block for all would live as long as the last of them.
        found = [np.empty(self.dimension + behind, dtype=self.dtype) for _ in points]
        together = points_of_a_pass(points[0].nbytes)
        for start in range(0, len(points), together):
            chosen = slice(start, start + together)
            own = None if keys is None else keys[chosen]
            if not self._stacked(points[chosen], rows[chosen], weights, found[chosen], own):
                return []
        if keys is not None and not self._is_compared and not self._agrees(points, rows, keys, found):
            self._one_by_one("values differ from those of each alone")
            return []
        return found

    def _agrees(
        self, points: Sequence[Array], rows: NDArray[np.intp], keys: Sequence[int], found: Sequence[Array]
    ) -> bool:
        """Whether values at many points are those of each alone: in training mode a module may do what nobody sees."""
        tolerance = 10 * np.finfo(self.dtype).eps ** 0.5
        for x, own, key, together in zip(points, rows, keys, found, strict=True):
            alone = self._trained(x, np.append(own, key))
            for part in (slice(self.dimension), slice(self.dimension, None)):
                if np.isfinite(alone[part]).all():
                    error = np.abs(together[part] - alone[part]).max()
                    if not error <= tolerance * np.abs(alone[part]).max():
                        return False
                    self._is_compared = True
        return True

    def _stacked(
        self,
        points: Sequence[Array] | Array,
        rows: NDArray[np.intp],
        weights: Array,
        out: Sequence[Array] | Array,
        keys: Sequence[int] | None = None,
    ) -> bool:
        """Writes the weighted sums of the gradients of rows at many points, in one pass.

        Args:
          points: K of them, each of shape (dimension,).
          rows: of all points, shape (rows,), or of each, shape (K, rows).
          weights: of the rows.
          out: K arrays of shape (dimension,), in training mode with the statistics and a 1 behind.
          keys: K of them, in training mode.

        Returns:
          False if the module cannot be evaluated so; then nothing was written.
        """

        def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return torch_loss.of_rows(self.loss, outputs, targets) @ weight

        with single_thread():
            inputs, targets, weight = self._batch(rows, weights)
            if rows.ndim == 1:
                # Views: a product of one matrix with many would copy the many.
                inputs, targets = (same.expand(len(points), *same.shape) for same in (inputs, targets))
            try:
                many = self._network.many
                masks = [] if keys is None else many.masks(keys, inputs[0], self._network.training)
                parts, statistics = many.gradients(loss, self._network.stacked(points), inputs, targets, masks)
            except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
                return self._one_by_one(first_line(error))
        start = 0
        for part in (*parts, *(statistics if self.statistics_size else [])):
            values = part.detach().cpu().numpy().reshape(len(points), -1)
            for g, value in zip(out, values, strict=True):
                g[start : start + len(value)] = value
            start += values.shape[1]
        if keys is not None:
            for g in out:
                g[-1] = 1.0
        return True

    def _one_by_one(self, reason: str) -> bool:
        """Returns False, says why, and remembers it."""
        self._stacks = False
        problem = f"{dotted(self.module)} cannot be evaluated at many points at once ({reason})"
        warnings.warn(f"{problem}: they are evaluated one by one", stacklevel=3)
        return False

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        if x.ndim == 2 and len(x) > 1 and self.bits == "fast" and self._stacks and x[0].nbytes <= SMALL_POINT:
            together = self._sum_of_rows_together(x, rows, weights, checkpoint)
            if together is not None:
                return together

        def chunks() -> Iterator[tuple[Any, Array]]:
            for start in range(0, len(rows), CHUNK):
                if start and checkpoint is not None:
                    checkpoint()
                yield rows[start : start + CHUNK], weights[start : start + CHUNK]

        if x.ndim == 1:
            return self._pass(x, starmap(self._batch, chunks()))[1]
        # One preparation for all points, unless the rows are too many to be held.
        held = list(starmap(self._batch, chunks())) if len(rows) <= CHUNK else None
        g = np.empty(x.shape, dtype=self.dtype)
        for point, own in zip(x, g, strict=True):
            again = ((inputs.clone(), targets, weight) for inputs, targets, weight in held or ())
            own[...] = self._pass(point, again if held else starmap(self._batch, chunks()))[1]
        return g

    def _sum_of_rows_together(
        self, x: Array, rows: NDArray[np.intp], weights: Array, checkpoint: Checkpoint | None
    ) -> Array | None:
        """Returns the weighted sums of gradients at all points of a grid; None if the module cannot be evaluated so."""
        g = np.empty(x.shape, dtype=x.dtype)
        part = np.empty_like(x) if len(rows) > CHUNK else g
        passes = -(-len(x) // points_of_a_pass(x[0].nbytes))
        together = -(-len(x) // passes)
        for start in range(0, len(rows), CHUNK):
            if start and checkpoint is not None:
                checkpoint()
            chosen = slice(start, start + CHUNK)
            for first in range(0, len(x), together):
                some = slice(first, first + together)
                if not self._stacked(x[some], rows[chosen], weights[chosen], (part if start else g)[some]):
                    return None
            if start:
                g += part
        return g

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        dimension = self.dimension
        found = []
        for point in np.atleast_2d(x):
            # Statistics that the server keeps stand behind a point.
            with self._network.evaluation(point[dimension:] if len(point) > dimension else None):
                found.append(self._pass(point[:dimension], starmap(self._batch, self._all_rows()), gradient))
        values = np.array([value for value, _ in found])
        gradients = np.array([g for _, g in found])
        return float_or_array(values.reshape(x.shape[:-1])), gradients.reshape(*x.shape[:-1], -1)

    def _all_rows(self) -> Iterator[tuple[slice, Array]]:
        for start in range(0, self.row_count, CHUNK):
            rows = slice(start, min(start + CHUNK, self.row_count))
            yield rows, self._weights(rows)

    def accuracy(self, x: Array) -> Any:
        """Returns the share of correct answers on the test data (training data if none): a float, or shape (G,).

        The answer is the class of the largest output; for a single output, whether it is above 0.
        """
        import torch

        X, y = (self.X, self.y) if self.X_test is None or self.y_test is None else (self.X_test, self.y_test)
        points, dimension = np.atleast_2d(x), self.dimension
        right = np.zeros(len(points))
        ignored = torch_loss.ignored(self.loss, self.y, self.y_test)
        counted = len(y) if ignored is None else np.count_nonzero(y != ignored)
        for k, point in enumerate(points):
            statistics = point[dimension:] if len(point) > dimension else None
            with single_thread(), torch.no_grad(), self._network.evaluation(statistics):
                self._network.place(point[:dimension])
                for start in range(0, len(y), CHUNK):
                    rows = slice(start, start + CHUNK)
                    outputs = self._network.outputs(self._inputs(X, rows)).cpu().numpy().reshape(len(y[rows]), -1)
                    answers = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0
                    right[k] += np.count_nonzero(answers == y[rows])
        right[~np.isfinite(points).all(axis=1)] = np.nan
        return float_or_array((right / counted).reshape(x.shape[:-1]))
