"""What is on disk: run folder, lock, complete files, checkpoints, traces. Imports core."""
