"""The predictions of theory for every method in one setting, as numbers and as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rayopt.core.errors import InvalidInput
from rayopt.methods import METHODS
from rayopt.theory import (
    CONSTANTS,
    MissingConstant,
    Setting,
    communication,
    convex,
    finite_sum,
    heterogeneous,
    homogeneous,
)
from rayopt.theory.parameters import batch_of_variance

OTHER_ORACLES = ("finite_sum", "communication")
"""Regimes whose formulas are not those that the known constants stand before."""
# What the table has no room for: a number for each worker.
OF_EVERY_WORKER = ("trials", "time_limit")


@dataclass(frozen=True)
class Regime:
    """A kind of problem: which formulas hold.

    Attributes:
      measure: what the accuracy eps bounds.
      methods: each method's seconds, by its class.
      lower_bound: the seconds that no method beats.
      best_workers: m*, how many workers the optimum needs.
      recommends: the methods whose recommended parameters are for this regime.
    """

    name: str
    measure: str
    methods: Mapping[str, Callable[..., float]]
    lower_bound: Callable[..., float]
    best_workers: Callable[[Setting], int]
    recommends: tuple[str, ...]


REGIMES = {
    regime.name: regime
    for regime in (
        Regime(
            "homogeneous", "E||grad f||²", homogeneous.METHODS, homogeneous.lower_bound,
            lambda setting: homogeneous.optimal(setting).workers, tuple(homogeneous.METHODS),
        ),
        Regime(
            "heterogeneous", "E||grad f||²", heterogeneous.METHODS, heterogeneous.lower_bound,
            lambda setting: setting.workers, tuple(heterogeneous.METHODS),
        ),
        Regime(
            "convex", "E f - f*", convex.METHODS, convex.lower_bound,
            lambda setting: convex.optimal(setting).workers, ("AcceleratedRennala", "NonsmoothRennala"),
        ),
        Regime(
            "finite_sum", "E||grad f||²", finite_sum.METHODS, finite_sum.lower_bound_of,
            lambda setting: finite_sum.fewest_workers(setting.times, setting.get("components")),
            tuple(finite_sum.METHODS),
        ),
        Regime(
            "communication", "E||grad f||²", communication.METHODS, communication.seconds_of_shadowheart,
            lambda setting: setting.workers, ("SGDone", "Minibatch", "QSGD", "Shadowheart"),
        ),
    )
}  # fmt: skip
"""By the name of the option that asks for it; the first without an option."""


@dataclass(frozen=True)
class Comparison:
    """The predictions of theory for every method in one setting, with constant 1 in front of every time.

    Attributes:
      setting: workers, accuracy and constants.
      regime: which formulas were used.
      lower_bound: the seconds that no method beats.
      best_workers: m*.
      seconds: of each method whose constants are known, the soonest first.
      missing: of each other method, what is not known.
      parameters: what is recommended for each method.
    """

    setting: Setting
    regime: Regime
    lower_bound: float
    best_workers: int
    seconds: dict[str, float]
    missing: dict[str, str]
    parameters: dict[str, dict[str, Any]]

    @property
    def threshold(self) -> int | None:
        """Ringmaster's R, None where it has no theorem."""
        return batch_of_variance(self.setting) if "Ringmaster" in self.regime.methods else None

    def to_json(self) -> dict[str, Any]:
        """Returns ``lower_bound``, ``m_star``, ``R`` and ``methods``; infinity is None, for JSON has none."""
        return {
            "lower_bound": _finite(self.lower_bound),
            "m_star": self.best_workers,
            "R": self.threshold,
            "methods": {name: _finite(seconds) for name, seconds in self.seconds.items()},
        }


def compare(setting: Setting, regime: str = "homogeneous") -> Comparison:
    """Returns the seconds of every method of a regime and the lower bound, with constant 1.

    Args:
      setting: workers, accuracy and constants; what only some methods need may be unknown.
      regime: "homogeneous", "heterogeneous", "convex", "finite_sum" or "communication".

    Raises:
      MissingConstant: the lower bound needs a constant that is unknown.

    Examples:
      >>> from rayopt.theory import Setting
      >>> found = compare(Setting([1.0, 2.0, 3.0], eps=1.0, smoothness=1.0, initial_gap=1.0, noise_variance=4.0))
      >>> found.best_workers, round(found.lower_bound, 3), round(found.seconds["Hero"], 3)
      (3, 3.818, 5.0)
    """
    chosen = REGIMES[regime]
    lower_bound = chosen.lower_bound(setting)
    seconds, missing = {}, {}
    for name, method_seconds in chosen.methods.items():
        try:
            seconds[name] = method_seconds(setting)
        except MissingConstant as error:
            missing[name] = error.symbol
    return Comparison(
        setting, chosen, lower_bound, chosen.best_workers(setting),
        dict(sorted(seconds.items(), key=lambda item: item[1])), missing, _parameters(setting, chosen, seconds),
    )  # fmt: skip


