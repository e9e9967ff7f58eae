"""Workload files with random mistakes: a result or one line, never a traceback, a run without end or a flood of memory.

``python -m tests.experiments.test_mutated_workloads 10000`` tries more of them.
"""

from __future__ import annotations

import copy
import random
import resource
import signal
import sys
import warnings
from typing import Any

import pytest
import yaml

from rayopt.core.errors import RayoptError
from rayopt.experiments.config import load_workload

BASES: list[dict[str, Any]] = [
    {
        "problem": {"name": "quadratic", "dimension": 12, "noise": 0.1},
        "workers": {"count": 4, "compute": "sqrt(i)", "upload": 0.1},
        "methods": [
            {"name": "rennala", "step_size": [0.5, 0.25], "batch_size": 3},
            {"name": "ringmaster", "step_size": 0.1, "threshold": 4, "label": "Ring"},
        ],
        "until": {"time": 20}, "record": {"every": 2, "trace": "all"}, "seeds": [0, 1],
    },
    {
        "problem": {"name": "logistic_regression", "data": "digits", "batch": 4,
                    "partition": {"name": "dirichlet", "alpha": 0.5}},
        "workers": {"count": 5, "compute": {"name": "half_normal", "base": "i", "scale": 0.5}},
        "methods": [{"name": "malenia", "step_size": 0.1, "batch_size": 3},
                    {"name": "fedavg", "step_size": 0.1, "local_steps": 2}],
        "until": {"updates": 10, "arrivals": 40, "target": {"metric": "accuracy", "reaches": 0.9}},
        "record": {"every": 3, "metrics": ["value", "accuracy"]},
        "seeds": 3,
    },
    {
        "problem": {"name": "quadratic", "dimension": 8, "noise": 0.1},
        "network": {"graph": {"name": "mesh", "shape": [2, 3]}, "compute": "i", "edges": {"per_message": 0.5}},
        "methods": [
            {"name": "fragile", "step_size": 0.5, "batch_size": 6, "pivot": "best"},
            {"name": "gossip_sgd", "step_size": 0.1},
        ],
        "until": {"time": 40}, "record": {"every": 5, "trace": "all"}, "seeds": [0],
    },
    {
        "problem": {"name": "logistic_regression", "data": "digits", "rows": 200, "batch": 4, "dtype": "float32"},
        "workers": {"count": 4, "compute": 1.0, "upload": {"per_message": 0.1, "per_float": "0.001 * i"}},
        "fleet": {"name": "simulated", "server_bandwidth": 1000.0, "overlap": True},
        "methods": [
            {"name": "dcgd", "step_size": 0.1, "compressor": {"name": "rand_k", "k": 20}},
            {"name": "asgd", "step_size": {"cosine": 0.5, "over": 20}, "weight_decay": 0.01, "clip_norm": 1.0,
             "server": {"name": "momentum", "momentum": 0.9}, "averaging": "uniform"},
        ],
        "until": {"time": 12}, "record": {"every": 4}, "force": True, "seeds": [0],
    },
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 40, 10**9, 10**12, 10**30, -(10**30), 2**63, 0.0, 1.5, -0.5, 1e-300, 1e300,
    float("inf"), float("nan"), "", "x", "i", "sqrt(i)", "1/0", "i**i**i", "asgd", "digits", "all", [], {}, [1], [[1]],
    [0.1, "a"], {"name": "x"}, {"name": "fixed", "times": [1, 2]}, {"a": 1}, "é" * 50, "x" * 5000, "2024-01-01",
    [0.1] * 3,
]  # fmt: skip
SECONDS = 10
"""Of the processor: other work may have it for longer."""
MOST_BYTES = 2 * 10**9


def mutated(seed: int) -> dict[str, Any]:
    """Returns a workload with one to three changes, a function of the seed alone."""
    generator = random.Random(seed)
    tree = copy.deepcopy(generator.choice(BASES))
    for _ in range(generator.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        stack: list[Any] = [tree]
        while stack:
            node = stack.pop()
            items = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
            for key, value in items:
                places.append((node, key))
                if isinstance(value, (dict, list)):
                    stack.append(value)
        if not places:
            break
        node, key = generator.choice(places)
        kind = generator.random()
        if kind < 0.6:
            node[key] = copy.deepcopy(generator.choice(VALUES))
        elif kind < 0.75:
            del node[key]
        elif kind < 0.9 and isinstance(node, dict):
            node[str(generator.choice(VALUES))[:60]] = node.pop(key)
        elif isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        else:
            node[f"{key}s"] = copy.deepcopy(node[key])
    return tree


class TooLong(Exception):
    """A run without end."""


def outcome_of(seed: int, folder: Any) -> str:
    """Returns "result" or the line that refuses a workload; anything else is raised."""

    def end(*_: Any) -> None:
        raise TooLong(f"seed {seed}: more than {SECONDS} s")

    path = folder / "w.yaml"
    path.write_text(yaml.safe_dump(mutated(seed), allow_unicode=True), encoding="utf-8")
    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        load_workload(path).build().run()
        return "result"
    except RayoptError as error:
        return str(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def try_seeds(first: int, count: int, folder: Any) -> int:
    """Tries so many seeds within the limit of memory; returns how many gave a result."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MOST_BYTES, limits[1]))
    results = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for seed in range(first, first + count):
                try:
                    said = outcome_of(seed, folder)
                except Exception as error:
                    raise AssertionError(f"seed {seed}: {mutated(seed)}") from error
                assert len(said) < 4000, f"seed {seed}: {said[:500]}"
                results += said == "result"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    return results


@pytest.mark.parametrize("first", range(0, 1000, 100))
def test_a_result_or_one_line(first, tmp_path):
    results = try_seeds(first, 100, tmp_path)
    # Both happen: the generator makes neither only good files nor only bad ones.
    assert 0 < results < 100


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as place:
        number = int(sys.argv[1])
        print(f"{try_seeds(0, number, Path(place))} of {number} workloads gave a result, the others one line")
