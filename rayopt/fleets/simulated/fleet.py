"""Virtual time as a fleet that a user chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least, boolean, one_of, positive
from rayopt.core.memory import check_fits
from rayopt.fleets.base import Finished, FleetKind
from rayopt.fleets.contended import PLAIN, ClockOptions
from rayopt.fleets.simulated.batched import LOOKAHEAD, BatchedSession
from rayopt.fleets.simulated.session import SimulatedSession
from rayopt.latency.workers import Workers
from rayopt.problems.base import Problem

Array = NDArray[np.float64]


class SimulatedFleet(FleetKind):
    """Virtual time: a discrete-event simulation, exact and reproducible to the bit.

    Args:
      gradients: "here": computed in this process, when a method asks for them; "ray": computed ahead of that, in
        parallel, on Ray actors. The results are the same to the bit on machines of one type. It is worth it where a
        gradient takes milliseconds and the method asks for single ones (ASGD, Ringmaster) or for local steps (FedAvg);
        a batch at one point (Rennala, Minibatch) stays one product in this process. "batched": in this process, each
        that is asked for together with those of the next arrivals; the results are those of "here" up to rounding. It
        is worth it where a problem evaluates many points at once (``torch``, ``jax``) and the method asks for single
        gradients.
      processes: how many actors, with "ray"; by default as many as the cluster has CPUs.
      address: with "ray", "auto" or "host:port" of a cluster that runs; by default as in :class:`RayFleet`.
      lookahead: with "batched", how many gradients are evaluated together at most; 32 by default.
      blas_threads: threads that products of matrices may use in each process. With 1, the bits do not depend on the
        number of cores; more are seldom faster here, as most products are small.
      overlap: whether a worker that has computed a gradient begins another one at the same point while it sends. It is
        dropped if the server asks for anything else then.
      server_bandwidth: floats of 64 bits per second that the server sends, and as many that it receives. Messages that
        travel at the same time share them fairly, none faster than its own link allows; what the server sends takes
        part if ``download`` of the workers is given. None for links that do not meet.

    Raises:
      InvalidInput: an argument that is not allowed.
    """

    name: ClassVar[str] = "simulated"

    def __init__(
        self,
        gradients: str = "here",
        processes: int | None = None,
        address: str | None = None,
        blas_threads: int = 1,
        lookahead: int | None = None,
        overlap: bool = False,
        server_bandwidth: float | None = None,
    ) -> None:
        self.overlap = boolean("overlap", overlap)
        self.server_bandwidth = None if server_bandwidth is None else positive("server_bandwidth", server_bandwidth)
        self.gradients = one_of("gradients", gradients, ("here", "ray", "batched"))
        for key, value, needed in (
            ("processes", processes, "ray"), ("address", address, "ray"), ("lookahead", lookahead, "batched"),
        ):  # fmt: skip
            if value is not None and self.gradients != needed:
                raise InvalidInput(key, f"{value!r} with gradients: {self.gradients}", f"gradients: {needed} with it")
        self.lookahead = lookahead
        if self.gradients == "batched":
            self.lookahead = LOOKAHEAD if lookahead is None else at_least("lookahead", lookahead, 1)
        self.processes = None if processes is None else at_least("processes", processes, 1)
        if address is not None and not isinstance(address, str):
            raise InvalidInput("address", f"{address!r} is not an address", "auto, or host:port of a Ray cluster")
        self.address = address
        self.blas_threads = at_least("blas_threads", blas_threads, 1)

    def open(self, problem: Problem, workers: Workers) -> SimulatedSession:
        """Returns a session, to be used in a ``with`` statement.

        Raises:
          InvalidInput: no cluster answers at the address.
        """
        options = ClockOptions(self.server_bandwidth, self.overlap)
        if options != PLAIN and self.gradients == "ray":
            key = "overlap" if self.overlap else "server_bandwidth"
            raise InvalidInput(key, f"{getattr(self, key)!r} with gradients: ray", "gradients: here or batched with it")
        if self.gradients == "ray":
            from rayopt.fleets.simulated.parallel.ahead import open_session

            return open_session(problem, workers, self.processes, self.address, self.blas_threads)
        if self.lookahead is not None:
            # Points, gradients and what a pass holds of each.
            check_fits("lookahead", self.lookahead, 3 * self.lookahead * problem.start_point().nbytes)
            return BatchedSession(problem, workers, self.lookahead, self.blas_threads, options)
        return SimulatedSession(problem, workers, self.blas_threads, options)

    def to_config(self) -> dict[str, Any]:
        """Returns the mapping that makes an equal fleet."""
        defaults = {"gradients": "here", "processes": None, "address": None, "blas_threads": 1, "lookahead": None,
                    "overlap": False, "server_bandwidth": None}  # fmt: skip
        given = {key: getattr(self, key) for key in defaults}
        return {"name": self.name} | {key: value for key, value in given.items() if value != defaults[key]}

    def notes(self, runs: Sequence[Finished]) -> list[str]:
        """Returns how many gradients were computed ahead, and how many of them for nothing."""
        if self.gradients == "here":
            return []
        counted: dict[str, tuple[int, int]] = {}
        for run in runs:
            if run.outcome is not None and run.outcome.requested:
                requested, wasted = counted.get(run.label, (0, 0))
                counted[run.label] = (requested + run.outcome.requested, wasted + run.outcome.wasted)
        shares = [f"{label} {wasted:,} of {requested:,}" for label, (requested, wasted) in counted.items()]
        how = "on Ray" if self.gradients == "ray" else "ahead"
        return [f"Gradients computed {how} that were not needed: {', '.join(shares)}."] if shares else []

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.to_config().items() if key != "name")
        return f"SimulatedFleet({arguments})"
