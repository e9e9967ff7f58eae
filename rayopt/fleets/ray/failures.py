"""Translates what a call to an actor raises into errors of rayopt."""

from __future__ import annotations

from typing import Any

import ray

from rayopt.core.errors import RayoptError


class NotLoaded(Exception):
    """The process is new: its predecessor died, and nobody has noticed yet."""


class WorkerLost(RayoptError):
    """A process of workers died and did not come back."""


class WorkerFailed(RayoptError):
    """A worker raised errors or returned what is not a gradient; the text has the worker's traceback."""


def is_loss(error: ray.exceptions.RayError) -> bool:
    """Returns whether a call failed because the actor's process died, or is new and has no shard yet."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return isinstance(error.cause, NotLoaded)
    exceptions = ray.exceptions
    gone = (exceptions.RayActorError, exceptions.NodeDiedError, exceptions.ObjectLostError,
            exceptions.OutOfMemoryError, exceptions.WorkerCrashedError)  # fmt: skip
    return isinstance(error, gone)


def check(name: str, reference: Any) -> None:
    """Raises what a finished call raised, with the name of its worker.

    Raises:
      WorkerLost: the process died.
      WorkerFailed: the call raised an error.
    """
    try:
        ray.get(reference)
    except ray.exceptions.RayActorError as error:
        raise WorkerLost(f"the process of {name} died: {error}") from error
    except ray.exceptions.RayTaskError as error:
        raise WorkerFailed(f"{name} raised an error:\n{error}") from error
