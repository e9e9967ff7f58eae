"""The conclusion of a comparison of methods, in a sentence."""

from __future__ import annotations

import math
from typing import Any

from rayopt.report.theory_table import OF_EVERY_WORKER, Comparison

AS_GOOD = 1.01
"""Times within this factor of the least are as good as that."""
_OF_FIXED_TIMES = "is of fixed times: slow tasks are given up"


def advise(comparison: Comparison) -> str:
    """Returns which methods theory favours, with their parameters, and how much longer the next one and ASGD take.

    Examples:
      >>> from rayopt.report.theory_table import compare
      >>> from rayopt.theory import Setting
      >>> setting = Setting([1.0, 2.0, 30.0], eps=1.0, smoothness=1.0, initial_gap=1.0, noise_variance=4.0)
      >>> advise(compare(setting)).partition(":")[0]
      'Theory favours NaiveOptimalASGD (workers used 2), Rennala (batch size 4) or Ringmaster (threshold 4)'
    """
    seconds = {name: value for name, value in comparison.seconds.items() if math.isfinite(value)}
    if not seconds:
        return "Theory favours no method: none has a finite time on these workers."
    least = min(seconds.values())
    favoured = [name for name, value in seconds.items() if value <= AS_GOOD * least]
    others = [name for name in seconds if name not in favoured]
    parts = [f"Theory favours {_listed([_with_parameters(name, comparison) for name in favoured])}: {least:.4g} s"]
    if least < (1 - 1e-9) * comparison.lower_bound < math.inf:
        reason = "assumes no bound of the variance" if comparison.regime.name == "finite_sum" else _OF_FIXED_TIMES
        parts.append(f"less than the lower bound, which {reason}")
    elif 0 < comparison.lower_bound < math.inf:
        parts.append(f"{least / comparison.lower_bound:.3g} times the lower bound")
    compared = list(dict.fromkeys([*others[:1], *(name for name in ("ASGD", "Minibatch") if name in others)]))
    if compared and least > 0:
        parts.append(_listed([f"{name} takes {seconds[name] / least:.3g} times as long" for name in compared], "and"))
    return ", ".join(parts) + "."


def _with_parameters(name: str, comparison: Comparison) -> str:
    """Returns a method with its parameters besides the step size, which depends on the scale of f."""
    parameters = [
        f"{key.replace('_', ' ')} {_value(value)}"
        for key, value in comparison.parameters.get(name, {}).items()
        if key not in (*OF_EVERY_WORKER, "step_size")
    ]
    return f"{name} ({', '.join(parameters)})" if parameters else name


def _listed(parts: list[str], last: str = "or") -> str:
    return f" {last} ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
