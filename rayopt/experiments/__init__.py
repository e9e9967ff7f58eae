"""Many runs: workload files, experiments, results, tuning, replay, profiling. Imports fleets and all below."""
