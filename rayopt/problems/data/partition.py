"""How the rows of a data set are divided over n workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import DataError, InvalidInput, at_least, nearest, positive
from rayopt.core.keys import Stream

Integers = NDArray[np.intp]


@dataclass(frozen=True)
class Shards:
    """The rows of each worker; every row belongs to exactly one.

    Attributes:
      order: the row numbers, those of worker 0 first, shape (rows,).
      offsets: worker i has ``order[offsets[i]:offsets[i + 1]]``, shape (workers + 1,).
    """

    order: Integers
    offsets: Integers

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Integers:
        """Number of rows of each worker, shape (workers,)."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Integers:
        """The worker of each row, shape (rows,)."""
        owners = np.empty(len(self.order), dtype=np.intp)
        owners[self.order] = np.repeat(np.arange(len(self)), self.sizes)
        return owners

    def rows(self, worker: int) -> Integers:
        """Returns the row numbers of one worker."""
        return self.order[self.offsets[worker] : self.offsets[worker + 1]]


class Partition(Protocol):
    """A rule that divides rows: a small immutable object."""

    name: ClassVar[str]
    homogeneous: ClassVar[bool]

    def assign(self, labels: Integers, workers: int, seed: int) -> Shards | None:
        """Returns the shards, or None if every worker has all the rows.

        Args:
          labels: class of each row, shape (rows,).
          workers: number of workers, at least 1.
          seed: of the random choices; the same seed gives the same shards.

        Raises:
          DataError: a worker would have no row.
        """
        ...


@dataclass(frozen=True)
class Homogeneous:
    """All the rows for every worker."""

    name: ClassVar[str] = "homogeneous"
    homogeneous: ClassVar[bool] = True

    def assign(self, labels: Integers, workers: int, seed: int) -> Shards | None:
        return None


@dataclass(frozen=True)
class Split:
    """Disjoint random shards whose sizes differ by at most 1."""

    name: ClassVar[str] = "split"
    homogeneous: ClassVar[bool] = False

    def assign(self, labels: Integers, workers: int, seed: int) -> Shards:
        return _shards(_generator(seed).permutation(len(labels)), _even_sizes(len(labels), workers))


@dataclass(frozen=True)
class Dirichlet:
    """Label skew: the labels of each worker are distributed as its own draw from a Dirichlet distribution.

    The equal-size form: worker i draws q_i ~ Dirichlet(alpha, ..., alpha) over the classes and
    has size_i * q_i rows of each, sizes differing by at most 1. A class that is used up leaves
    its share to the others in proportion to q_i, so that the last workers get what is left; the
    order in which workers choose is random.

    Args:
      alpha: concentration; near 0 a worker has one class, at infinity all have the same mixture.

    Raises:
      InvalidInput: ``alpha`` is not a positive number.

    References:
      Hsu, Qi, Brown, `Measuring the effects of non-identical data distribution for federated
      visual classification <https://arxiv.org/abs/1909.06335>`_, 2019.
    """

    name: ClassVar[str] = "dirichlet"
    homogeneous: ClassVar[bool] = False
    alpha: float

    def __post_init__(self) -> None:
        positive("alpha", self.alpha)

    def assign(self, labels: Integers, workers: int, seed: int) -> Shards:
        generator = _generator(seed)
        sizes = _even_sizes(len(labels), workers)
        classes = int(labels.max(initial=0)) + 1
        proportions = generator.dirichlet(np.full(classes, float(self.alpha)), size=workers)
        by_class = _shuffled_by_class(labels, generator)
        ends = np.cumsum(np.bincount(labels, minlength=classes))
        left = np.bincount(labels, minlength=classes)
        chosen: list[Integers] = [by_class[:0]] * workers
        for worker in generator.permutation(workers):
            counts = _round_within(sizes[worker], proportions[worker], left)
            starts = ends - left
            chosen[worker] = np.concatenate([by_class[s : s + c] for s, c in zip(starts, counts, strict=True)])
            left -= counts
        return _shards(np.concatenate(chosen), sizes)


