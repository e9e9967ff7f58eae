"""Addressed randomness: one 64-bit key for every (seed, purpose, worker, task number).

A value that is a function of its key can be drawn late, in a batch, on another
machine or not at all, and nothing else changes. The keys of one worker are the
outputs of a splitmix64 generator whose state is advanced by the task number
(Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15
MASK = 0xFFFFFFFFFFFFFFFF

_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_ULP = 2.0**-53
_FIRST_64, _SECOND_64 = np.uint64(_FIRST), np.uint64(_SECOND)
_GOLDEN_64, _ONE_64 = np.uint64(GOLDEN), np.uint64(1)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix(state: int) -> int:
    """Returns the splitmix64 finaliser of a 64-bit integer."""
    state = ((state ^ (state >> 30)) * _FIRST) & MASK
    state = ((state ^ (state >> 27)) * _SECOND) & MASK
    return state ^ (state >> 31)


def mix_many(states: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns :func:`mix` of every element, bit for bit."""
    mixed = states >> _30
    mixed ^= states
    mixed *= _FIRST_64
    mixed ^= mixed >> _27
    mixed *= _SECOND_64
    mixed ^= mixed >> _31
    return mixed


def subkey(key: int, position: int) -> int:
    """Returns the key of the value at ``position`` among those drawn for ``key``."""
    return mix((key + GOLDEN * (position + 1)) & MASK)


def subkeys(keys: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """Returns :func:`subkey` for the positions 0, ..., count - 1; shape (len(keys), count)."""
    return mix_many(keys[:, None] + _steps(count))


@functools.lru_cache(maxsize=64)
def _steps(count: int) -> NDArray[np.uint64]:
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    steps.setflags(write=False)
    return steps


def uniform(key: int) -> float:
    """Returns a float in the open interval (0, 1), a multiple of 2**-54."""
    return ((key >> 12) + 0.5) * (2.0 * _ULP)


def uniforms(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Returns :func:`uniform` of every element, bit for bit."""
    return ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * (2.0 * _ULP)


UNIFORMS = 2**52
"""How many values :func:`uniform` can take, all equally likely."""


def ordered_uniforms(positions: NDArray[np.integer]) -> NDArray[np.float64]:
    """Returns the values that :func:`uniform` can take, bit for bit; position 0 has the smallest."""
    return uniforms(positions.astype(np.uint64) << np.uint64(12))


def below(key: int, bound: int) -> int:
    """Returns an integer in 0, ..., bound - 1 (bound < 2**40; bias below 2**-12 of one part in bound)."""
    return int((key >> 11) * _ULP * bound)


def all_below(keys: NDArray[np.uint64], bounds: int | NDArray[np.integer]) -> NDArray[np.intp]:
    """Returns :func:`below` of every element, bit for bit; ``bounds`` broadcasts."""
    return ((keys >> np.uint64(11)).astype(np.float64) * _ULP * bounds).astype(np.intp)


def distinct_below(keys: NDArray[np.uint64], bounds: int | NDArray[np.integer]) -> NDArray[np.intp]:
    """Returns distinct integers in 0, ..., bound - 1 for the keys of each row, a uniformly random set of them.

    Floyd's algorithm: the j-th of m is drawn from 0, ..., bound - m + j, and is that largest one
    if it was drawn before (Bentley, Floyd, "A sample of brilliance", 1987).

    Args:
      keys: shape (rows, m).
      bounds: at least m each; one, or shape (rows,).
    """
    size = keys.shape[1]
    largest = np.asarray(bounds).reshape(-1, 1) - size + np.arange(size)
    drawn = all_below(keys, largest + 1)
    for position in range(1, size):
        again = (drawn[:, :position] == drawn[:, position : position + 1]).any(axis=1)
        drawn[:, position] = np.where(again, largest[:, position], drawn[:, position])
    return drawn


class Stream:
    """The keys of one purpose ("sample", "compute", ...) under one seed.

    Args:
      seed: any integer.
      purpose: a word; streams of different purposes are independent.
    """

    def __init__(self, seed: int, purpose: str) -> None:
        self.seed = seed
        self.purpose = purpose
        digest = hashlib.blake2b(f"{purpose}:{seed}".encode(), digest_size=8).digest()
        self._base = int.from_bytes(digest, "little")
        self._workers: dict[int, int] = {}
        self._starts = np.zeros(0, dtype=np.uint64)

    def key(self, worker: int, number: int) -> int:
        """Returns the key of one task of one worker."""
        return mix((self._start(worker) + GOLDEN * (number + 1)) & MASK)

    def keys_of(self, worker: int, first: int, size: int) -> NDArray[np.uint64]:
        """Returns :meth:`key` of a worker's tasks first, ..., first + size - 1, bit for bit; shape (size,)."""
        start = (self._start(worker) + GOLDEN * first) & MASK
        return mix_many(np.uint64(start) + _steps(size))

    def keys(self, workers: NDArray[np.integer], numbers: NDArray[np.integer]) -> NDArray[np.uint64]:
        """Returns :meth:`key` of every pair, bit for bit; shape (m,)."""
        try:
            starts = self._starts[workers]
        except IndexError:
            size = max(int(np.max(workers)) + 1, 2 * len(self._starts))
            self._starts = mix_many(np.uint64(self._base) + _steps(size))
            starts = self._starts[workers]
        states = numbers.astype(np.uint64)
        states += _ONE_64
        states *= _GOLDEN_64
        states += starts
        return mix_many(states)

    def _start(self, worker: int) -> int:
        start = self._workers.get(worker)
        if start is None:
            start = self._workers[worker] = mix((self._base + GOLDEN * (worker + 1)) & MASK)
        return start

    def generator(self) -> np.random.Generator:
        """Returns a generator for draws that have no worker and no task (a method's own, a partition)."""
        return np.random.Generator(np.random.Philox(key=self._base))


class Addressed:
    """One re-addressed Philox generator: long draws that are functions of their key."""

    def __init__(self) -> None:
        self._philox = np.random.Philox(0)
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state

    def __reduce__(self) -> tuple[type[Addressed], tuple[()]]:
        # It has no state of its own, and what comes out of Ray's object store is read-only.
        return type(self), ()

    def generator(self, key: int) -> np.random.Generator:
        """Returns the generator at the begin of what it draws for this key; the next call sets it elsewhere."""
        self._state["state"]["counter"][:] = 0
        self._state["state"]["key"][:] = (key, 0)
        self._state["buffer_pos"] = 4
        self._philox.state = self._state
        return self._generator


class NormalVectors(Addressed):
    """Long standard normal vectors, one for each key."""

    def draw(self, key: int, size: int) -> NDArray[np.float64]:
        """Returns the vector of this key, shape (size,)."""
        return self.generator(key).standard_normal(size)


class Permutations(Addressed):
    """Random permutations and subsets, one for each key."""

    def draw(self, key: int, size: int) -> NDArray[np.intp]:
        """Returns the permutation of 0, ..., size - 1 of this key, shape (size,)."""
        return self.generator(key).permutation(size)

    def subset(self, key: int, size: int, count: int) -> NDArray[np.intp]:
        """Returns a uniformly random set of ``count`` of 0, ..., size - 1, in no order, shape (count,)."""
        return self.generator(key).choice(size, count, replace=False, shuffle=False)
