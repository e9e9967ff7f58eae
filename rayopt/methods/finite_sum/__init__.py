"""Methods for finite sums f = (1/m) sum_j f_j, of which every worker can evaluate every f_j. Imports methods.base."""
