"""How fast rayopt is, each path beside a floor measured in the same process: ``python -m benchmarks``."""
