"""Losses of PyTorch: by name, as modules or functions; what their targets are, and the loss of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, nearest
from rayopt.core.user_code import declared_return, imported

if TYPE_CHECKING:
    import torch

Loss = str | Callable[..., Any]

LOSSES = ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy_with_logits")


def loss_of(given: Any) -> Callable[..., Any]:
    """Returns the loss that is given or named as "package.module:name", or raises InvalidInput."""
    import torch

    if isinstance(given, str) and ":" not in given:
        allowed = f"{', '.join(LOSSES)}, or package.module:name"
        raise InvalidInput("loss", f"{given!r} is unknown{nearest(given, LOSSES)}", allowed)
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

    if is_of_numbers(loss) and outputs.shape != targets.shape:
        if [side for side in outputs.shape if side != 1] != [side for side in targets.shape if side != 1]:
            name = loss if isinstance(loss, str) else type(loss).__name__
            problem = f"{name} of outputs of shape {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
            raise InvalidInput("loss", problem, "an output for each target")
        # They would be paired each with each.
        targets = targets.reshape(outputs.shape)
    if isinstance(loss, str):
        losses: torch.Tensor = getattr(torch.nn.functional, loss)(outputs, targets, reduction="none")
    else:
        losses = loss(outputs, targets)
    if losses.ndim == 2 and len(losses) == losses.shape[1] == len(targets) == outputs.numel() > 1:
        problem = f"it pairs outputs of shape {tuple(outputs.shape)} with targets {tuple(targets.shape)} each with each"
        raise InvalidInput("loss", problem, "the loss of each row, such as one of outputs.squeeze(-1)")
    if losses.ndim > 1:
        losses = losses.reshape(len(losses), -1).mean(dim=1)
    if losses.shape != targets.shape[:1]:
        problem = f"it returned shape {tuple(losses.shape)} for {len(targets)} rows"
        raise InvalidInput("loss", problem, 'the loss of each row, shape (rows,): reduction="none"')
    return losses


def is_of_numbers(loss: Loss) -> bool:
    """Whether outputs and targets are compared number by number."""
    return _is(loss, ("mse_loss", "l1_loss"), ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")) or _is_of_two(loss)


def takes_labels(loss: Loss, y: NDArray[Any]) -> bool:
    """Whether targets are labels, which may have any values, and not what the loss itself reads."""
    if y.ndim > 1:
        return False
    if y.dtype.kind in "OUS":
        return not is_of_numbers(loss) or _is_of_two(loss)
    # A share between 0 and 1 is a target of two classes too.
    return _is_of_classes(loss) or (_is_of_two(loss) and (y.dtype.kind != "f" or y.min() < 0 or y.max() > 1))


def ignored(loss: Loss, y: NDArray[Any], y_test: NDArray[Any] | None) -> int | None:
    """Returns the label that the loss ignores if some row has it."""
    index = None if isinstance(loss, str) or not _is_of_classes(loss) else loss.ignore_index  # type: ignore[attr-defined]
    found = (targets.dtype.kind == "i" and index in targets for targets in (y, y_test) if targets is not None)
    return index if any(found) else None


def most_classes(loss: Loss, outputs: int | None) -> int | None:
    """Returns how many classes there may be with so many outputs of a row; None if it is not known."""
    return outputs if _is_of_classes(loss) else 2 if _is_of_two(loss) else None


def _is_of_classes(loss: Loss) -> bool:
    return _is(loss, ("cross_entropy", "nll_loss"), ("CrossEntropyLoss", "NLLLoss"))


def _is_of_two(loss: Loss) -> bool:
    return _is(loss, ("binary_cross_entropy_with_logits",), ("BCEWithLogitsLoss", "BCELoss"))


def _is(loss: Loss, names: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether a loss is one of these functions by name, or a module of one of these classes of PyTorch."""
    if isinstance(loss, str):
        return loss in names
    import torch

    # A class derived from one of them may read its targets in a way of its own.
    return type(loss) in [getattr(torch.nn, kind) for kind in kinds]
