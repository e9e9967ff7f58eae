"""Random sparsification: a few coordinates, chosen by a seed that the server shares, so that indices are free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from rayopt.compression.base import Array, Compressor, at_most_dimension, index_bits, rows_of
from rayopt.compression.packing import pack, unpack
from rayopt.core.errors import at_least, share
from rayopt.core.keys import Permutations, all_below, below, subkey, subkeys, uniform, uniforms
from rayopt.core.tasks import FLOAT_BITS

SAMPLE_EVERY = 64
"""One of so many numbers tells which ones may be the largest."""


class Sparsifier(Compressor):
    """A compressor that keeps coordinates of a support which its key tells, times a scale."""

    def support(self, key: int, dimension: int) -> NDArray[np.intp]:
        """Returns the coordinates that are kept, distinct, shape (kept,)."""
        raise NotImplementedError

    def scale(self, dimension: int) -> float:
        """Returns by what kept coordinates are multiplied."""
        raise NotImplementedError

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        return int(float_bits * self.floats(dimension))

    def part(self, key: int, dimension: int) -> tuple[NDArray[np.intp], float]:
        """Returns the support and its scale."""
        return self.support(key, dimension), self.scale(dimension)

    def compress(self, x: Array, key: int) -> Array:
        kept, scale = self.part(key, x.shape[-1])
        found = np.zeros(x.shape)
        found[..., kept] = x[..., kept] * scale
        return found

    def sum(self, x: Array, key: int, messages: Sequence[int] | NDArray[np.integer]) -> Array:
        """Returns the sum of messages: one scatter-add of all their supports."""
        dimension = x.shape[-1]
        kept = np.concatenate([self.support(self.key_of(key, int(message)), dimension) for message in messages])
        return x * (np.bincount(kept, minlength=dimension) * self.scale(dimension))

    def encode(self, x: Array, key: int) -> bytes:
        return np.ascontiguousarray(x[..., self.support(key, x.shape[-1])]).tobytes()

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        kept, scale = self.part(key, shape[-1])
        found = np.zeros(shape)
        found[..., kept] = np.frombuffer(message, dtype=dtype).reshape(*shape[:-1], len(kept)) * scale
        return found


class OfK(Compressor):
    """A compressor that keeps k coordinates.

    Args:
      k: how many coordinates are kept, from 1 to d.

    Raises:
      InvalidInput: k is not an integer of at least 1.
    """

    def __init__(self, k: int) -> None:
        self.k = at_least("compressor.k", k, 1)

    def floats(self, dimension: int) -> float:
        self.check(dimension)
        return float(self.k)

    def check(self, dimension: int) -> None:
        at_most_dimension("k", self.k, dimension)


class UniformK(OfK, Sparsifier):
    """A sparsifier whose support is a uniform subset of k coordinates."""

    def support(self, key: int, dimension: int) -> NDArray[np.intp]:
        if self.k == 1:
            return np.array([below(subkey(key, 0), dimension)])
        return _PERMUTATIONS.subset(key, dimension, self.k)

    def sum(self, x: Array, key: int, messages: Sequence[int] | NDArray[np.integer]) -> Array:
        if self.k > 1:
            return super().sum(x, key, messages)
        # The supports of all messages in one call.
        dimension = x.shape[-1]
        keys = subkeys(np.array([key], dtype=np.uint64), int(np.max(messages)) + 1)[0][np.asarray(messages)]
        kept = all_below(subkeys(keys, 1)[:, 0], dimension)
        return x * (np.bincount(kept, minlength=dimension) * self.scale(dimension))


class RandK(UniformK):
    """RandK: k coordinates, a uniform subset, times d / k; omega = d / k - 1 [talk][code].

    Args:
      k: how many coordinates are kept, from 1 to d.

    Raises:
      InvalidInput: k is not an integer of at least 1.

    Examples:
      >>> RandK(1).omega(10), RandK(2).floats(10)
      (9.0, 2.0)
    """

    name: ClassVar[str] = "rand_k"
    paper: ClassVar[str] = "Stich, Cordonnier & Jaggi 2018, arXiv 1809.07599"

    def omega(self, dimension: int) -> float:
        self.check(dimension)
        return dimension / self.k - 1

    def scale(self, dimension: int) -> float:
        return dimension / self.k


class ScaledRandK(UniformK):
    """RandK without the factor d / k: biased and contractive, alpha = k / d [code].

    Args:
      k: how many coordinates are kept, from 1 to d.
    """

    name: ClassVar[str] = "scaled_rand_k"
    paper: ClassVar[str] = RandK.paper
    unbiased: ClassVar[bool] = False

    def alpha(self, dimension: int) -> float:
        self.check(dimension)
        return self.k / dimension

    def scale(self, dimension: int) -> float:
        return 1.0


class RandKStream(OfK, Sparsifier):
    """RandK without replacement: the messages of one value are blocks of one random permutation [derived].

    There are J = ceil(d / k) blocks of at most k coordinates; message j has block j mod J, times J. The mean of m
    messages has omega / m of RandK replaced by max(J / m - 1, 0): J messages bring the value exactly.

    Args:
      k: how many coordinates are kept at most, from 1 to d.

    Raises:
      InvalidInput: k is not an integer of at least 1.
    """

    name: ClassVar[str] = "rand_k_stream"

    def omega(self, dimension: int) -> float:
        return float(self._parts(dimension) - 1)

    def omega_of_mean(self, dimension: int, messages: Any) -> Any:
        """Returns max(J / m - 1, 0), the omega of the mean of m messages of one value; m is a number or an array."""
        return np.maximum(self._parts(dimension) / messages - 1, 0.0)

    def floats(self, dimension: int) -> float:
        return float(-(-dimension // self._parts(dimension)))

    def _parts(self, dimension: int) -> int:
        self.check(dimension)
        return -(-dimension // self.k)

    def key_of(self, key: int, message: int) -> int:
        # Of the task and the message both: blocks of one permutation know where they stand in it.
        return key << MESSAGE_BITS | message

    def support(self, key: int, dimension: int) -> NDArray[np.intp]:
        parts = self._parts(dimension)
        return block(key >> MESSAGE_BITS, (key & MESSAGE_MASK) % parts, parts, dimension)

    def scale(self, dimension: int) -> float:
        return float(self._parts(dimension))

    def sum(self, x: Array, key: int, messages: Sequence[int] | NDArray[np.integer]) -> Array:
        """Returns the sum of messages: the blocks of one permutation, drawn once."""
        dimension = x.shape[-1]
        parts = self._parts(dimension)
        places = np.asarray(messages) % parts
        counts = np.bincount(places, minlength=parts)
        edges, order, of_message = blocks(key, parts, dimension)
        times = np.empty(dimension)
        times[order] = np.repeat(counts[np.argsort(of_message)], np.diff(edges))
        return x * (times * parts)


class BernoulliSampling(Sparsifier):
    """Bernoulli sampling: every coordinate is kept with probability p, independently, times 1 / p; omega = 1 / p - 1.

    With p = 1 / n it is the coordinate sampling of n workers without their concert [code].

    Args:
      probability: p in (0, 1].

    Raises:
      InvalidInput: p is not a number in (0, 1].
    """

    name: ClassVar[str] = "bernoulli"

    def __init__(self, probability: float) -> None:
        self.probability = share("compressor.probability", probability)

    def omega(self, dimension: int) -> float:
        return 1 / self.probability - 1

    def floats(self, dimension: int) -> float:
        """Returns the expected number of floats."""
        return self.probability * dimension

    def support(self, key: int, dimension: int) -> NDArray[np.intp]:
        keys = subkeys(np.array([key], dtype=np.uint64), dimension)[0]
        return np.flatnonzero(uniforms(keys) < self.probability)

    def scale(self, dimension: int) -> float:
        return 1 / self.probability


class PermK(Sparsifier):
    """PermK: one random permutation for all n workers, of which worker i keeps block i, times n.

    The mean over the workers is the vector exactly; one worker alone has omega = n - 1 [code]. With fewer coordinates
    than workers (d < n), each coordinate is given to as many workers as the others, up to one, and workers with none
    are dealt anew each time [code: n a multiple of d; derived for others]: the scale is n over the number of the
    coordinate's workers.

    Args:
      workers: n; as many as coordinates by default.
      worker: whose block; by default the one that the key chooses.

    Raises:
      InvalidInput: a number is out of its range.
    """

    name: ClassVar[str] = "perm_k"
    paper: ClassVar[str] = "Szlendak, Tyurin & Richtarik 2021, arXiv 2110.03300"
    common: ClassVar[bool] = True

    def __init__(self, workers: int | None = None, worker: int | None = None) -> None:
        self.workers = None if workers is None else at_least("compressor.workers", workers, 1)
        self.worker = None if worker is None else at_least("compressor.worker", worker, 0)

    def of(self, worker: int, workers: int) -> PermK:
        return PermK(workers, worker)

    def omega(self, dimension: int) -> float:
        n = self.workers or dimension
        return float(n - 1) if dimension >= n else n / (n // dimension) - 1

    def floats(self, dimension: int) -> float:
        """Returns the largest number of floats of a worker, ceil(d / n)."""
        return float(-(-dimension // (self.workers or dimension)))

    def part(self, key: int, dimension: int) -> tuple[NDArray[np.intp], float]:
        n = self.workers or dimension
        worker = below(subkey(key, 2), n) if self.worker is None else self.worker
        if dimension >= n:
            return block(key, worker, n, dimension), float(n)
        coordinate = int(_PERMUTATIONS.draw(key, n)[worker]) % dimension
        sharers = n // dimension + (coordinate < n % dimension)
        return np.array([coordinate]), n / sharers

    def support(self, key: int, dimension: int) -> NDArray[np.intp]:
        return self.part(key, dimension)[0]

    def sum(self, x: Array, key: int, messages: Sequence[int] | NDArray[np.integer]) -> Array:
        # The scales of messages may differ.
        return Compressor.sum(self, x, key, messages)


class TopK(OfK):
    """TopK: the k coordinates of largest magnitude; biased, alpha = k / d [code]. Indices are sent.

    Args:
      k: how many coordinates are kept, from 1 to d.

    Raises:
      InvalidInput: k is not an integer of at least 1.

    Examples:
      >>> TopK(2).compress(np.array([1.0, -3.0, 2.0]), key=0).tolist()
      [0.0, -3.0, 2.0]
    """

    name: ClassVar[str] = "top_k"
    paper: ClassVar[str] = "Alistarh et al. 2018, arXiv 1809.10505"
    unbiased: ClassVar[bool] = False

    def alpha(self, dimension: int) -> float:
        self.check(dimension)
        return self.k / dimension

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        """Returns k floats and k indices of ceil(log2 d) bits."""
        self.check(dimension)
        return self.k * (float_bits + index_bits(dimension))

    def _largest(self, x: Array) -> NDArray[np.intp]:
        """Returns the coordinates that each row keeps, ascending, shape (G, k)."""
        rows = rows_of(x)
        if self.k == x.shape[-1]:
            return np.broadcast_to(np.arange(self.k), (len(rows), self.k))
        return np.stack([_largest_of(np.abs(row), self.k) for row in rows])

    def compress(self, x: Array, key: int) -> Array:
        kept, rows = self._largest(x), rows_of(x)
        found = np.zeros(rows.shape)
        np.put_along_axis(found, kept, np.take_along_axis(rows, kept, axis=1), axis=1)
        return found.reshape(x.shape)

    def encode(self, x: Array, key: int) -> bytes:
        kept = self._largest(x)
        values = np.take_along_axis(rows_of(x), kept, axis=1)
        return values.tobytes() + pack(kept.reshape(-1), index_bits(x.shape[-1]))

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        found = np.zeros(shape)
        rows = rows_of(found)
        count = len(rows) * self.k
        values = np.frombuffer(message, dtype=dtype, count=count).reshape(len(rows), self.k)
        kept = unpack(message[values.nbytes :], index_bits(shape[-1]), count).reshape(len(rows), self.k)
        np.put_along_axis(rows, kept.astype(np.intp), values, axis=1)
        return found


class UnbiasedTop1(Compressor):
    """Unbiased Top-1: coordinate j with probability |v_j| / ||v||_1, as sign(v_j) ||v||_1; omega = d - 1 [code].

    The index is sent, for it depends on the vector.
    """

    name: ClassVar[str] = "unbiased_top_1"

    def omega(self, dimension: int) -> float:
        return float(dimension - 1)

    def floats(self, dimension: int) -> float:
        return 1.0

    def bits(self, dimension: int, float_bits: int = FLOAT_BITS) -> int:
        return float_bits + index_bits(dimension)

    def _chosen(self, x: Array, key: int) -> tuple[NDArray[np.intp], Array]:
        """Returns of each row the coordinate and its value, shapes (G,)."""
        rows = rows_of(x)
        cumulative = np.cumsum(np.abs(rows), axis=1)
        wanted = uniform(subkey(key, 0)) * cumulative[:, -1]
        kept = np.array(
            [np.searchsorted(row, goal, side="right") for row, goal in zip(cumulative, wanted, strict=True)]
        )
        kept = np.minimum(kept, x.shape[-1] - 1)
        return kept, np.sign(rows[np.arange(len(rows)), kept]) * cumulative[:, -1]

    def compress(self, x: Array, key: int) -> Array:
        kept, values = self._chosen(x, key)
        found = np.zeros(x.shape)
        rows_of(found)[np.arange(len(kept)), kept] = values
        return found

    def encode(self, x: Array, key: int) -> bytes:
        kept, values = self._chosen(x, key)
        return values.tobytes() + pack(kept, index_bits(x.shape[-1]))

    def decode(self, message: bytes, key: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        found = np.zeros(shape)
        rows = rows_of(found)
        values = np.frombuffer(message, dtype=dtype, count=len(rows))
        kept = unpack(message[values.nbytes :], index_bits(shape[-1]), len(rows))
        rows[np.arange(len(rows)), kept.astype(np.intp)] = values
        return found


_PERMUTATIONS = Permutations()
MESSAGE_BITS = 32
MESSAGE_MASK = 2**MESSAGE_BITS - 1


def blocks(key: int, parts: int, dimension: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Returns a random permutation of the coordinates, cut into parts whose sizes differ by one at most.

    Which are the longer ones is random too, so that a coordinate is in each part with the same probability.

    Returns:
      the edges of the blocks, shape (parts + 1,), the order of the coordinates, shape (dimension,), and which block
      each part has, shape (parts,).
    """
    edges = np.arange(parts + 1) * dimension // parts
    return edges, _PERMUTATIONS.draw(subkey(key, 0), dimension), _PERMUTATIONS.draw(subkey(key, 1), parts)


