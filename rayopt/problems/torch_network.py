"""A PyTorch module as a function of the flat vector of its trainable parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.core.user_code import declared_return, dotted, imported
from rayopt.problems.base import Array

if TYPE_CHECKING:
    import torch

LOSSES = ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "binary_cross_entropy_with_logits")


class TorchNetwork:
    """A module that is made where it is used: what travels is its factory, not its parameters.

    Args:
      factory: makes the module.
      arguments: keyword arguments of the factory.
      seed: of its initial parameters.
      dtype: "float64" or "float32".

    Attributes:
      dimension: number of trainable parameters.

    Raises:
      InvalidInput: the factory cannot be called so, or makes no module with trainable parameters.
    """

    def __init__(self, factory: Callable[..., Any], arguments: Mapping[str, Any], seed: int, dtype: str) -> None:
        self._factory = factory
        self._arguments = arguments
        self._seed = seed
        self._dtype = dtype
        trainable = [(name, p) for name, p in self._module.named_parameters() if p.requires_grad]
        self._layout = [(name, tuple(p.shape), p.numel()) for name, p in trainable]
        self.dimension = sum(size for _, _, size in self._layout)
        if not self.dimension:
            raise InvalidInput("module", f"{dotted(factory)} has no trainable parameter", "a module with some")

    def __getstate__(self) -> dict[str, Any]:
        # Thousands of shards would carry as many copies.
        return {key: value for key, value in self.__dict__.items() if key != "_module"}

    @cached_property
    def _module(self) -> torch.nn.Module:
        """The module as the factory makes it under the seed, in evaluation mode."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            try:
                made = self._factory(**self._arguments)
            except TypeError as error:
                problem = f"{dotted(self._factory)} cannot be called with {dict(self._arguments)} ({error})"
                raise InvalidInput("module_arguments", problem, "the keyword arguments of the factory") from error
        if not isinstance(made, torch.nn.Module):
            problem = f"{dotted(self._factory)} returned {type(made).__name__}"
            raise InvalidInput("module", problem, "a factory of a torch.nn.Module")
        return made.to(dtype=getattr(torch, self._dtype)).eval()

    @property
    def shapes(self) -> list[list[int]]:
        """The shapes of the trainable parameters, in order."""
        return [list(shape) for _, shape, _ in self._layout]

    def start_point(self) -> Array:
        """Returns the parameters as the factory makes them, shape (dimension,)."""
        values = dict(self._module.named_parameters())
        parts = [values[name].detach().numpy().astype(np.float64).reshape(-1) for name, _, _ in self._layout]
        return np.concatenate(parts)

    def leaves(self, x: Array, gradient: bool) -> dict[str, torch.Tensor]:
        """Returns the parameters at one point by name, as leaves of a new graph.

        Args:
          x: shape (dimension,).
          gradient: whether derivatives in them will be asked.
        """
        import torch

        flat = torch.from_numpy(x if x.flags.writeable else x.copy()).to(getattr(torch, self._dtype))
        found, start = {}, 0
        for name, shape, size in self._layout:
            found[name] = flat[start : start + size].view(shape).detach().requires_grad_(gradient)
            start += size
        return found

    def outputs(self, parameters: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        """Returns the module's outputs for a batch of inputs."""
        from torch.func import functional_call

        return functional_call(self._module, parameters, (inputs,))


def require_torch() -> None:
    """Raises InvalidInput if PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InvalidInput("name", f"'torch' needs PyTorch ({error})", "pip install 'rayopt[torch]'") from error


def factory_of(given: Any) -> Callable[..., Any]:
    """Returns the factory that is given or named, or raises InvalidInput.

    What a file names gets its arguments from the file too: it is called only if it says that it makes a module.
    """
    import torch

    found = imported("module", given)
    if isinstance(found, torch.nn.Module) or not callable(found):
        problem = f"{type(found).__name__} is not a factory"
        raise InvalidInput("module", problem, "a class or function that makes a torch.nn.Module, or its dotted name")
    is_class = isinstance(found, type) and issubclass(found, torch.nn.Module)
    if isinstance(given, str) and not is_class and not declared_return(found, torch.nn.Module):
        allowed = "a class derived from torch.nn.Module, or a function annotated `-> torch.nn.Module`"
        raise InvalidInput("module", f"{given!r} does not say that it makes a module", allowed)
    return found


def loss_of(given: Any) -> Callable[..., Any]:
    """Returns the loss that is given or named as "package.module:name", or raises InvalidInput."""
    import torch

    found = imported("loss", given)
    if not callable(found):
        raise InvalidInput("loss", f"{given!r} is no loss", f"{', '.join(LOSSES)}, or a function")
    if isinstance(given, str) and not isinstance(found, torch.nn.Module) and not declared_return(found, torch.Tensor):
        allowed = "a torch.nn.Module, or a function annotated `-> torch.Tensor`"
        raise InvalidInput("loss", f"{given!r} does not say that it returns a tensor", allowed)
    return found


@contextmanager
def single_thread() -> Iterator[None]:
    """PyTorch on one thread: the same bits for the same x, and no quarrel between workers of one machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
