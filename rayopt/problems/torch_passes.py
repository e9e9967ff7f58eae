"""Gradients of a PyTorch module at many points in one pass, in training mode as in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch


class Draw(NamedTuple):
    """What one call of dropout draws.

    Attributes:
      share: of what is dropped.
      size: of its input.
      stride: of its input, in whose memory it draws.
      dtype: of its input.
    """

    share: float
    size: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype

    def mask(self, device: torch.device) -> torch.Tensor:
        """Returns what the call multiplies by, drawn anew."""
        import torch

        ones = torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=device).fill_(1)
        return torch.nn.functional.dropout(ones, self.share)


class ManyPasses:
    """Passes through one module at many points, each with its own rows and buffers, as one pass of ``torch.func``.

    In training mode dropout multiplies by what it would draw for each point alone, drawn beforehand.

    Args:
      module: in the mode of the passes; it belongs to them alone, as what a pass leaves in it is of no use elsewhere.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        import torch

        self._module = module
        self._dropouts = [layer for layer in module.modules() if type(layer) is torch.nn.Dropout and layer.training]
        self._buffers = dict(module.named_buffers()) if module.training else {}
        names = {id(value): name for name, value in self._buffers.items()}
        layers = normalisations(module) if module.training else []
        self._statistics = [names.get(id(part), "") for part in running_statistics(layers)]
        counters = [getattr(layer, "num_batches_tracked", None) for layer in layers]
        self._known = {*self._statistics, *(names.get(id(counter)) for counter in counters)}
        self._draws: dict[torch.Size, list[Draw]] = {}
        self._refusal = "" if all(self._statistics) else "a running statistic is not a buffer"
        seen: set[int] = set()
        for layer in (layer for _, layer in module.named_modules(remove_duplicate=False)):
            # PyTorch puts back the tensors of a layer once for each of its names.
            if id(layer) in seen and (layer._parameters or layer._buffers):
                self._refusal = "a layer with tensors has two names"
            seen.add(id(layer))

    def gradients(
        self,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        parameters: dict[str, torch.Tensor],
        inputs: torch.Tensor,
        targets: torch.Tensor,
        masks: Sequence[torch.Tensor] = (),
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Returns the gradients of K points by parameter, and in training mode their running statistics.

        Args:
          loss: of (outputs, targets), a scalar.
          parameters: stacked on the first axis, by name.
          inputs: of each point, stacked.
          targets: of each point, stacked.
          masks: of :meth:`masks`.

        Raises:
          RuntimeError: the module cannot be evaluated so.
        """
        from torch.func import functional_call, grad, vmap

        def total(parameters: Any, buffers: Any, masks: Any, inputs: torch.Tensor, targets: torch.Tensor) -> Any:
            values = parameters | buffers
            with self._masked(masks):
                outputs = functional_call(self._module, values, (inputs,))
            # Buffers that a module replaces are written back.
            return loss(outputs, targets), {name: values[name] for name in buffers}

        if self._refusal:
            raise RuntimeError(self._refusal)
        buffers = {name: value.expand(len(inputs), *value.shape).clone() for name, value in self._buffers.items()}
        before = self._attributes()
        parts, after = vmap(grad(total, has_aux=True))(parameters, buffers, list(masks), inputs, targets)
        if not all(map(_is_same, before, self._attributes())):
            raise RuntimeError("a layer changes its attributes")
        for name in after.keys() - self._known:
            found, first = after[name], self._buffers[name]
            if not ((found == first) | ((found != found) & (first != first))).all():
                raise RuntimeError(f"it changes its buffer {name}")
        return list(parts.values()), [after[name] for name in self._statistics]

    def _attributes(self) -> list[Any]:
        """Returns the attributes of all layers; none in evaluation mode, where a pass leaves nothing for the next."""
        layers = self._module.modules() if self._module.training else ()
        return [value for layer in layers for value in vars(layer).values()]

    # ---- dropout ----

    def masks(
        self, keys: Sequence[int], inputs: torch.Tensor, seeded: Callable[[int], AbstractContextManager[None]]
    ) -> list[torch.Tensor]:
        """Returns what each call of dropout multiplies by in the passes of these keys, stacked over the keys.

        Args:
          keys: K of them.
          inputs: of one of the passes; all have this shape.
          seeded: makes the draws within those of a key.
        """
        import torch

        if not self._dropouts:
            return []
        if inputs.shape not in self._draws:
            with seeded(keys[0]):
                # A layer may work in the memory of its input.
                self._draws[inputs.shape] = self._draws_of(inputs.clone())
        found = []
        for key in keys:
            with seeded(key):
                found.append([draw.mask(inputs.device) for draw in self._draws[inputs.shape]])
        return [torch.stack(calls) for calls in zip(*found, strict=True)]

    def _draws_of(self, inputs: torch.Tensor) -> list[Draw]:
        """Returns the draws of one pass, in order."""
        import torch

        found = []

        def note(layer: Any, input: torch.Tensor) -> torch.Tensor:
            found.append(Draw(layer.p, input.shape, input.stride(), input.dtype))
            return torch.nn.functional.dropout(input, layer.p, True, layer.inplace)

        with self._replaced(note), torch.no_grad():
            self._module(inputs)
        return found

    @contextmanager
    def _masked(self, masks: Sequence[torch.Tensor]) -> Iterator[None]:
        """Dropout multiplies by these, one for each call, in place of what it draws."""
        left = list(masks)[::-1]

        def multiply(layer: Any, input: torch.Tensor) -> torch.Tensor:
            if not left or left[-1].shape != input.shape:
                raise RuntimeError("calls of dropout differ between passes")
            return input.mul_(left.pop()) if layer.inplace else input * left.pop()

        with self._replaced(multiply):
            yield
        if left:
            raise RuntimeError("calls of dropout differ between passes")

    @contextmanager
    def _replaced(self, forward: Callable[[Any, torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Layers of dropout do something else."""
        for layer in self._dropouts:
            vars(layer)["forward"] = lambda input, layer=layer: forward(layer, input)
        try:
            yield
        finally:
            for layer in self._dropouts:
                del vars(layer)["forward"]


def _is_same(one: Any, other: Any) -> bool:
    """Whether an attribute is what it was: the same object, or an equal number, text or size."""
    return one is other or (isinstance(one, (int, float, str, tuple)) and type(one) is type(other) and one == other)


def normalisations(module: torch.nn.Module) -> list[Any]:
    """Returns the layers of a module with running statistics."""
    return [layer for layer in module.modules() if getattr(layer, "running_mean", None) is not None]


def running_statistics(layers: Iterable[Any]) -> list[torch.Tensor]:
    """Returns the running statistics of such layers, in order."""
    return [part for layer in layers for part in (layer.running_mean, layer.running_var)]