def _parameters(setting: Setting, regime: Regime, seconds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Returns the arguments that theory recommends, of those methods that end and that have a theory."""
    classes = {method.__name__: method for method in METHODS.values()}
    found = {}
    for name in regime.recommends:
        if name not in classes or not math.isfinite(seconds.get(name, math.inf)):
            continue
        try:
            found[name] = classes[name].theory(setting)
        except (MissingConstant, InvalidInput):
            continue
    return found


def render(comparison: Comparison) -> RenderableType:
    """Returns the table of times, the table of parameters and the footnotes."""
    notes = [Padding(Text(note, style="dim"), (0, 0, 0, 2), expand=False) for note in _footnotes(comparison)]
    recommended = ["", Text("What theory recommends", style="italic"), _recommendations(comparison)]
    return Group(
        Text(_headline(comparison), style="italic"),
        _times(comparison),
        *(recommended if any(comparison.parameters.values()) else ()),
        *notes,
    )


def render_shadowheart_table() -> RenderableType:
    """Returns the numerical column of the Shadowheart paper's Table 1, evaluated anew beside what it prints."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for title in ("method", "sigma²/eps", "times Shadowheart", "least to largest", "printed"):
        table.add_column(title, justify="left" if title == "method" else "right")
    for row in communication.shadowheart_table():
        spread = f"{_number(row.least)} to {_number(row.largest)}"
        table.add_row(row.method, f"{row.noise_ratio:g}", _number(row.ratio), spread, row.printed)
    notes = (
        "Seconds of each method over those of Shadowheart SGD (arXiv 2402.04785, Table 1): medians of 50 draws of "
        "1,000 workers, d = 1,000,000, RandK with k = 1, seconds of a gradient and of a float U(0.1, 1).",
        "The paper rounds down to powers of ten. The cell of Rennala and ASGD at 10^6 does not come out: by the "
        "printed formulas it is at least d min tau over t*, which is 3.8.",
    )
    return Group(table, *[Padding(Text(note, style="dim"), (0, 0, 0, 2), expand=False) for note in notes])


def _headline(comparison: Comparison) -> str:
    setting = comparison.setting
    known = [
        f"{symbol} = {getattr(setting, name):g}"
        for name, symbol in (("smoothness", "L"), ("initial_gap", "Delta"), ("distance", "R0"), ("lipschitz", "M"))
        if getattr(setting, name) is not None
    ]
    fastest, slowest = float(setting.ascending[0]), setting.slowest
    components = "" if comparison.regime.name != "finite_sum" else f"m = {setting.components:,} components, "
    return (
        f"{setting.workers:,} workers, {components}{fastest:g} to {slowest:g} s a gradient; "
        f"{', '.join([f'sigma²/eps = {setting.noise_ratio:g}', *known, f'eps = {setting.eps:g}'])}"
    )


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(titles[0], overflow="fold")
    for title in titles[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _times(comparison: Comparison) -> Table:
    table = _table("method", "seconds", "multiple of\nlower bound")
    bound = comparison.lower_bound
    table.add_row("lower bound", _number(bound), "1", style="bold")
    for name, seconds in comparison.seconds.items():
        table.add_row(name, _number(seconds), _number(seconds / bound) if 0 < bound < math.inf else "-")
    return table


def _recommendations(comparison: Comparison) -> Table:
    keys = list(dict.fromkeys(key for found in comparison.parameters.values() for key in found))
    keys = [key for key in keys if key not in OF_EVERY_WORKER]
    table = _table("method", *(key.replace("_", " ") for key in keys))
    for name, found in comparison.parameters.items():
        table.add_row(name, *(_number(found[key]) if key in found else "" for key in keys))
    return table


def _footnotes(comparison: Comparison) -> list[str]:
    # The constant of Minibatch is that for nonconvex f, that of Rennala for a stochastic oracle.
    recommended = () if comparison.regime.name in OTHER_ORACLES else comparison.regime.recommends
    stated = [name for name in comparison.seconds if name in CONSTANTS and name in recommended]
    constants = [f"{name} {CONSTANTS[name].value:g}" for name in stated]
    threshold = comparison.threshold
    notes = [
        f"Seconds until {comparison.regime.measure} is at most eps, with constant 1 in front of each formula "
        "and of the lower bound.",
    ]
    if comparison.regime.name == "communication":
        notes.append(
            "The lower bound is that of methods with unbiased compression; t* has constants of 2 and 4 within. The "
            "seconds of ASGD and Rennala are bounds from below, with messages of d floats."
        )
    else:
        notes.append(
            f"The optimum needs the m* = {comparison.best_workers:,} fastest of {comparison.setting.workers:,} workers"
            + ("." if threshold is None else f"; R = S = {threshold:,} (Ringmaster, Rennala).")
        )
    if comparison.regime.name == "heterogeneous":
        notes.append("L_max, the largest L of the workers' functions, is taken to be L.")
    if comparison.regime.name == "finite_sum":
        notes += _footnotes_on_finite_sums(comparison.setting)
    if constants:
        notes.append(f"The constants in front that are known: {', '.join(constants)}.")
    if any(key in found for found in comparison.parameters.values() for key in OF_EVERY_WORKER):
        notes.append("The numbers of trials of each worker: the method's from_theory in Python.")
    by_reason: dict[str, list[str]] = {}
    for name, reason in comparison.missing.items():
        by_reason.setdefault(reason, []).append(name)
    return notes + [f"Not shown: {', '.join(names)}: needs {reason}." for reason, names in by_reason.items()]


def _footnotes_on_finite_sums(setting: Setting) -> list[str]:
    is_large = finite_sum.is_large_scale(setting.times, int(setting.get("components")))
    return [
        f"sqrt(m) is {'at least n: Freya PAGE is within twice' if is_large else 'below n: Freya PAGE may be far from'} "
        "the lower bound.",
        "L_pm and L_+ are taken to be L. ASGD and Rennala know sigma² and no components; the bound of the variance, "
        "which the lower bound does not assume, may bring them below it.",
        "SYNTHESIS (Liu, Zhang, Liu, 2022) has no row and is not run: its full gradients are computed at no cost that "
        "is accounted for, and its rate depends on the largest delay.",
    ]


def _number(value: Any) -> str:
    """Returns four digits, or all of an integer."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if 1e4 <= value < 1e7 else f"{value:.4g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
