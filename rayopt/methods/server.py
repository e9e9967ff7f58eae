"""What a server makes of a gradient before it steps: momentum, and adaptive step sizes for each coordinate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least, boolean, nearest, non_negative, one_of, positive
from rayopt.problems.base import squared_norm

__all__ = ["AdaGrad", "Adam", "Momentum", "Muon", "Nesterov", "ServerUpdate", "Yogi", "server_update"]

Array = NDArray[Any]
State = dict[str, Any]
"""What a part remembers of a run, by name: arrays of the shape of x, and numbers."""


class ServerUpdate:
    """A part of a method: x^{k+1} = x^k - gamma d^k, where d^k is made of the method's gradient g^k.

    It holds its arguments alone; what it remembers of a run is kept by the method. All act on each member of a grid of
    step sizes by itself. The theorems of this library are about plain descent, d^k = g^k.
    """

    name: ClassVar[str]

    def direction(self, gradient: Array, state: State) -> Array:
        """Returns d^k, a new array or the gradient itself.

        Args:
          gradient: g^k, shape (dimension,) or (G, dimension).
          state: of this run, empty before the first update; it is changed.
        """
        raise NotImplementedError

    @property
    def is_plain(self) -> bool:
        """Whether it is plain descent with these arguments."""
        return False

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments that make an equal part."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that a workload file could hold."""
        return {"name": self.name, **self.parameters}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.parameters.items())})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.parameters == self.parameters

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))


class Momentum(ServerUpdate):
    """Heavy-ball momentum: m^k = mu m^{k-1} + g^k, d^k = m^k.

    Args:
      momentum: mu in [0, 1); 0 is plain descent, to the bit.

    Examples:
      >>> state = {}
      >>> [float(Momentum(0.5).direction(np.ones(1), state)[0]) for _ in range(3)]
      [1.0, 1.5, 1.75]

    References:
      Polyak, Some methods of speeding up the convergence of iteration methods, 1964; as ``torch.optim.SGD``.
    """

    name = "momentum"

    def __init__(self, momentum: float = 0.9) -> None:
        self.momentum = below_one("momentum", momentum)

    @property
    def is_plain(self) -> bool:
        return self.momentum == 0

    def direction(self, gradient: Array, state: State) -> Array:
        if self.is_plain:
            return gradient
        # A copy: the gradient may be an array of the method's own, which changes.
        state["momentum"] = gradient + self.momentum * state["momentum"] if state else gradient.copy()
        found: Array = state["momentum"]
        return found


class Nesterov(ServerUpdate):
    """Nesterov's momentum: m^k = mu m^{k-1} + g^k, d^k = g^k + mu m^k.

    Args:
      momentum: mu in [0, 1); 0 is plain descent, to the bit.

    References:
      Sutskever, Martens, Dahl, Hinton, On the importance of initialization and momentum in deep learning, ICML 2013; as
      ``torch.optim.SGD(nesterov=True)``.
    """

    name = "nesterov"

    def __init__(self, momentum: float = 0.9) -> None:
        self._heavy_ball = Momentum(momentum)
        self.momentum = self._heavy_ball.momentum

    @property
    def is_plain(self) -> bool:
        return self.momentum == 0

    def direction(self, gradient: Array, state: State) -> Array:
        if self.is_plain:
            return gradient
        return gradient + self.momentum * self._heavy_ball.direction(gradient, state)


