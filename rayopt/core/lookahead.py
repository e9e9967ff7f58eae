"""Addressed values of one worker after the other, drawn a few tasks ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

BLOCK = 32


class Lookahead:
    """What is addressed by (worker, task number), drawn in blocks: one vectorised call serves many tasks.

    A block is drawn when a worker's task numbers come one after the other, a single value when they jump, so
    that little is drawn in vain for workers whose tasks are cancelled or ignored.

    Args:
      workers: how many there are.
      draw: called with (worker, first number, how many); returns that many values.
      block: how many are drawn at once; 1 for values that depend on when they are asked for.
    """

    def __init__(self, workers: int, draw: Callable[[int, int, int], Sequence[Any]], block: int = BLOCK) -> None:
        self._draw = draw
        self._size = block
        self._first = [0] * workers
        self._blocks: list[Sequence[Any]] = [()] * workers

    def get(self, worker: int, number: int) -> Any:
        """Returns the value of one task."""
        block = self._blocks[worker]
        position = number - self._first[worker]
        if 0 <= position < len(block):
            return block[position]
        size = self._size if position == len(block) > 0 else 1
        self._first[worker] = number
        self._blocks[worker] = block = self._draw(worker, number, size)
        return block[0]
