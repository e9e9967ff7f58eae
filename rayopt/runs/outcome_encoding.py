"""Outcomes of runs that have ended, as a checkpoint holds them."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from rayopt.runs.faults import Faults
from rayopt.runs.fingerprints import Fingerprint
from rayopt.runs.outcome import Counts, Outcome


def tree_of(outcome: Outcome) -> dict[str, Any]:
    """Returns an outcome as JSON can hold it."""
    held = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    faults = asdict(outcome.faults) | {"rejected": list(outcome.faults.rejected.items())}
    return held | {
        "counts": asdict(outcome.counts),
        "diverged_at": list(outcome.diverged_at.items()),
        "faults": faults,
    }


def outcome_of(tree: dict[str, Any]) -> Outcome:
    """Returns the outcome that :func:`tree_of` described."""
    faults = Faults(**tree["faults"] | {"rejected": dict(tree["faults"]["rejected"])})
    return Outcome(
        **tree | {"counts": Counts(**tree["counts"]), "diverged_at": dict(tree["diverged_at"]), "faults": faults,
                "fingerprints": [Fingerprint(*found) for found in tree["fingerprints"]],
                "rounds": [tuple(made) for made in tree.get("rounds", ())],
                "edges": [tuple(flow) for flow in tree.get("edges", ())]}
    )  # fmt: skip