class Adam(ServerUpdate):
    """Adam: d^k = (m^k / (1 - beta_1^k)) / (sqrt(v^k / (1 - beta_2^k)) + eps), k from 1.

    m^k = beta_1 m^{k-1} + (1 - beta_1) g^k and v^k = beta_2 v^{k-1} + (1 - beta_2) (g^k)^2, coordinate by coordinate.

    Args:
      beta1: in [0, 1).
      beta2: in [0, 1).
      eps: above 0.
      bias_correction: False leaves out both denominators 1 - beta^k, as FedAdam does.

    References:
      Kingma, Ba, `Adam <https://arxiv.org/abs/1412.6980>`_, 2014, Algorithm 1; at a server Reddi et al., `Adaptive
      Federated Optimization <https://arxiv.org/abs/2003.00295>`_, 2020.
    """

    name = "adam"

    def __init__(
        self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, bias_correction: bool = True
    ) -> None:
        self.beta1 = below_one("beta1", beta1)
        self.beta2 = below_one("beta2", beta2)
        self.eps = positive("eps", eps)
        self.bias_correction = boolean("bias_correction", bias_correction)

    def direction(self, gradient: Array, state: State) -> Array:
        if not state:
            state |= {"mean": np.zeros_like(gradient), "square": np.zeros_like(gradient), "steps": 0}
        state["steps"] += 1
        mean, square = state["mean"], state["square"]
        mean += (1 - self.beta1) * (gradient - mean)
        self._add_square(square, gradient * gradient)
        if not self.bias_correction:
            found: Array = mean / (np.sqrt(square) + self.eps)
            return found
        root = np.sqrt(square / (1 - self.beta2 ** state["steps"]))
        found = mean / (1 - self.beta1 ** state["steps"])
        found /= root + self.eps
        return found

    def _add_square(self, square: Array, new: Array) -> None:
        """Changes v^{k-1} to v^k."""
        square += (1 - self.beta2) * (new - square)


class Yogi(Adam):
    """Yogi: Adam with v^k = v^{k-1} - (1 - beta_2) sign(v^{k-1} - (g^k)^2) (g^k)^2.

    Args:
      beta1: in [0, 1).
      beta2: in [0, 1).
      eps: above 0.
      bias_correction: as for :class:`Adam`; the paper has none.

    References:
      Zaheer, Reddi, Sachan, Kale, Kumar, Adaptive Methods for Nonconvex Optimization, NeurIPS 2018, Algorithm 2
      [memory]; at a server `Adaptive Federated Optimization <https://arxiv.org/abs/2003.00295>`_, 2020.
    """

    name = "yogi"

    def __init__(
        self, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-3, bias_correction: bool = False
    ) -> None:
        super().__init__(beta1, beta2, eps, bias_correction)

    def _add_square(self, square: Array, new: Array) -> None:
        square -= (1 - self.beta2) * np.sign(square - new) * new


class AdaGrad(ServerUpdate):
    """AdaGrad: d^k = g^k / (sqrt(v^k) + eps), v^k = v^{k-1} + (g^k)^2, coordinate by coordinate.

    Args:
      eps: above 0.

    References:
      Duchi, Hazan, Singer, Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR 2011; as
      ``torch.optim.Adagrad``.
    """

    name = "adagrad"

    def __init__(self, eps: float = 1e-10) -> None:
        self.eps = positive("eps", eps)

    def direction(self, gradient: Array, state: State) -> Array:
        if not state:
            state["square"] = np.zeros_like(gradient)
        state["square"] += gradient * gradient
        found: Array = gradient / (np.sqrt(state["square"]) + self.eps)
        return found


