"""The words that all other folders share: tasks, arrivals, addressed randomness, errors. Imports nothing of rayopt."""
