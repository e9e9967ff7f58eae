"""Recorded runs executed again, and checked to the bit."""

from rayopt.experiments.replay.experiment import Replay, ReplayedRun, recorded_experiment, replay

__all__ = ["Replay", "ReplayedRun", "recorded_experiment", "replay"]