def block(key: int, part: int, parts: int, dimension: int) -> NDArray[np.intp]:
    """Returns the coordinates of one part of :func:`blocks`."""
    edges, order, of_part = blocks(key, parts, dimension)
    place = int(of_part[part])
    return order[edges[place] : edges[place + 1]]


def _largest_of(sizes: Array, k: int) -> NDArray[np.intp]:
    """Returns the indices of the k largest of some numbers, ascending; of equal ones the first.

    A sample tells a bound that most are below; a partition of the numbers that are left is several times as quick as
    one of all indices.
    """
    candidates = _likely_largest(sizes, k)
    left = sizes if candidates is None else sizes[candidates]
    least = np.partition(left, len(left) - k)[len(left) - k]
    kept = np.flatnonzero(left > least)
    equal = np.flatnonzero(left == least)[: k - len(kept)]
    if len(kept) + len(equal) < k:
        # Not numbers: a method that has diverged.
        return np.sort(np.argpartition(sizes, -k)[-k:])
    found = np.sort(np.concatenate([kept, equal]))
    return found if candidates is None else candidates[found]


def _likely_largest(sizes: Array, k: int) -> NDArray[np.intp] | None:
    """Returns indices, ascending, among which the k largest are; None if it is not worth it to look."""
    rank = 2 * k // SAMPLE_EVERY + SAMPLE_EVERY
    sample = sizes[::SAMPLE_EVERY]
    if 4 * rank > len(sample):
        return None
    found = np.flatnonzero(sizes >= np.partition(sample, len(sample) - rank)[len(sample) - rank])
    return found if k <= len(found) <= len(sizes) // 2 else None
