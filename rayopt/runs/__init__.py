"""One run: its loop, recorder, limits, outcome and snapshot. Imports core, latency, problems, methods and storage."""
