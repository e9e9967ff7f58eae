"""
Against the bits that were sent
===============================

Twenty workers on a slow network: the same accuracy for a fraction of the bits.
"""

import rayopt as ro

result = ro.run(
    [
        ro.methods.Minibatch(step_size=[0.5, 1.0]),
        ro.methods.QSGD(step_size=[0.1, 0.2], compressor=ro.compressors.RandK(10)),
        ro.methods.Shadowheart(step_size=[0.5, 1.0], compressor=ro.compressors.RandK(1), noise_ratio=1.0),
    ],
    ro.problems.Quadratic(dimension=100, noise=0.01),
    ro.Workers(20, compute="i", upload=ro.Link(per_float="0.1 * i")),
    until=ro.Until(time=4000),
)
figure = result.plot("gap", x="bits_up", log="xy")
