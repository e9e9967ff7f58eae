"""Fully connected ReLU layers: their outputs and the gradients of their weights, for one point or a grid of them.

The leading axes of the weights are points; each has its own product, so that it has the same bits alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rayopt.problems.base import Array

# Up to so many rows, a product with each is faster than one with all: BLAS does not copy the weights.
_FEW_ROWS = 6


def forward(A: Array, parameters: Sequence[tuple[Array, Array]]) -> list[Array]:
    """Returns h_0, ..., h_{L-1} and the logits, shapes (..., rows, units)."""
    outputs = [A]
    for layer, (W, w) in enumerate(parameters):
        h = _product(outputs[-1], W)
        h += w[..., None, :]
        if layer < len(parameters) - 1:
            np.maximum(h, 0.0, out=h)
        outputs.append(h)
    return outputs


def _product(A: Array, W: Array) -> Array:
    """Returns A @ W, shape (..., rows, outputs)."""
    if A.shape[-2] > _FEW_ROWS:
        return np.matmul(A, W)
    return np.matmul(A[..., None, :], W[..., None, :, :])[..., 0, :]


def backward(
    outputs: Sequence[Array],
    residual: Array,
    parameters: Sequence[tuple[Array, Array]],
    gradients: Sequence[tuple[Array, Array]],
    add: bool,
) -> None:
    """Writes, or adds, the gradients of the layers.

    Args:
      outputs: h_0, ..., h_{L-1} of some rows.
      residual: the derivative of the loss in the logits, shape (..., rows, classes).
      parameters: W and w of each layer.
      gradients: where theirs go.
      add: whether to what is there.
    """
    for layer in reversed(range(len(parameters))):
        h, (G, bias) = outputs[layer], gradients[layer]
        if add:
            G += np.matmul(h.swapaxes(-1, -2), residual)
            bias += residual.sum(axis=-2)
        else:
            _outer(h, residual, G)
            np.add.reduce(residual, axis=-2, out=bias)
        if layer:
            residual = np.matmul(residual, parameters[layer][0].swapaxes(-1, -2))
            residual *= h > 0


def _outer(h: Array, residual: Array, out: Array) -> None:
    """Writes h' @ residual to ``out``, whose matrices are contiguous."""
    if h.shape[-2] > 1:
        np.matmul(h.swapaxes(-1, -2), residual, out=out)
        return
    # A product of a column and a row is four times faster by np.dot than by np.matmul.
    columns = np.broadcast_to(h, (*out.shape[:-2], 1, h.shape[-1])).reshape(-1, h.shape[-1], 1)
    for matrix, column, row in zip(
        out.reshape(-1, *out.shape[-2:]), columns, residual.reshape(-1, 1, residual.shape[-1]), strict=True
    ):
        np.dot(column, row, out=matrix)
