"""
A metric against time
=====================

Of each method the best step size of its grid; the line is the median over seeds, the band its quartiles.
"""

import rayopt as ro

result = ro.run(
    [
        ro.methods.Minibatch(step_size=[0.25, 0.5, 1.0]),
        ro.methods.Rennala(step_size=[0.25, 0.5, 1.0], batch_size=20),
        ro.methods.Ringmaster(step_size=[0.02, 0.05, 0.1], threshold=20),
    ],
    ro.problems.Quadratic(dimension=100, noise=0.02),
    ro.Workers(50, compute="sqrt(i)"),
    until=ro.Until(time=500),
    seed=range(5),
)
figure = result.plot("gap")
