"""Data sets: readers of files, the shipped MNIST subset, partitions over workers. Imports core."""