@dataclass(frozen=True)
class Labels:
    """Pathological label skew: rows sorted by label, cut into n k slices, k random slices for each worker.

    Args:
      shards_per_worker: k, about the number of classes that one worker sees.

    Raises:
      InvalidInput: ``shards_per_worker`` is not a positive integer.

    References:
      McMahan, Moore, Ramage, Hampson, Agüera y Arcas, `Communication-efficient learning of deep
      networks from decentralized data <https://arxiv.org/abs/1602.05629>`_, 2017.
    """

    name: ClassVar[str] = "labels"
    homogeneous: ClassVar[bool] = False
    shards_per_worker: int = 2

    def __post_init__(self) -> None:
        at_least("shards_per_worker", self.shards_per_worker, 1)

    def assign(self, labels: Integers, workers: int, seed: int) -> Shards:
        generator = _generator(seed)
        slices = np.array_split(_shuffled_by_class(labels, generator), workers * self.shards_per_worker)
        dealt = generator.permutation(len(slices)).reshape(workers, self.shards_per_worker)
        chosen = [np.concatenate([slices[s] for s in mine]) for mine in dealt]
        return _shards(np.concatenate(chosen), np.array([len(rows) for rows in chosen]))


PARTITIONS: dict[str, type[Homogeneous | Split | Dirichlet | Labels]] = {
    kind.name: kind for kind in (Homogeneous, Split, Dirichlet, Labels)
}


def partition(given: str | Mapping[str, Any] | Partition | None) -> Partition:
    """Returns a partition from its name or from its form in a workload file.

    Args:
      given: "homogeneous", "split", {"name": "dirichlet", "alpha": 0.1},
        {"name": "labels", "shards_per_worker": 2}, a partition, or None for homogeneous.

    Raises:
      InvalidInput: the name or an argument is unknown, missing or out of its range.
    """
    if given is None:
        return Homogeneous()
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping):
        if hasattr(given, "assign"):
            return given
        raise InvalidInput("partition", f"{given!r} is not a partition", "a name, or a mapping with a name")
    arguments = dict(given)
    name = arguments.pop("name", None)
    kind = PARTITIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidInput("partition", f"{name!r} is unknown{nearest(str(name), PARTITIONS)}", ", ".join(PARTITIONS))
    known = [field.name for field in fields(kind)]
    for argument in arguments:
        if argument not in known:
            problem = f"{name!r} has no argument {argument!r}{nearest(str(argument), known)}"
            raise InvalidInput("partition", problem, ", ".join(known) or "no arguments")
    if kind is Dirichlet and "alpha" not in arguments:
        raise InvalidInput("partition.alpha", "it is missing", "a finite number above 0")
    try:
        return kind(**arguments)
    except InvalidInput as error:
        raise error.within("partition") from None


def skew(shards: Shards, labels: Integers) -> float:
    """Returns the mean total-variation distance between a worker's label distribution and that of all rows.

    0 if all workers have the mixture of the whole; near 1 - 1/classes if each has one class
    of equally many; always below 1.
    """
    classes = int(labels.max()) + 1
    counts = np.zeros((len(shards), classes))
    np.add.at(counts, (shards.owners, labels), 1)
    overall = counts.sum(axis=0) / len(labels)
    distances = 0.5 * np.abs(counts / shards.sizes[:, None] - overall).sum(axis=1)
    return float(distances.mean())


def _generator(seed: int) -> np.random.Generator:
    return Stream(seed, "partition").generator()


def _even_sizes(rows: int, workers: int) -> Integers:
    """Returns sizes that differ by at most 1, the larger ones first."""
    least, larger = divmod(rows, workers)
    return least + (np.arange(workers) < larger)


def _shuffled_by_class(labels: Integers, generator: np.random.Generator) -> Integers:
    """Returns the row numbers sorted by label, in random order within a label."""
    shuffled = generator.permutation(len(labels))
    return shuffled[np.argsort(labels[shuffled], kind="stable")]


def _round_within(size: int, proportions: NDArray[np.float64], left: Integers) -> Integers:
    """Returns integers that sum to ``size``, near size * proportions and nowhere above ``left``."""
    counts = np.zeros_like(left)
    while missing := size - int(counts.sum()):
        room = left - counts
        share = np.where(room > 0, proportions, 0.0)
        # The classes that this worker wanted may all be used up: then any that is left.
        share = share if share.sum() > 0 else room.astype(np.float64)
        ideal = missing * share / share.sum()
        added = np.floor(ideal).astype(np.intp)
        largest_remainders = np.argsort(added - ideal, kind="stable")[: missing - int(added.sum())]
        added[largest_remainders] += 1
        counts += np.minimum(added, room)
    return counts


def _shards(order: Integers, sizes: Integers) -> Shards:
    """Returns the shards, or raises if one is empty."""
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        raise DataError(
            f"worker {empty[0]} would have no data: {len(order):,} rows over {len(sizes):,} workers; "
            "use fewer workers, more data, fewer slices per worker or the partition 'homogeneous'"
        )
    return Shards(order.astype(np.intp), np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp))
