"""
A tuning as a heat map
======================

Step sizes along one axis, another parameter along the other; the colour is the metric by which the best is chosen.
"""

import rayopt as ro

tuned = ro.tune(
    ro.Grid(ro.methods.Ringmaster, {"step_size": [0.02, 0.05, 0.1, 0.2, 0.5], "threshold": {"grid": [1, 4, 16, 64]}}),
    ro.problems.Quadratic(dimension=30, noise=0.02),
    ro.Workers(20, compute="sqrt(i)"),
    until=ro.Until(time=100),
    seeds=[0, 1],
    confirm=[2],
)
figure = tuned.plot()
print(tuned.best["Ringmaster"].values)
