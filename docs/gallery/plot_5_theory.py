"""
What theory says
================

Seconds of each method against the number of workers, as multiples of the lower bound.
"""

import numpy as np
from matplotlib.figure import Figure

from rayopt.theory import Setting, homogeneous

counts = np.unique(np.geomspace(1, 1000, 30).astype(int))
figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.add_subplot()
for name in ("Rennala", "ASGD", "Minibatch", "Hero"):
    seconds = []
    for n in counts:
        setting = Setting(np.sqrt(np.arange(1, n + 1)), eps=1.0, smoothness=1.0, initial_gap=1.0, noise_variance=100.0)
        seconds.append(homogeneous.METHODS[name](setting) / homogeneous.lower_bound(setting))
    axes.loglog(counts, seconds, label=name)
axes.set_xlabel("workers")
axes.set_ylabel("seconds, as a multiple of the lower bound")
axes.legend()
