"""PyTorch modules beside a bare training loop of PyTorch, and float32 beside float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import rayopt as ro
from benchmarks.measure import Row, interleaved, run_once, seconds
from rayopt.problems import LogisticRegression, TorchProblem

ROWS, BATCH, STEPS, HIDDEN = 6_000, 32, 1_000, 256


def network(hidden: int = HIDDEN) -> Any:
    """The MLP 784-256-10."""
    from torch import nn

    return nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def normalised() -> Any:
    """The same with batch normalisation."""
    from torch import nn

    return nn.Sequential(nn.Linear(784, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))


def small() -> Any:
    """The MLP 784-32-10, whose points fit into a processor's cache."""
    return network(32)


def rows() -> Iterator[Row]:
    """Yields the rows of a module, if PyTorch is installed, and that of float32."""
    try:
        import torch  # noqa: F401
    except ImportError:
        pass
    else:
        yield asgd(network, "784-256-10", "here", 80)
        yield asgd(network, "784-256-10", "batched", 130)
        yield asgd(small, "784-32-10", "batched", 130)
        yield asgd(normalised, "784-256-10 with BatchNorm, mode train", "here", 75)
        for device in accelerators():
            yield asgd(network, "784-256-10", "here", 80, device)
            yield asgd(network, "784-256-10", "batched", 130, device)
        yield grid(network, "784-256-10", 1)
        yield grid(lambda: network(8), "784-8-10", BATCH)
    yield single_precision()


def accelerators() -> list[str]:
    """Devices other than the CPU; none on most machines."""
    import torch

    found = ["cuda"] if torch.cuda.is_available() else []
    return [*found, *(["mps"] if torch.backends.mps.is_available() else [])]


def data() -> tuple[Any, Any]:
    """Bytes as of MNIST, and classes."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (ROWS, 784), dtype=np.uint8), random.integers(0, 10, ROWS)


def bare_loop(module: Callable[[], Any], steps: int = STEPS, device: str = "cpu") -> Callable[[], None]:
    """Returns the training loop that one writes without a library: SGD in float32, on data that are scaled before."""
    import torch

    X, y = data()
    inputs, targets = (torch.from_numpy(X).float() / 255).to(device), torch.from_numpy(y).to(device)
    order = torch.from_numpy(np.random.default_rng(1).integers(0, ROWS, (steps, BATCH))).to(device)
    made = module().to(device)
    optimiser = torch.optim.SGD(made.parameters(), lr=0.01)

    def train() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        for chosen in order:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(made(inputs[chosen]), targets[chosen]).backward()
            optimiser.step()
        # An accelerator has its work done only now.
        next(made.parameters()).detach().cpu()
        torch.set_num_threads(before)

    train()
    return train


def problem(module: Callable[[], Any], **arguments: Any) -> TorchProblem:
    """The same as a problem."""
    X, y = data()
    return TorchProblem(module, X, y, scale=1 / 255, partition="homogeneous", **{"batch": BATCH, **arguments})


def products(module: Callable[[], Any], points: int = 1, repeats: int = 200) -> float:
    """Returns the seconds of the matrix products of a step at each of some points, with nothing beside them.

    They are what no arrangement of the same arithmetic on one core is faster than.
    """
    import torch

    layers = [layer for layer in module() if isinstance(layer, torch.nn.Linear)]
    sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
    rows = [torch.rand(BATCH, size) for size in sizes]
    outputs = [torch.empty(BATCH, size) for size in sizes]
    weights = [[torch.rand(layer.out_features, layer.in_features) for layer in layers] for _ in range(points)]
    gradients = [torch.empty_like(weight) for weight in weights[0]]

    def step() -> None:
        for own in weights:
            for number, weight in enumerate(own):
                torch.mm(rows[number], weight.t(), out=outputs[number + 1])
                torch.mm(rows[number + 1].t(), rows[number], out=gradients[number])
                if number:
                    torch.mm(rows[number + 1], weight, out=outputs[number])

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    step()
    found = seconds(lambda: [step() for _ in range(repeats)]) / repeats
    torch.set_num_threads(before)
    return found


def asgd(module: Callable[[], Any], name: str, gradients: str, least: int, device: str = "cpu") -> Row:
    """ASGD of 100 workers: every gradient is at a point of its own, and 100 points are in flight."""
    own = problem(module, mode="train" if module is normalised else "eval", device=device)
    fleet = ro.SimulatedFleet(gradients=gradients)
    method, workers, until = ro.methods.ASGD(0.01), ro.Workers(100, "sqrt(i)"), ro.Until(updates=STEPS)

    def run() -> None:
        run_once(method.fresh(), own, workers, until, fleet=fleet)

    run()
    train = bare_loop(module, device=device)
    bare, ours, least_time = interleaved(lambda: seconds(train), lambda: seconds(run), lambda: products(module))
    share = 100 * bare / ours
    on, floor = "", f"; its products alone {1 / least_time:,.0f}, {100 * bare / STEPS / least_time:.0f} %"
    if device != "cpu":
        on, floor = f", on {device}", f" on {device}"
    return Row(f"ASGD, MLP {name}, batch {BATCH}, float32, n = 100, gradients: {gradients}{on}", f"{share:.0f} % "
               f"({STEPS / ours:,.0f} gradients/s)", f"at least {least} % of a bare PyTorch loop", share >= least,
               f"bare loop {STEPS / bare:,.0f} steps/s{floor}")  # fmt: skip


def grid(module: Callable[[], Any], name: str, batch: int) -> Row:
    """Ten step sizes of Rennala beside one."""
    own, workers, updates = problem(module, batch=batch), ro.Workers(100, "sqrt(i)"), 40
    until = ro.Until(updates=updates)

    def run(step_size: Any) -> None:
        run_once(ro.methods.Rennala(step_size, batch_size=BATCH), own, workers, until)

    run([0.01, 0.02])
    steps = [0.001 * 1.5**k for k in range(10)]
    one, ten, least_time = interleaved(
        lambda: seconds(lambda: run(0.01)), lambda: seconds(lambda: run(steps)), lambda: products(module, 10, 40)
    )
    # S replies have `batch` rows each, and products() has S.
    least_time *= batch
    return Row(f"10 step sizes of Rennala, S = {BATCH}, MLP {name}, batch {batch}, beside one", f"{ten / one:.1f} x",
               "at most 3 x", ten <= 3 * one, f"one {one / updates * 1e3:.1f} ms an update; the products of ten alone "
               f"{least_time * updates / one:.1f} x")  # fmt: skip


def single_precision() -> Row:
    """ASGD on logistic regression, on the subset of MNIST that comes with the package."""
    workers, until = ro.Workers(100, "sqrt(i)"), ro.Until(updates=10_000)

    def run(dtype: str) -> float:
        own = LogisticRegression.from_data("mnist_subset", None, {"partition": "homogeneous", "dtype": dtype})
        return seconds(lambda: run_once(ro.methods.ASGD(0.01), own, workers, until))

    double, single = interleaved(lambda: run("float64"), lambda: run("float32"))
    return Row("ASGD on MNIST logistic regression, float32 beside float64", f"{double / single:.2f} x",
               "at least 1.2 x", double >= 1.2 * single, f"float64 {10_000 / double:,.0f} gradients/s")  # fmt: skip
