"""Powers that change over time: the universal computation model."""
