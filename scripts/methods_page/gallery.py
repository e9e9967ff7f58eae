"""What the figure of each method shows, and in which order the methods stand on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import rayopt as ro
from methods_page.curves import Scene
from methods_page.timeline import TIMES, Timeline
from rayopt import methods
from rayopt.compression import RandK, TopK
from rayopt.methods import Method

STEPS = [2.0**-power for power in range(12)]


@dataclass(frozen=True)
class Case:
    """The figure of one method.

    Attributes:
      timeline: on three workers.
      scene: where it is compared.
      compared: the method with the arguments that it has there; its step size is chosen.
      beside: two others.
    """

    timeline: Timeline
    scene: Scene
    compared: Method
    beside: Sequence[Method]


MANY = Scene(
    "the quadratic with d = 100 and noise 0.01 on 300 workers that need sqrt(i) + |N(0, i)| seconds",
    lambda: ro.problems.Quadratic(dimension=100, noise=0.01),
    ro.Workers(300, ro.latency.half_normal(base="sqrt(i)", scale="sqrt(i)")), 300, STEPS,
)  # fmt: skip
LIPSCHITZ = Scene(
    "logistic regression on 400 images of handwritten digits, on 300 workers that need sqrt(i) seconds",
    lambda: ro.problems.LogisticRegression.digits(rows=400),
    ro.Workers(300, "sqrt(i)"), 200, STEPS[:9], metric="value",
)  # fmt: skip


def own_data() -> ro.problems.LogisticRegression:
    """Returns a small problem whose minimum is not that of the fast workers."""
    partition = {"name": "dirichlet", "alpha": 0.1}
    return ro.problems.LogisticRegression.digits(rows=400, batch=2, l2=0.1, partition=partition)


OWN_DATA = Scene(
    "logistic regression on 400 images of handwritten digits, divided by Dirichlet(0.1) over 10 workers that need "
    "i^2 / 10 seconds",
    own_data, ro.Workers(10, "i**2 / 10"), 600, STEPS[1:10], metric="grad_norm_sq",
)  # fmt: skip
OWN_DATA_RANDOM = Scene(
    "logistic regression on 400 images of handwritten digits, divided by Dirichlet(0.1) over 10 workers that need "
    "i + exp(4 N(0, 1)) seconds",
    own_data, ro.Workers(10, ro.latency.lognormal(median=1, shape=4, base="i")), 600, STEPS[:7], metric="grad_norm_sq",
)  # fmt: skip
OWN_DATA_FAR_AWAY = Scene(
    "logistic regression on 400 images of handwritten digits, divided by Dirichlet(0.1) over 10 workers that need "
    "0.1 i seconds for a gradient and 5 for a message, either way",
    own_data, ro.Workers(10, "0.1 * i", upload=5.0, download=5.0), 400, STEPS[:8], metric="grad_norm_sq",
)  # fmt: skip
RANDOM = Scene(
    "the quadratic with d = 50 and noise 0.02 in each coordinate, on 8 workers that need sqrt(i) + exp(4 N(0, 1)) "
    "seconds",
    lambda: ro.problems.Quadratic(dimension=50, noise=0.02, noise_kind="iid"),
    ro.Workers(8, ro.latency.lognormal(median=1, shape=4, base="sqrt(i)")), 1000, STEPS[:8],
)  # fmt: skip
FEW_TASKS = Scene(
    "the quadratic with d = 50 and noise 0.05 in each coordinate, on 17 workers that need i + Exp(0.1 i) seconds",
    lambda: ro.problems.Quadratic(dimension=50, noise=0.05, noise_kind="iid"),
    ro.Workers(17, ro.latency.exponential(base="i", mean="0.1 * i")), 6000, STEPS[:6], counts_worker_seconds=True,
)  # fmt: skip

FINITE_SUM = Scene(
    "a sum of 400 nonconvex quadratics with d = 50 on 30 workers that need sqrt(i) seconds for one of them",
    lambda: ro.problems.NonconvexQuadratics(components=400, dimension=50, regularisation=0.01),
    ro.Workers(30, "sqrt(i)"), 6000, STEPS[:8],
)  # fmt: skip

SENDING = Scene(
    "the quadratic with d = 100 and noise 0.01 on 30 workers that need sqrt(i) seconds for a gradient and "
    "0.1 sqrt(i) for each float that they send",
    lambda: ro.problems.Quadratic(dimension=100, noise=0.01),
    ro.Workers(30, "sqrt(i)", upload=ro.Link(per_float="0.1 * sqrt(i)")), 3000, STEPS[:10],
)  # fmt: skip
SENDING_BOTH_WAYS = Scene(
    "the quadratic with d = 100 and noise 0.01 on 30 workers that need sqrt(i) seconds for a gradient and 0.1 for each "
    "float that is sent, either way",
    lambda: ro.problems.Quadratic(dimension=100, noise=0.01),
    ro.Workers(30, "sqrt(i)", upload=ro.Link(per_float=0.1), download=ro.Link(per_float=0.1)), 3000, STEPS[:10],
)  # fmt: skip
OWN_FUNCTIONS = Scene(
    "10 workers with a nonconvex quadratic each, d = 50, that need a second for a gradient and 0.2 for each float that "
    "they send",
    lambda: ro.problems.NonconvexQuadratics(
        components=10, dimension=50, spread=0.5, regularisation=0.01, split=True
    ),
    ro.Workers(10, 1.0, upload=ro.Link(per_float=0.2)), 3000, STEPS[:10],
)  # fmt: skip

MESH = Scene(
    "the quadratic with d = 100 and noise 0.01 on a mesh of 5 x 5 nodes that need a second for a gradient and as long "
    "for a message to a neighbour",
    lambda: ro.problems.Quadratic(dimension=100, noise=0.01),
    ro.Network(ro.graphs.mesh(5, 5), 1.0, edges=1.0), 2000, STEPS[:10],
)  # fmt: skip
OWN_FUNCTIONS_ON_A_TREE = Scene(
    "a nonconvex quadratic each, d = 50, on the 15 nodes of a binary tree that need sqrt(i) seconds for a gradient and "
    "half a second for a message to a neighbour",
    lambda: ro.problems.NonconvexQuadratics(
        components=15, dimension=50, spread=0.5, regularisation=0.01, split=True
    ),
    ro.Network(ro.graphs.binary_tree(3), "sqrt(i)", edges=0.5), 3000, STEPS[:10],
)  # fmt: skip

HERO, MINIBATCH, ASGD = methods.Hero(0.5), methods.Minibatch(0.5), methods.ASGD(0.1)
SOVIET = methods.SovietPAGE(0.5)
GTA, UTA = methods.GTA(0.5, batch_size=12), methods.UTA(0.5, batch_size=12)
USUAL = (MINIBATCH, ASGD)
TREE_MINIBATCH, GOSSIP = methods.DecentralizedMinibatch(0.5), methods.GossipSGD(0.5)
ON_A_GRAPH = (TREE_MINIBATCH, GOSSIP)
LIMITS = [seconds + 0.5 for seconds in TIMES]


MESSAGES = (0.2, 0.4, 0.3)
K1, K5, TOP5 = RandK(1), RandK(5), TopK(5)
QSGD = methods.QSGD(0.1, RandK(10))
HETEROGENEOUS = (MINIBATCH, methods.DCGD(0.1, K5))


def case(
    shown: Method, scene: Scene, compared: Method | None = None, beside: Sequence[Method] = USUAL, fails: float = 0.0,
    upload: float | tuple[float, ...] = 0.0,
) -> Case:  # fmt: skip
    """Returns a case; ``compared`` is by default what is shown."""
    return Case(Timeline(shown, fails, upload), scene, compared or shown, beside)


def sends(shown: Method, scene: Scene, compared: Method | None = None, beside: Sequence[Method] = USUAL) -> Case:
    """Returns the case of a method whose messages take time."""
    return case(shown, scene, compared, beside, upload=MESSAGES)


CASES: dict[str, dict[str, Case]] = {
    "Baselines": {
        "hero": case(HERO, MANY),
        "minibatch": case(MINIBATCH, MANY, beside=(HERO, ASGD)),
        "m_sync": case(methods.MSync(0.5, batch_size=2), MANY, methods.MSync(0.5, batch_size=10)),
        "asgd": case(ASGD, MANY, beside=(MINIBATCH, HERO)),
        "delay_adaptive_asgd": case(methods.DelayAdaptiveASGD(0.1), MANY),
        "picky": case(methods.Picky(0.3, distance_limit=0.8), MANY, methods.Picky(0.5, distance_limit=0.3)),
        "hogwild": case(methods.Hogwild(0.1), MANY, beside=(MINIBATCH, HERO)),
    },
    "Optimal on homogeneous data": {
        "naive_optimal_asgd": case(
            methods.NaiveOptimalASGD(0.1, workers_used=2), MANY, methods.NaiveOptimalASGD(0.1, workers_used=10)
        ),
        "rennala": case(methods.Rennala(0.5, batch_size=4), MANY, methods.Rennala(0.5, batch_size=6, interrupt=True)),
        "ringmaster": case(methods.Ringmaster(0.5, threshold=2), MANY, methods.Ringmaster(0.5, threshold=6)),
    },
    "For convex functions": {
        "accelerated_rennala": case(
            methods.AcceleratedRennala(0.2, batch_size=4, interrupt=True), MANY,
            methods.AcceleratedRennala(0.2, batch_size=6, interrupt=True),
        ),
        "nonsmooth_rennala": case(
            methods.NonsmoothRennala(0.5, batch_size=4), LIPSCHITZ, methods.NonsmoothRennala(0.5, batch_size=8)
        ),
    },
    "For heterogeneous data": {
        "malenia": case(methods.Malenia(0.5, batch_size=4), OWN_DATA, methods.Malenia(0.5, batch_size=10)),
        "ringleader": case(methods.Ringleader(0.1), OWN_DATA),
        "ia2sgd": case(methods.IA2SGD(0.1), OWN_DATA),
        "rescaled_asgd": case(methods.RescaledASGD(0.1), OWN_DATA),
    },
    "For random times": {
        "mindflayer": case(
            methods.MindFlayer(0.5, trials=[3, 2, 1], time_limit=LIMITS), RANDOM,
            methods.MindFlayer(0.5, trials=[4, 3, 2, 2, 2, 2, 2, 2], time_limit="1 + sqrt(i)"), fails=0.3,
        ),
        "vecna": case(
            methods.Vecna(0.5, trials=[3, 2, 1], time_limit=LIMITS), OWN_DATA_RANDOM,
            methods.Vecna(0.5, trials=[4, 3, 2, 2, 1, 1, 1, 1, 1, 1], time_limit="1 + i"), fails=0.3,
        ),
    },
    "Allocation of tasks": {
        "gta": case(methods.GTA(0.5, batch_size=4), FEW_TASKS, GTA, (MINIBATCH, UTA)),
        "uta": case(methods.UTA(0.5, batch_size=4), FEW_TASKS, UTA, (MINIBATCH, GTA)),
        "ofta": case(methods.OFTA(0.5, batch_size=4), FEW_TASKS, methods.OFTA(0.5, batch_size=12), (UTA, GTA)),
        "ata": case(
            methods.ATA(0.5, batch_size=4, alpha=0.2), FEW_TASKS, methods.ATA(0.5, batch_size=12, alpha=2.7), (UTA, GTA)
        ),
        "ata_empirical": case(
            methods.ATAEmpirical(0.5, batch_size=4, eta=0.1), FEW_TASKS,
            methods.ATAEmpirical(0.5, batch_size=12, eta=0.15), (UTA, GTA),
        ),
    },
    "For finite sums": {
        "hero_gd": case(methods.HeroGD(0.5), FINITE_SUM),
        "soviet_gd": case(methods.SovietGD(0.5), FINITE_SUM),
        "page": case(methods.PAGE(0.5), FINITE_SUM),
        "hero_page": case(methods.HeroPAGE(0.5), FINITE_SUM),
        "soviet_page": case(methods.SovietPAGE(0.5), FINITE_SUM),
        "freya_sgd": case(
            methods.FreyaSGD(0.5, batch_size=3), FINITE_SUM, methods.FreyaSGD(0.5, batch_size=20), (MINIBATCH, SOVIET)
        ),
        "freya_page": case(methods.FreyaPAGE(0.5), FINITE_SUM, beside=(SOVIET, ASGD)),
    },
    "For messages that take time": {
        "sgd_one": sends(methods.SGDone(0.5), SENDING, beside=(MINIBATCH, QSGD)),
        "qsgd": sends(methods.QSGD(0.5, K1), SENDING, QSGD),
        "batch_qsgd": sends(
            methods.BatchQSGD(0.5, K1, batch_size=2, messages=3), SENDING,
            methods.BatchQSGD(0.5, K1, batch_size=2, messages=10), (MINIBATCH, QSGD),
        ),
        "shadowheart": sends(
            methods.Shadowheart(0.5, RandK(5), 1.0), SENDING, methods.Shadowheart(0.5, K1, 1.0), (MINIBATCH, QSGD)
        ),
        "adaptive_shadowheart": sends(
            methods.AdaptiveShadowheart(0.5, RandK(5), 1.0), SENDING, methods.AdaptiveShadowheart(0.5, K1, 1.0),
            (MINIBATCH, QSGD),
        ),
        "bidirectional_shadowheart": sends(
            methods.BidirectionalShadowheart(0.1, RandK(5), 1.0, TOP5), SENDING_BOTH_WAYS,
            methods.BidirectionalShadowheart(0.1, K1, 1.0, TopK(10)), (MINIBATCH, QSGD),
        ),
    },
    "For messages that take time, on heterogeneous data": {
        "dcgd": sends(methods.DCGD(0.1, K5), OWN_FUNCTIONS),
        "diana": sends(methods.DIANA(0.1, K5), OWN_FUNCTIONS, beside=HETEROGENEOUS),
        "marina": sends(methods.MARINA(0.1, K5), OWN_FUNCTIONS, beside=HETEROGENEOUS),
        "perm_k_marina": sends(methods.PermKMARINA(0.1), OWN_FUNCTIONS, beside=HETEROGENEOUS),
        "ef21": sends(methods.EF21(0.1, TOP5), OWN_FUNCTIONS, beside=HETEROGENEOUS),
        "ef21_sgdm": sends(methods.EF21SGDM(0.1, TOP5, 0.3), OWN_FUNCTIONS, beside=HETEROGENEOUS),
    },
    "Without a server": {
        "fragile": case(methods.Fragile(0.5, 4, 1), MESH, methods.Fragile(0.5, 10), beside=ON_A_GRAPH),
        "accelerated_fragile": case(
            methods.AcceleratedFragile(0.1, 4, 1), MESH, methods.AcceleratedFragile(0.1, 10), beside=ON_A_GRAPH
        ),
        "nonsmooth_fragile": case(
            methods.NonsmoothFragile(0.5, 4, 1), MESH, methods.NonsmoothFragile(0.5, 10), beside=ON_A_GRAPH
        ),
        "decentralized_minibatch": case(TREE_MINIBATCH, MESH, beside=(GOSSIP, methods.Fragile(0.5, 10))),
        "gossip_sgd": case(GOSSIP, MESH, beside=(TREE_MINIBATCH, methods.Fragile(0.5, 10))),
        "asynchronous_gossip": case(methods.AsynchronousGossip(0.1), MESH, beside=ON_A_GRAPH),
        "amelie": case(
            methods.Amelie(0.5, 4, 1), OWN_FUNCTIONS_ON_A_TREE, methods.Amelie(0.5, 15), beside=ON_A_GRAPH
        ),
        "accelerated_amelie": case(
            methods.AcceleratedAmelie(0.1, 4, 1), MESH, methods.AcceleratedAmelie(0.1, 25), beside=ON_A_GRAPH
        ),
        "gradient_tracking": case(methods.GradientTracking(0.1), OWN_FUNCTIONS_ON_A_TREE, beside=ON_A_GRAPH),
        "relay_sgd": case(methods.RelaySGD(0.1), OWN_FUNCTIONS_ON_A_TREE, beside=ON_A_GRAPH),
    },
    "Federated": {
        "fedavg": case(methods.FedAvg(0.1, local_steps=2), OWN_DATA_FAR_AWAY, methods.FedAvg(0.1, local_steps=5)),
        "fedbuff": case(
            methods.FedBuff(0.1, local_steps=2, buffer_size=2), OWN_DATA_FAR_AWAY,
            methods.FedBuff(0.1, local_steps=5, buffer_size=3),
        ),
    },
}  # fmt: skip