class Muon(ServerUpdate):
    """Muon: Nesterov's momentum whose matrices are made nearly orthogonal before the step; vectors stay as they are.

    A matrix of shape (a, b) becomes the polar factor of its momentum, to the accuracy of a few Newton-Schulz steps,
    times sqrt(max{1, a / b}). Which coordinates of x are matrices is known to the problem (``parameter_shapes``).

    Args:
      momentum: mu in [0, 1).
      iterations: Newton-Schulz steps, at least 1.
      shapes: of the parameters in x, in order; by default those of the problem.

    References:
      Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024 [memory].
    """

    name = "muon"
    _COEFFICIENTS = (3.4445, -4.7750, 2.0315)

    def __init__(
        self, momentum: float = 0.95, iterations: int = 5, shapes: Sequence[Sequence[int]] | None = None
    ) -> None:
        self._nesterov = Nesterov(momentum)
        self.momentum = self._nesterov.momentum
        self.iterations = at_least("iterations", iterations, 1)
        if shapes is not None and not (_is_list(shapes) and all(map(_is_list, shapes))):
            raise InvalidInput("shapes", f"{shapes!r} is not a list of shapes", "a list such as [[10, 64], [10]]")
        self.shapes = None if shapes is None else [[at_least("shapes", side, 1) for side in shape] for shape in shapes]

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in super().parameters.items() if value is not None}

    def checked(self, shapes: Sequence[Sequence[int]], dimension: int) -> list[list[int]]:
        """Returns the shapes of parameters if they are those of an x, or raises InvalidInput."""
        numbers = sum(math.prod(shape) for shape in shapes)
        if numbers != dimension:
            raise InvalidInput("server.shapes", f"{list(shapes)} have {numbers:,} numbers, and x has {dimension:,}",
                               "the shapes of all parameters in x, in order")  # fmt: skip
        return [list(shape) for shape in shapes]

    def direction(self, gradient: Array, state: State) -> Array:
        shapes = state.setdefault("shapes", self.shapes)
        found = np.array(self._nesterov.direction(gradient, state.setdefault("nesterov", {})))
        start = 0
        for shape in shapes or [[gradient.shape[-1]]]:
            size = int(np.prod(shape))
            if len(shape) >= 2:
                part = found[..., start : start + size]
                matrices = part.reshape(*part.shape[:-1], shape[0], -1)
                part[...] = self._orthogonal(matrices).reshape(part.shape)
            start += size
        return found

    def _orthogonal(self, matrices: Array) -> Array:
        """Returns nearly orthogonal matrices, shape (..., a, b)."""
        a, b = matrices.shape[-2:]
        X = matrices if a <= b else matrices.swapaxes(-1, -2)
        norm = np.sqrt(squared_norm(X.reshape(*X.shape[:-2], -1)))[..., None, None].astype(X.dtype)
        X = X / (norm + np.finfo(X.dtype).tiny ** 0.5)
        first, third, fifth = self._COEFFICIENTS
        for _ in range(self.iterations):
            A = X @ X.swapaxes(-1, -2)
            X = first * X + (third * A + fifth * (A @ A)) @ X
        X = X if a <= b else X.swapaxes(-1, -2)
        found: Array = X * max(1.0, a / b) ** 0.5
        return found


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)


SERVER_UPDATES: dict[str, Callable[..., ServerUpdate]] = {
    kind.name: kind for kind in (Momentum, Nesterov, Adam, AdaGrad, Yogi, Muon)
}
"""Every part by the name that a workload file gives it."""


def server_update(config: Any, key: str = "server") -> ServerUpdate:
    """Returns the part that a workload file describes.

    Args:
      config: a part, a name, or ``{name: ..., argument: ...}``.
      key: where it stands, for errors.

    Raises:
      InvalidInput: a name or an argument is unknown, or a value is not allowed.

    Examples:
      >>> server_update({"name": "momentum", "momentum": 0.5})
      Momentum(momentum=0.5)
    """
    if isinstance(config, ServerUpdate):
        return config
    given = {"name": config} if isinstance(config, str) else config
    if not isinstance(given, Mapping) or "name" not in given:
        raise InvalidInput(key, f"{config!r} is not a server update", f"{{name: ...}} of {', '.join(SERVER_UPDATES)}")
    name = one_of(f"{key}.name", given["name"], SERVER_UPDATES)
    known = inspect.signature(SERVER_UPDATES[name]).parameters
    for argument in given:
        if argument != "name" and argument not in known:
            raise InvalidInput(f"{key}.{argument}", f"unknown{nearest(str(argument), known)}", ", ".join(known))
    try:
        return SERVER_UPDATES[name](**{argument: value for argument, value in given.items() if argument != "name"})
    except InvalidInput as error:
        raise InvalidInput(f"{key}.{error.key}", error.problem, error.allowed) from None


def below_one(key: str, given: Any) -> float:
    """Returns a number in [0, 1), or raises InvalidInput."""
    if non_negative(key, given) >= 1:
        raise InvalidInput(key, f"{given!r} forgets nothing", "a number in [0, 1)")
    return float(given)
