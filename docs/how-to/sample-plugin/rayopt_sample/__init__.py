"""One part of each kind that a package can bring to rayopt."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from rayopt.callbacks import Callback
from rayopt.compressors import TopK

from rayopt.latency import Fixed
from rayopt.methods import Method
from rayopt.methods.base import everyone
from rayopt.problems import Quadratic


class PatientASGD(Method):
    """Asynchronous SGD that ignores what is older than ``patience`` updates.

    Args:
      step_size: gamma, or a list of them.
      patience: the largest delay that counts.
    """

    name = "patient_asgd"

    def __init__(self, step_size, patience=10):
        super().__init__(step_size)
        self.patience = patience

    def start(self, fleet):
        """Gives everyone a task."""
        fleet.assign(everyone(fleet), self.point())

    def receive(self, arrival, fleet):
        """Reacts to one arrival."""
        if self.updates - arrival.version <= self.patience:
            self.descend(arrival.value)
        fleet.assign(arrival.worker, self.point())


class Bowl(Quadratic):
    """A quadratic of ten coordinates without noise."""

    name = "bowl"

    def __init__(self):
        super().__init__(dimension=10, noise=0.0)


@dataclass(frozen=True, repr=False)
class Coffee(Fixed):
    """A fixed time, and a break of one second after each task."""

    name: ClassVar[str] = "coffee"

    def bind(self, workers, stream):
        """Returns the durations of one run."""
        (times,) = self.resolve(workers, stream)
        return Fixed(times + 1.0).bind(workers, stream)


class Largest(TopK):
    """The largest coordinate alone."""

    name = "largest"

    def __init__(self):
        super().__init__(1)


class GoodEnough(Callback):
    """Ends a run at the first row whose value is below a level."""

    name = "good_enough"

    def __init__(self, level=1e-3):
        self.level = level

    def on_row(self, run, row, x):
        """Looks at the value of a row."""
        if np.isfinite(row["value"]) and row["value"] < self.level:
            run.stop(f"the value is below {self.level:g}")
