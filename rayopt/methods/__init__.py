"""The methods, each under the name its paper gives it. Imports core, theory, latency and problems.

A docstring says of each what the server must know and what is guaranteed: seconds until E||grad f||^2 <= eps (of a
convex f: until E f - min f <= eps) on n workers that need tau_1 <= ... <= tau_n seconds for a gradient; L is the
smoothness of f, Delta = f(x^0) - inf f, sigma^2 the variance of a stochastic gradient. Where a statement was not read
in the paper that is cited, or where it matters that it was, a tag says where it is from: [paper] that paper; [sib] a
sibling paper of its authors, [poster] their poster or talk, [code] their code, [note] somebody's notes on it;
[derived] a short calculation; [memory] not read again; (?) uncertain, not to be quoted as the paper's. A constant with
the tag [note] or [memory] is uncertain too.
"""

from rayopt.methods.accelerated_rennala import AcceleratedRennala
from rayopt.methods.asgd import ASGD
from rayopt.methods.ata import ATA
from rayopt.methods.ata_empirical import ATAEmpirical
from rayopt.methods.base import Fleet, Method
from rayopt.methods.compressed.adaptive_shadowheart import AdaptiveShadowheart
from rayopt.methods.compressed.batch_qsgd import BatchQSGD
from rayopt.methods.compressed.bidirectional_shadowheart import BidirectionalShadowheart
from rayopt.methods.compressed.dcgd import DCGD
from rayopt.methods.compressed.diana import DIANA
from rayopt.methods.compressed.ef21 import EF21
from rayopt.methods.compressed.ef21_sgdm import EF21SGDM
from rayopt.methods.compressed.marina import MARINA
from rayopt.methods.compressed.perm_k_marina import PermKMARINA
from rayopt.methods.compressed.qsgd import QSGD
from rayopt.methods.compressed.sgd_one import SGDone
from rayopt.methods.compressed.shadowheart import Shadowheart
from rayopt.methods.decentralized.accelerated import AcceleratedAmelie, AcceleratedFragile
from rayopt.methods.decentralized.amelie import Amelie
from rayopt.methods.decentralized.fragile import Fragile
from rayopt.methods.decentralized.gossip import AsynchronousGossip, GossipSGD, GradientTracking, RelaySGD
from rayopt.methods.decentralized.minibatch import DecentralizedMinibatch
from rayopt.methods.decentralized.nonsmooth_fragile import NonsmoothFragile
from rayopt.methods.delay_adaptive_asgd import DelayAdaptiveASGD
from rayopt.methods.fedavg import FedAvg
from rayopt.methods.fedbuff import FedBuff
from rayopt.methods.finite_sum.freya_page import FreyaPAGE
from rayopt.methods.finite_sum.freya_sgd import FreyaSGD
from rayopt.methods.finite_sum.hero_gd import HeroGD
from rayopt.methods.finite_sum.hero_page import HeroPAGE
from rayopt.methods.finite_sum.page import PAGE
from rayopt.methods.finite_sum.soviet_gd import SovietGD
from rayopt.methods.finite_sum.soviet_page import SovietPAGE
from rayopt.methods.gta import GTA
from rayopt.methods.hero import Hero
from rayopt.methods.hogwild import Hogwild
from rayopt.methods.ia2sgd import IA2SGD
from rayopt.methods.m_sync import MSync
from rayopt.methods.malenia import Malenia
from rayopt.methods.mindflayer import MindFlayer
from rayopt.methods.minibatch import Minibatch
from rayopt.methods.naive_optimal_asgd import NaiveOptimalASGD
from rayopt.methods.nonsmooth_rennala import NonsmoothRennala
from rayopt.methods.ofta import OFTA
from rayopt.methods.picky import Picky
from rayopt.methods.rennala import Rennala
from rayopt.methods.rescaled_asgd import RescaledASGD
from rayopt.methods.ringleader import Ringleader
from rayopt.methods.ringmaster import Ringmaster
from rayopt.methods.uta import UTA
from rayopt.methods.vecna import Vecna

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Hero,
        Minibatch,
        MSync,
        ASGD,
        Hogwild,
        DelayAdaptiveASGD,
        NaiveOptimalASGD,
        Picky,
        Rennala,
        AcceleratedRennala,
        NonsmoothRennala,
        Ringmaster,
        MindFlayer,
        Malenia,
        Ringleader,
        IA2SGD,
        RescaledASGD,
        Vecna,
        ATA,
        ATAEmpirical,
        GTA,
        UTA,
        OFTA,
        FedAvg,
        FedBuff,
        FreyaPAGE,
        FreyaSGD,
        PAGE,
        HeroGD,
        SovietGD,
        HeroPAGE,
        SovietPAGE,
        Shadowheart,
        AdaptiveShadowheart,
        BidirectionalShadowheart,
        QSGD,
        BatchQSGD,
        SGDone,
        DCGD,
        DIANA,
        MARINA,
        PermKMARINA,
        EF21,
        EF21SGDM,
        Fragile,
        Amelie,
        AcceleratedFragile,
        AcceleratedAmelie,
        NonsmoothFragile,
        DecentralizedMinibatch,
        GossipSGD,
        GradientTracking,
        RelaySGD,
        AsynchronousGossip,
    )
}

__all__ = [
    "ASGD",
    "ATA",
    "DCGD",
    "DIANA",
    "EF21",
    "EF21SGDM",
    "GTA",
    "IA2SGD",
    "MARINA",
    "METHODS",
    "OFTA",
    "PAGE",
    "QSGD",
    "UTA",
    "ATAEmpirical",
    "AcceleratedAmelie",
    "AcceleratedFragile",
    "AcceleratedRennala",
    "AdaptiveShadowheart",
    "Amelie",
    "AsynchronousGossip",
    "BatchQSGD",
    "BidirectionalShadowheart",
    "DecentralizedMinibatch",
    "DelayAdaptiveASGD",
    "FedAvg",
    "FedBuff",
    "Fleet",
    "Fragile",
    "FreyaPAGE",
    "FreyaSGD",
    "GossipSGD",
    "GradientTracking",
    "Hero",
    "HeroGD",
    "HeroPAGE",
    "Hogwild",
    "MSync",
    "Malenia",
    "Method",
    "MindFlayer",
    "Minibatch",
    "NaiveOptimalASGD",
    "NonsmoothFragile",
    "NonsmoothRennala",
    "PermKMARINA",
    "Picky",
    "RelaySGD",
    "Rennala",
    "RescaledASGD",
    "Ringleader",
    "Ringmaster",
    "SGDone",
    "Shadowheart",
    "SovietGD",
    "SovietPAGE",
    "Vecna",
]
