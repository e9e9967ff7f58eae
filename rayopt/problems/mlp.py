"""A network of ReLU layers with softmax cross-entropy over the rows of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rayopt.core.errors import InvalidInput, at_least, boolean, finite, non_negative, positive
from rayopt.core.keys import Stream, subkeys, uniforms
from rayopt.problems.base import Array, Checkpoint
from rayopt.problems.data.partition import Partition
from rayopt.problems.labelled_data import LabelledData, softmax
from rayopt.problems.layers import backward, forward
from rayopt.problems.rows import CHUNK, float_or_array


class MLP(LabelledData):
    r"""A network of fully connected ReLU layers, with softmax cross-entropy.

    .. math::
        f(x) = \frac1n \sum_{i=1}^n \frac{1}{m_i} \sum_r -\log p_{y_r}(a_r; x), \quad
        h_0 = \frac{a - \mu}{s}, \quad h_l = \max(0, W_l' h_{l-1} + w_l), \quad
        p = \operatorname{softmax}(W_L' h_{L-1} + w_L),

    where r runs over the m_i rows of worker i, and x of shape (dimension,) is [W_1; w_1], ..., [W_L; w_L]
    one after the other, each of shape (inputs + 1, outputs) with the bias as its last row. For 784 features,
    128 hidden units and 10 classes the dimension is 101,770.

    The initial point is He's: the weights of a layer are N(0, 2/inputs), the biases 0. That the papers start
    there is not stated by them.

    With ``full_batch``, a stochastic gradient is the gradient over all rows plus one z ~ N(0, noise^2) added
    to all coordinates, as in the network experiment of Ringmaster (its settings [code]).

    Args:
      X: data, numbers of any real type, shape (rows, features).
      y: integers 0, ..., classes - 1, shape (rows,).
      X_test: data on which ``accuracy`` is measured; the training data by default.
      y_test: its labels.
      hidden: units of the hidden layer, or of each of them, at least 1.
      initial_seed: of the initial point.
      batch: rows of one stochastic gradient, at least 1.
      partition: how :meth:`split` divides the rows (see ``rayopt.problems.data.partition``).
      classes: number of classes; by default one more than the largest label.
      scale: a row a of the formula is ``scale`` times a row of X (1/255 for bytes).
      replacement: whether the rows of one stochastic gradient may repeat.
      mean: mu, subtracted from every feature; 0.1307 is usual for MNIST in [0, 1].
      std: s, by which every feature is divided; 0.3081 is usual for MNIST in [0, 1].
      full_batch: whether a stochastic gradient is over all rows; needs homogeneous data.
      noise: standard deviation of z; needs ``full_batch``.
      block: rows of one component, for methods of finite sums.

    Raises:
      DataError: the data are empty, not finite, or do not fit together.
      InvalidInput: an argument is out of its range.

    Examples:
      >>> MLP.digits(hidden=[32, 16]).dimension
      2778

    References:
      He, Zhang, Ren, Sun, `Delving deep into rectifiers <https://arxiv.org/abs/1502.01852>`_, 2015 (initial point).
      Maranjyan, Tyurin, Richtárik, `Ringmaster ASGD <https://arxiv.org/abs/2501.16168>`_, 2025 (784-32-10, 100
      rows, full batch, noise 1).
      Maranjyan, Richtárik, `Ringleader ASGD <https://arxiv.org/abs/2509.22860>`_, 2025 (784-128-10, batch 4
      without replacement, normalised).
    """

    name: ClassVar[str] = "mlp"
    paper: ClassVar[str] = "Maranjyan et al. 2025, arXiv:2501.16168; Maranjyan & Richtárik 2025, arXiv:2509.22860"
    convex = False

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        y_test: ArrayLike | None = None,
        hidden: int | Sequence[int] = 128,
        initial_seed: int = 0,
        batch: int = 1,
        partition: str | Mapping[str, Any] | Partition | None = None,
        classes: int | None = None,
        scale: float = 1.0,
        replacement: bool = True,
        mean: float = 0.0,
        std: float = 1.0,
        full_batch: bool = False,
        noise: float = 0.0,
        block: int = 1,
    ) -> None:
        super().__init__(X, y, X_test, y_test, batch, partition, classes, scale, replacement, block)
        self.hidden = _widths(hidden)
        self.initial_seed = at_least("initial_seed", initial_seed, 0)
        self.mean, self.std = finite("mean", mean), positive("std", std)
        self.full_batch, self.noise = boolean("full_batch", full_batch), non_negative("noise", noise)
        self.exact = full_batch and self.noise == 0
        if full_batch and not self.homogeneous:
            raise InvalidInput(
                "full_batch", f"true with the partition {self.partition.name!r}", "partition: homogeneous"
            )
        if full_batch and self.batch != 1:
            raise InvalidInput("batch", f"{batch} with full_batch: true", "no batch, or full_batch: false")
        if noise and not full_batch:
            raise InvalidInput("noise", f"{noise:g} with full_batch: false", "0, or full_batch: true")
        sizes = (self.features, *self.hidden, self.classes)
        self._layers: list[tuple[int, int, int]] = []
        start = 0
        for inputs, outputs in pairwise(sizes):
            self._layers.append((start, inputs, outputs))
            start += (inputs + 1) * outputs
        self.dimension = start
        if full_batch:
            # Importing scipy.special takes 150 ms: not at the import of rayopt.
            from scipy.special import ndtri

            self._normal_quantile = ndtri
            self.noise_variance = self.dimension * self.noise**2

    @classmethod
    def from_config(
        cls,
        data: str | Mapping[str, Any] = "mnist",
        partition: str | Mapping[str, Any] | Partition = "homogeneous",
        batch: int = 1,
        hidden: int | Sequence[int] = 128,
        initial_seed: int = 0,
        rows: int | None = None,
        replacement: bool = True,
        mean: float = 0.0,
        std: float = 1.0,
        full_batch: bool = False,
        noise: float = 0.0,
        block: int = 1,
    ) -> Self:
        """Returns the problem of a workload file.

        Args:
          data: "mnist", "mnist_subset" (the one in the package), "digits", {"path": folder of the IDX files of MNIST,
            or of data in its form such as Fashion-MNIST}, {"csv" | "parquet" | "feather": file, "target": column,
            "features": columns or "all"}, {"npz": file}, {"npy": file, "target": file}, {"libsvm": file}, {"openml":
            name or id} or {"function": "package.module:name"}; with "standardise": true, and "test_share": 0.2 or
            "test": file.
          partition: as for the class.
          batch: as for the class.
          hidden: as for the class.
          initial_seed: as for the class.
          rows: train on the first so many rows; on all by default.
          replacement: as for the class.
          mean: as for the class.
          std: as for the class.
          full_batch: as for the class.
          noise: as for the class.
          block: as for the class.

        Raises:
          InvalidInput: ``data`` or an argument is unknown or out of its range.
          DataError: the data cannot be used.
        """
        arguments = {
            "partition": partition, "batch": batch, "hidden": hidden, "initial_seed": initial_seed,
            "replacement": replacement, "mean": mean, "std": std, "full_batch": full_batch, "noise": noise,
            "block": block,
        }  # fmt: skip
        return cls.from_data(data, rows, arguments)

    def to_config(self) -> dict[str, Any]:
        """Returns the problem's section of a workload file."""
        keys = (
            "name", "data", "partition", "batch", "hidden", "initial_seed", "rows", "replacement", "mean", "std",
            "full_batch", "noise", *(["block"] if self.block > 1 else []),
        )  # fmt: skip
        return {key: getattr(self, key) for key in keys}

    @property
    def parameter_shapes(self) -> list[list[int]]:
        return [[inputs + 1, outputs] for _, inputs, outputs in self._layers]

    def start_point(self) -> Array:
        generator = Stream(self.initial_seed, "initial point").generator()
        x = np.zeros(self.dimension)
        for W, _ in self._parameters(x):
            W[...] = generator.standard_normal(W.shape)
            W *= math.sqrt(2.0 / W.shape[0])
        return x

    # ---- samples of the full batch: z ----

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        if not self.full_batch:
            return super().draw(worker, key, count)
        return float(self.draw_many(np.array([worker]), np.array([key], dtype=np.uint64), count)[0])

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        if not self.full_batch:
            return super().draw_many(workers, keys, count)
        z = self.noise * self._normal_quantile(uniforms(subkeys(keys, count)))
        return z.mean(axis=-1)

    # ---- gradients ----

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        if not self.full_batch:
            return super().gradient(x, sample, checkpoint)
        g = self._passes(x, self._all_rows(checkpoint))[1]
        g += sample
        return g

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        if not self.full_batch:
            return super().gradient_sum(x, samples, weights)
        weights = np.ones(len(samples)) if weights is None else weights
        g = self._passes(x, self._all_rows())[1]
        g *= float(weights.sum())
        g += float(weights @ samples)
        return g

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        return self._passes(x, self._some_rows(rows, weights, checkpoint), value=False)[1]

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        value, g = self._passes(x, self._all_rows(), gradient=gradient)
        return float_or_array(value), g

    def _logits_at(self, x: Array) -> Callable[[Array], Array]:
        parameters = self._parameters(x)
        return lambda A: forward(self._normalised(A), parameters)[-1]

    # ---- one pass over rows ----

    def _some_rows(
        self, rows: NDArray[np.intp], weights: Array, checkpoint: Checkpoint | None
    ) -> Iterable[tuple[Array, NDArray[np.intp], Array]]:
        """Yields chunks of rows: float64 features, labels and weights."""
        for start in range(0, len(rows), CHUNK):
            if start and checkpoint is not None:
                checkpoint()
            chunk = rows[start : start + CHUNK]
            yield self.X[chunk].astype(np.float64, copy=False), self.y[chunk], weights[start : start + CHUNK]

    def _all_rows(self, checkpoint: Checkpoint | None = None) -> Iterable[tuple[Array, NDArray[np.intp], Array]]:
        for rows, A in self._chunks(self.X):
            if rows.start and checkpoint is not None:
                checkpoint()
            yield A, self.y[rows], self._weights(rows)

    def _normalised(self, A: Array) -> Array:
        """Returns h_0 of rows, in their place; A is a copy of theirs."""
        if self.scale != self.std:
            A *= self.scale / self.std
        if self.mean:
            A -= self.mean / self.std
        return A

    def _parameters(self, x: Array) -> list[tuple[Array, Array]]:
        """Returns the views (W, w) of x of each layer, shapes (..., inputs, outputs) and (..., outputs)."""
        found = []
        for start, inputs, outputs in self._layers:
            end = start + (inputs + 1) * outputs
            both = x[..., start:end].reshape(*x.shape[:-1], inputs + 1, outputs)
            found.append((both[..., :-1, :], both[..., -1, :]))
        return found

    def _passes(
        self,
        x: Array,
        chunks: Iterable[tuple[Array, NDArray[np.intp], Array]],
        value: bool = True,
        gradient: bool = True,
    ) -> tuple[Array, Array]:
        """Returns the weighted sums of the losses of rows and of their gradients; zeros for what is not asked.

        The products are stacked, one for each point, so that a point has the same bits alone.
        """
        total = np.zeros(x.shape[:-1])
        g = np.empty(x.shape) if gradient else np.zeros(x.shape)
        parameters, gradients = self._parameters(x), self._parameters(g)
        for number, (A, labels, weights) in enumerate(chunks):
            outputs = forward(self._normalised(A), parameters)
            residual = outputs.pop()
            each = np.arange(len(labels))
            right = residual[..., each, labels] if value else None
            largest, normaliser = softmax(residual)
            if right is not None:
                total += ((largest + np.log(normaliser))[..., 0] - right) @ weights
            if gradient:
                residual[..., each, labels] -= 1.0
                residual *= weights[:, None]
                backward(outputs, residual, parameters, gradients, add=number > 0)
        return total, g


def _widths(hidden: Any) -> list[int]:
    """Returns the units of each hidden layer, or raises InvalidInput."""
    if not isinstance(hidden, Sequence) or isinstance(hidden, str):
        return [at_least("hidden", hidden, 1, "a list of them")]
    if not hidden:
        raise InvalidInput("hidden", "an empty list", "an integer of at least 1, or a list of them")
    return [at_least(f"hidden[{layer}]", units, 1) for layer, units in enumerate(hidden)]
