"""A PyTorch module as a function of the flat vector of its trainable parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rayopt.core.errors import InvalidInput
from rayopt.core.user_code import declared_return, described, dotted, imported
from rayopt.problems.base import Array
from rayopt.problems.torch_passes import ManyPasses, normalisations, running_statistics

if TYPE_CHECKING:
    import torch

MADE_HERE = ("device", "_module", "_parameters", "_buffer", "_stack", "_normalisations", "_statistics", "_momenta",
             "_one", "_start", "_first_statistics", "many")  # fmt: skip
"""What a process makes for itself."""
MODES = ("eval", "train")
BUFFERS = ("average", "local", "frozen")


class TorchNetwork:
    """A module that is made where it is used: what travels is its factory, not its parameters.

    Args:
      factory: makes the module.
      arguments: keyword arguments of the factory.
      seed: of its initial parameters.
      dtype: "float64" or "float32".
      device: as PyTorch names it, or "auto".
      mode: "eval", or "train": while gradients are computed.
      buffers: with "train", what becomes of running statistics (see ``rayopt.problems.TorchProblem``).

    Attributes:
      dimension: number of trainable parameters.
      statistics_size: number of running statistics that gradients bring; 0 if none.

    Raises:
      InvalidInput: the factory cannot be called so, or makes no module with trainable parameters.
    """

    def __init__(
        self,
        factory: Callable[..., Any],
        arguments: Mapping[str, Any],
        seed: int,
        dtype: str,
        device: str = "cpu",
        mode: str = "eval",
        buffers: str = "average",
    ) -> None:
        self._factory = factory
        self._arguments = arguments
        self._seed = seed
        self._dtype = dtype
        self._asked = device
        self._trains = mode == "train"
        self._buffers = buffers
        trainable = [(name, p) for name, p in self._module.named_parameters() if p.requires_grad]
        self._layout = [(name, tuple(p.shape), p.numel()) for name, p in trainable]
        self.dimension = sum(size for _, _, size in self._layout)
        if not self.dimension:
            raise InvalidInput("module", f"{dotted(factory)} has no trainable parameter", "a module with some")
        self.statistics_size = sum(mean.numel() for mean in self._statistics)

    def __getstate__(self) -> dict[str, Any]:
        # Thousands of shards would carry as many copies.
        return {key: value for key, value in self.__dict__.items() if key not in MADE_HERE}

    @cached_property
    def device(self) -> str:
        """Where the module lives in this process; what "auto" is may be another in the next."""
        return device_of(self._asked)

    # ---- the module ----

    @cached_property
    def _module(self) -> torch.nn.Module:
        """The module as the factory makes it under the seed, in evaluation mode."""
        made = self._made()
        self._start = _flattened(p for p in made.parameters() if p.requires_grad)
        self._first_statistics = _flattened(running_statistics(normalisations(made)))
        return made

    def _made(self) -> torch.nn.Module:
        """Makes the module anew."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            try:
                made = self._factory(**self._arguments)
            except TypeError as error:
                problem = f"{dotted(self._factory)} cannot be called with {dict(self._arguments)} ({error})"
                raise InvalidInput("module_arguments", problem, "the keyword arguments of the factory") from error
            except Exception as error:
                # Whatever a user's factory raises.
                problem = f"{dotted(self._factory)} raised {described(error)}"
                raise InvalidInput("module", problem, "a factory that makes a torch.nn.Module") from error
        if not isinstance(made, torch.nn.Module):
            problem = f"{dotted(self._factory)} returned {type(made).__name__}"
            raise InvalidInput("module", problem, "a factory of a torch.nn.Module")
        if any(torch.nn.parameter.is_lazy(parameter) for parameter in made.parameters()):
            problem = f"{dotted(self._factory)} has layers whose sizes follow from their first input"
            raise InvalidInput("module", problem, "layers of known sizes")
        # A copy: parameters become views of points and statistics are replaced, and the factory may keep what it made.
        # What cannot be copied (a tensor that a layer computes, a lock) is its own.
        with suppress(RuntimeError, TypeError, ValueError):
            made = copy.deepcopy(made)
        return made.to(device=self.device, dtype=getattr(torch, self._dtype)).eval()

    @cached_property
    def _parameters(self) -> list[torch.nn.Parameter]:
        """The trainable parameters in the order of x, views of one flat buffer."""
        import torch

        found = [p for p in self._module.parameters() if p.requires_grad]
        self._buffer = torch.empty(self.dimension, device=self.device, dtype=getattr(torch, self._dtype))
        start = 0
        for parameter, (_, shape, size) in zip(found, self._layout, strict=True):
            parameter.data = self._buffer[start : start + size].view(shape)
            start += size
        return found

    @cached_property
    def _normalisations(self) -> list[Any]:
        """The layers with running statistics."""
        return normalisations(self._module)

    @cached_property
    def _statistics(self) -> list[torch.Tensor]:
        """The running statistics that gradients bring, in order."""
        if not self._trains or self._buffers != "average":
            return []
        return running_statistics(self._normalisations)

    @cached_property
    def changes_in_training(self) -> list[str]:
        """The kinds of layers that do something else in training mode."""
        import torch

        kinds = (torch.nn.modules.dropout._DropoutNd, torch.nn.AlphaDropout)
        found = [layer for layer in self._module.modules() if layer in self._normalisations or isinstance(layer, kinds)]
        return sorted({type(layer).__name__ for layer in found})

    @property
    def shapes(self) -> list[list[int]]:
        """The shapes of the trainable parameters, in order."""
        return [list(shape) for _, shape, _ in self._layout]

    def start_point(self) -> Array:
        """Returns the parameters as the factory makes them, shape (dimension,)."""
        assert self._module is not None
        return self._start.copy()

    def start_statistics(self) -> tuple[Array, Array]:
        """Returns the running statistics as they were made, and their momentum (NaN: of a cumulative mean)."""
        momenta = [
            np.full(2 * layer.running_mean.numel(), np.nan if momentum is None else momentum)
            for layer, momentum in zip(self._normalisations, self._momenta, strict=True)
        ]
        return self._first_statistics.copy(), np.concatenate(momenta).astype(self._dtype)

    # ---- points ----

    def place(self, x: Array) -> list[torch.nn.Parameter]:
        """Makes a point, shape (dimension,), that of the module; returns the parameters."""
        parameters = self._parameters
        self._write(x, self._buffer)
        return parameters

    def stacked(self, points: Sequence[Array] | Array) -> dict[str, torch.Tensor]:
        """Returns the parameters at many points by name, stacked on the first axis; the next call overwrites them.

        Args:
          points: K of them, each of shape (dimension,).
        """
        import torch

        stack = self.__dict__.get("_stack")
        if stack is None or len(stack) < len(points):
            wanted = (len(points), self.dimension)
            stack = self._stack = torch.empty(wanted, device=self.device, dtype=getattr(torch, self._dtype))
        # Into memory that was used before: products read points that lie elsewhere each time several times slower.
        for position, x in enumerate(points):
            self._write(x, stack[position])
        found: dict[str, torch.Tensor] = {}
        start = 0
        for name, shape, size in self._layout:
            found[name] = stack[: len(points), start : start + size].view(len(points), *shape)
            start += size
        return found

    def _write(self, x: Array, place: torch.Tensor) -> None:
        import torch

        if self.device == "cpu":
            place.numpy()[...] = x
        else:
            place.copy_(torch.from_numpy(x if x.flags.writeable else x.copy()))

    def outputs(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns the module's outputs at the point that was placed, for a batch of inputs."""
        found: torch.Tensor = self._module(inputs)
        return found

    @cached_property
    def many(self) -> ManyPasses:
        """Passes at many points at once, in the mode in which gradients are computed."""
        made = self._made()
        layers = normalisations(made)
        self._change_mode(made, layers, [layer.momentum for layer in layers], self._trains)
        return ManyPasses(made)

    # ---- modes ----

    @contextmanager
    def training(self, key: int) -> Iterator[None]:
        """Training mode, its randomness a function of the key; running statistics are those of the one pass."""
        import torch

        self._set_mode(training=True)
        devices = [self.device] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices=devices):
            # Not torch.manual_seed: where CUDA was not used yet, it keeps the stack of every call.
            torch.default_generator.manual_seed(key)
            if devices:
                torch.cuda.manual_seed(key)
            yield

    def _set_mode(self, training: bool) -> None:
        """Changes the mode of the module if it is in the other one, as visiting all layers takes time."""
        if self._module.training != training:
            self._change_mode(self._module, self._normalisations, self._momenta, training)

    def _change_mode(
        self, module: torch.nn.Module, layers: Sequence[Any], momenta: Sequence[float | None], training: bool
    ) -> None:
        module.train(training)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            if training:
                layer.train(self._buffers != "frozen")
                layer.momentum = 1.0 if self._statistics else 0.0

    @cached_property
    def _momenta(self) -> list[float | None]:
        """The momenta of the layers with running statistics, as they were made."""
        return [layer.momentum for layer in self._normalisations]

    def statistics(self) -> list[torch.Tensor]:
        """Returns the statistics of the last pass in training mode, and 1, the number of passes."""
        return [*self._statistics, self._one]

    @cached_property
    def _one(self) -> torch.Tensor:
        import torch

        return torch.ones(1, device=self.device, dtype=getattr(torch, self._dtype))

    @contextmanager
    def evaluation(self, statistics: Array | None) -> Iterator[None]:
        """Evaluation mode with these running statistics, by default those of the start; with buffers "local" those of
        the rows at hand.
        """
        import torch

        self._set_mode(training=False)
        if self._statistics:
            statistics = self._first_statistics if statistics is None else statistics
            start = 0
            for part in self._statistics:
                value = torch.from_numpy(np.array(statistics[start : start + part.numel()]))
                part.copy_(value.reshape(part.shape))
                start += part.numel()
        layers = self._normalisations if self._trains and self._buffers == "local" else []
        momenta = self._momenta if layers else []
        try:
            for layer in layers:
                layer.train()
                layer.momentum = 0.0
            yield
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.eval()
                layer.momentum = momentum


def _flattened(tensors: Iterable[torch.Tensor]) -> Array:
    """Returns the values of tensors one after the other, a new array."""
    parts = [tensor.detach().cpu().numpy().reshape(-1) for tensor in tensors]
    return np.concatenate(parts) if parts else np.zeros(0)


def require_torch() -> None:
    """Raises InvalidInput if PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InvalidInput("name", f"'torch' needs PyTorch ({error})", "pip install 'rayopt[torch]'") from error


def device_of(given: Any) -> str:
    """Returns the device that is asked for: "auto" is an accelerator if there is one.

    Raises:
      InvalidInput: it is not there; the text names those that are.
    """
    import torch

    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if given == "auto":
        return there[1] if len(there) > 1 else "cpu"
    found = "cuda:0" if given == "cuda" else given
    if found not in there:
        raise InvalidInput("device", f"{given!r} is not there", ", ".join([*there, "auto"]))
    return str(found)


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


@contextmanager
def single_thread() -> Iterator[None]:
    """PyTorch on one thread: the same bits for the same x, and no quarrel between workers of one machine."""
    import torch

    before = torch.get_num_threads()
    # Also where it is 1 already: others may have limited OpenMP, and not the library of matrix products.
    torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)
