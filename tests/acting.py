"""Methods that do something in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rayopt.methods import ASGD


def asgd_that(acts: Mapping[int, Callable[[], object]], step_size: float = 0.1) -> ASGD:
    """Returns ASGD that does something after updates, by their number."""

    class Acting(ASGD):
        name = "acting"

        def receive(self, arrival, fleet):
            super().receive(arrival, fleet)
            if self.updates in acts:
                acts[self.updates]()

    return Acting(step_size)
