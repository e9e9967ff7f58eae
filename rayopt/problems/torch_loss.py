"""Losses of PyTorch: by name, as modules or functions; what their targets are, and the loss of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput
from rayopt.core.user_code import declared_return, imported

if TYPE_CHECKING:
    import torch

Loss = str | Callable[..., Any]

LOSSES = ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy_with_logits")
OF_NUMBERS = ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits")
"""Those that compare outputs and targets number by number."""


def loss_of(given: Any) -> Callable[..., Any]:
    """Returns the loss that is given or named as "package.module:name", or raises InvalidInput."""
    import torch

    found = imported("loss", given)
    if not callable(found):
        raise InvalidInput("loss", f"{given!r} is not a loss", f"{', '.join(LOSSES)}, or a function")
    if isinstance(given, str) and not isinstance(found, torch.nn.Module) and not declared_return(found, torch.Tensor):
        allowed = "a torch.nn.Module, or a function annotated `-> torch.Tensor`"
        raise InvalidInput("loss", f"{given!r} does not say that it returns a tensor", allowed)
    return found


def of_rows(loss: Loss, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the loss of each row, shape (rows,).

    Raises:
      InvalidInput: outputs and targets do not fit together, or it returns something else.
    """
    import torch

    if loss in OF_NUMBERS and outputs.shape != targets.shape:
        if outputs.numel() != targets.numel():
            problem = f"{loss} of outputs of shape {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
            raise InvalidInput("loss", problem, "an output for each target")
        # They would be paired each with each.
        targets = targets.reshape(outputs.shape)
    if isinstance(loss, str):
        losses: torch.Tensor = getattr(torch.nn.functional, loss)(outputs, targets, reduction="none")
    else:
        losses = loss(outputs, targets)
    if losses.ndim > 1:
        losses = losses.reshape(len(losses), -1).mean(dim=1)
    if losses.shape != targets.shape[:1]:
        problem = f"it returned shape {tuple(losses.shape)} for {len(targets)} rows"
        raise InvalidInput("loss", problem, 'the loss of each row, shape (rows,): reduction="none"')
    return losses


def takes_labels(loss: Loss, y: NDArray[Any]) -> bool:
    """Whether targets of shape (rows,) are labels, which may have any values, and not what the loss itself reads."""
    if y.ndim > 1:
        return False
    # A share between 0 and 1 is a target of two classes too.
    return y.dtype.kind in "OUS" or _is_of_classes(loss) or (y.dtype.kind != "f" and _is_of_two(loss))


def most_classes(loss: Loss, outputs: int | None) -> int | None:
    """Returns how many classes there may be with so many outputs of a row; None if it is not known."""
    return outputs if _is_of_classes(loss) else 2 if _is_of_two(loss) else None


def _is_of_classes(loss: Loss) -> bool:
    import torch

    return loss in ("cross_entropy", "nll_loss") or isinstance(loss, (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss))


def _is_of_two(loss: Loss) -> bool:
    import torch

    kinds = (torch.nn.BCEWithLogitsLoss, torch.nn.BCELoss)
    return loss == "binary_cross_entropy_with_logits" or isinstance(loss, kinds)
