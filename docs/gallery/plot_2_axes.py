"""
Against updates, gradients or worker-seconds
============================================

What is cheap in updates may be dear in gradients: the same runs against two other axes, at the width of a column.
"""

import rayopt as ro

result = ro.run(
    [
        ro.methods.Minibatch(step_size=[0.5, 1.0]),
        ro.methods.Rennala(step_size=[0.5, 1.0], batch_size=10),
        ro.methods.ASGD(step_size=[0.02, 0.05]),
    ],
    ro.problems.Quadratic(dimension=50, noise=0.02),
    ro.Workers(30, compute="i"),
    until=ro.Until(time=500),
    seed=range(3),
)

# %%
# Updates:

by_updates = result.plot("gap", x="updates", log="y", style="paper")

# %%
# Worker-seconds of computation:

by_work = result.plot("gap", x="worker_seconds", log="y", style="paper")
