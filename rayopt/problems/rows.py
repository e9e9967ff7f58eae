"""Problems over the rows of a data set: the rows of each worker, and those that a task samples."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least, boolean
from rayopt.core.keys import all_below, below, distinct_below, subkey, subkeys
from rayopt.core.memory import check_fits
from rayopt.problems.base import Array, Checkpoint, Problem, squared_norm
from rayopt.problems.data.partition import Dirichlet, Homogeneous, Labels, Partition, Shards
from rayopt.problems.data.partition import partition as parse_partition
from rayopt.problems.data.partition import skew as skew_of

BYTES_PER_ROW = 24
"""Of a sample: the keys and the positions of its rows, at the least."""
CHUNK = 1024


class RowProblem(Problem):
    r"""A mean over rows of data, divided over workers by a partition.

    .. math::
        f(x) = \frac1n \sum_{i=1}^n f_i(x), \quad f_i(x) = \frac{1}{m_i} \sum_{r} \ell_r(x),

    where f_i is over the m_i rows of worker i. The mean over workers is the mean over the rows
    if all workers have the same rows, or equally many; else a row of worker i has weight
    1/(n m_i). Before :meth:`split`, all rows weigh the same.

    A stochastic gradient is the mean over ``batch`` rows, drawn from the rows of its worker:
    a sample is a row number, or an array of them if several are drawn.

    Attributes:
      row_count: how many rows there are.
      batch: rows of one stochastic gradient.
      replacement: whether the rows of one stochastic gradient may repeat.
      block: rows of one component, as a finite sum; the last component has the remainder.
      partition: how :meth:`split` divides the rows.
      skew: how far the labels of the workers are from those of all rows, 0 if homogeneous.
    """

    row_data: ClassVar[tuple[str, ...]] = ("X", "y")
    """The attributes with one row of data each; a shard has its part of them."""
    row_constants: ClassVar[tuple[str, ...]] = ("minimum", "smoothness", "lipschitz")
    """The attributes that were computed from the rows, and are others for other rows or weights."""

    batch: int
    block: int
    replacement: bool
    partition: Partition
    row_count: int
    _shards: Shards | None
    _row_weights: Array | None
    _local: Self | None

    def _divide(
        self,
        batch: int,
        partition: str | Mapping[str, Any] | Partition | None,
        replacement: bool = True,
        block: int = 1,
    ) -> None:
        """Checks and keeps how rows are drawn and divided; the row data are there."""
        self.row_count = _length(getattr(self, self.row_data[-1]))
        self.batch = at_least("batch", batch, 1)
        check_fits("batch", self.batch, BYTES_PER_ROW * self.batch)
        self.replacement = boolean("replacement", replacement)
        self.block = at_least("block", block, 1)
        if block > self.row_count:
            raise InvalidInput("block", f"{block:,} of {self.row_count:,} rows", f"at most {self.row_count:,}")
        if not replacement and batch > self.row_count:
            raise InvalidInput(
                "batch",
                f"{batch:,} rows without replacement of {self.row_count:,}",
                f"at most {self.row_count:,}, or replacement: true",
            )
        self.partition = parse_partition(partition)
        if self.row_labels() is None and isinstance(self.partition, (Dirichlet, Labels)):
            raise InvalidInput(
                "partition", f"{self.partition.name!r} divides by label, and a row has none", "homogeneous, split"
            )
        self.homogeneous = self.partition.homogeneous
        self._shards = self._row_weights = self._local = None

    def row_labels(self) -> NDArray[np.intp] | None:
        """Returns the class of each row, by which a partition may divide them; None if they have none."""
        return None

    # ---- workers ----

    def split(self, workers: int, seed: int) -> Self:
        """Returns this problem with its rows divided over so many workers.

        Raises:
          DataError: a worker would have no row.
          InvalidInput: a worker has fewer rows than it draws without replacement.
        """
        at_least("workers", workers, 1)
        labels = self.row_labels()
        bound = copy.copy(self)
        bound._shards = shards = self.partition.assign(
            np.zeros(self.row_count, dtype=np.intp) if labels is None else labels, workers, seed
        )
        bound._local = bound._row_weights = None
        if shards is None:
            return bound
        least = int(shards.sizes.min())
        if not self.replacement and least < self.batch:
            raise InvalidInput(
                "problem.batch",
                f"{self.batch:,} rows without replacement, and a worker has {least:,}",
                f"at most {least:,}, or replacement: true",
            )
        if len(set(shards.sizes.tolist())) > 1:
            bound._row_weights = 1.0 / (workers * shards.sizes[shards.owners])
            bound._forget_constants()
        return bound

    @property
    def distinct_workers(self) -> int:
        return 1 if self.homogeneous else len(self._split_shards())

    def shard(self, worker: int) -> Self:
        if self.homogeneous:
            if self._local is None:
                self._local = self._restricted(None)
            return self._local
        return self._restricted(self._split_shards().rows(worker))

    def _restricted(self, rows: NDArray[np.intp] | None) -> Self:
        """Returns the problem over these rows (all if None) alone."""
        local = copy.copy(self)
        local.partition = Homogeneous()
        local.homogeneous = True
        local._shards = local._row_weights = local._local = None
        if rows is not None:
            for name in self.row_data:
                setattr(local, name, getattr(self, name)[rows])
            local.row_count = len(rows)
            local._forget_constants()
        return local

    def _forget_constants(self) -> None:
        for name in self.row_constants:
            self.__dict__.pop(name, None)

    @property
    def shard_sizes(self) -> NDArray[np.integer] | None:
        """Rows of each worker after :meth:`split`, shape (workers,); None if all have the same rows."""
        return None if self._shards is None else self._shards.sizes

    def _split_shards(self) -> Shards:
        if self._shards is None:
            raise InvalidInput("partition", f"{self.partition} has no workers yet", "a call of split(workers, seed)")
        return self._shards

    @property
    def skew(self) -> float | None:
        """Mean total variation distance between a worker's labels and all labels, after :meth:`split`.

        0 if every worker has the mixture of the whole, near 1 - 1/classes if each has one class;
        None if rows have no labels.
        """
        if self.homogeneous:
            return 0.0
        labels = self.row_labels()
        return None if labels is None else skew_of(self._split_shards(), labels)

    # ---- samples ----

    def draw(self, worker: int, key: int, count: int = 1) -> Any:
        if self.batch * count > 1:
            return self.draw_many(np.array([worker]), np.array([key], dtype=np.uint64), count)[0]
        if self.homogeneous:
            return below(subkey(key, 0), self.row_count)
        shards = self._split_shards()
        first = int(shards.offsets[worker])
        return int(shards.order[first + below(subkey(key, 0), int(shards.offsets[worker + 1]) - first)])

    def draw_many(self, workers: NDArray[np.integer], keys: NDArray[np.uint64], count: int = 1) -> Any:
        drawn = subkeys(keys, self.batch * count)
        if self.homogeneous:
            rows = self._positions(drawn, self.row_count)
        else:
            shards = self._split_shards()
            first = shards.offsets[workers][:, None]
            rows = shards.order[first + self._positions(drawn, shards.offsets[workers + 1][:, None] - first)]
        return rows[:, 0] if rows.shape[1] == 1 else rows

    def _positions(self, keys: NDArray[np.uint64], sizes: int | NDArray[np.intp]) -> NDArray[np.intp]:
        """Returns a position among the rows of its worker for each key, shape (tasks, batch * count)."""
        if self.replacement or self.batch == 1:
            return all_below(keys, sizes)
        batches = keys.reshape(-1, self.batch)
        sizes = np.broadcast_to(sizes, (len(keys), keys.shape[1] // self.batch)).reshape(-1)
        return distinct_below(batches, sizes).reshape(keys.shape)

    # ---- gradients ----

    def gradient(self, x: Array, sample: Any, checkpoint: Checkpoint | None = None) -> Array:
        rows = np.atleast_1d(np.asarray(sample))
        return self._sum_of_rows(x, rows, np.full(len(rows), 1.0 / len(rows)), 1.0, checkpoint)

    def gradient_sum(self, x: Array, samples: Any, weights: Array | None = None) -> Array:
        rows = np.asarray(samples)
        tasks = len(rows)
        each = rows.size // tasks
        weights = np.ones(tasks) if weights is None else np.asarray(weights, dtype=np.float64)
        return self._sum_of_rows(x, rows.reshape(-1), np.repeat(weights / each, each), float(weights.sum()))

    def _sum_of_rows(
        self, x: Array, rows: NDArray[np.intp], weights: Array, total: float, checkpoint: Checkpoint | None = None
    ) -> Array:
        """Returns the weighted sum of the gradients of rows, a new array of the shape of x.

        Args:
          x: shape (dimension,) or (G, dimension).
          rows: row numbers, repeated ones too, shape (m,).
          weights: of each, shape (m,).
          total: their sum, the weight of what does not depend on the row.
          checkpoint: called between chunks of 1024 rows.
        """
        raise NotImplementedError

    # ---- components ----

    @property
    def components(self) -> int | None:
        return -(-self.row_count // self.block) if self.homogeneous else None

    def component_gradient(self, x: Array, indices: Any, weights: Array | None = None) -> Array:
        """Returns the weighted sum of gradients of components, the shape of x.

        The component j is m / rows times the sum over the rows of block j, so that f is their mean whatever the
        remainder; what does not depend on the rows is part of each.
        """
        chosen = np.atleast_1d(np.asarray(indices, dtype=np.intp))
        weights = np.ones(len(chosen)) if weights is None else np.asarray(weights, dtype=np.float64)
        total = float(weights.sum())
        if self.block == 1:
            return self._sum_of_rows(x, chosen, weights, total)
        rows = (chosen[:, None] * self.block + np.arange(self.block)).reshape(-1)
        there = rows < self.row_count
        count = self.components
        assert count is not None
        shares = np.repeat(weights * (count / self.row_count), self.block)
        return self._sum_of_rows(x, rows[there], shares[there], total)

    def component_difference(self, x: Array, y: Array, indices: Any, weights: Array | None = None) -> Array:
        """Returns the weighted sum of the differences of gradients of components at x and y, in one pass over rows."""
        both = self.component_gradient(np.stack([x, y]).reshape(-1, x.shape[-1]), indices, weights)
        at_x, at_y = both.reshape(2, *x.shape)
        return at_x - at_y

    # ---- the whole function ----

    def value(self, x: Array) -> Any:
        return self._evaluate(x)[0]

    def full_gradient(self, x: Array) -> Array:
        return self._evaluate(x, gradient=True)[1]

    def metrics(self, x: Array, names: Sequence[str] | None = None) -> dict[str, Any]:
        names = self.metric_names if names is None else names
        found: dict[str, Any] = {}
        if {"value", "gap", "grad_norm_sq"} & set(names):
            found["value"], gradient = self._evaluate(x, gradient="grad_norm_sq" in names)
            if self.minimum is not None:
                found["gap"] = found["value"] - self.minimum
            found["grad_norm_sq"] = squared_norm(gradient)
        return {name: found[name] for name in names if name in found}

    def _evaluate(self, x: Array, gradient: bool = False) -> tuple[Any, Array]:
        """Returns f(x) and, if asked, its gradient (else any array), from one pass over the data."""
        raise NotImplementedError

    def _weights(self, rows: slice) -> Array:
        """Returns what each of these rows weighs in f, shape (rows,)."""
        if self._row_weights is None:
            return np.full(rows.stop - rows.start, 1.0 / self.row_count)
        return self._row_weights[rows]


def float_or_array(values: Array) -> Any:
    """Returns a float for a single point, the array for a grid of them."""
    return float(values) if values.ndim == 0 else values


def _length(rows: Any) -> int:
    return int(rows.shape[0])
