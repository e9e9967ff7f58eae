"""Checkpoints: the state of an experiment on disk, from which it goes on."""
