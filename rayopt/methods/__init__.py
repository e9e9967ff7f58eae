"""The methods, each under the name its paper gives it.

A docstring says of each what the server must know and what is guaranteed: seconds until E||grad f||^2 <= eps (of a
convex f: until E f - min f <= eps) on n workers that need tau_1 <= ... <= tau_n seconds for a gradient; L is the smoothness
of f, Delta = f(x^0) - inf f, sigma^2 the variance of a stochastic gradient. Where a statement does not come from the paper
that is cited, or was not read there, a tag says from where: [paper] read in it; [sibling] read in another paper of its
authors, [talk] in their talk or poster, [note] in somebody's notes on it, [code] in their code; [derived] by a short
calculation; [memory] not read again. A constant with the tag [note] or [memory] is uncertain.
"""

from rayopt.methods.asgd import ASGD
from rayopt.methods.ata import ATA
from rayopt.methods.ata_empirical import ATAEmpirical
from rayopt.methods.base import Fleet, Method
from rayopt.methods.delay_adaptive_asgd import DelayAdaptiveASGD
from rayopt.methods.fedavg import FedAvg
from rayopt.methods.fedbuff import FedBuff
from rayopt.methods.gta import GTA
from rayopt.methods.hero import Hero
from rayopt.methods.m_sync import MSync
from rayopt.methods.malenia import Malenia
from rayopt.methods.mindflayer import MindFlayer
from rayopt.methods.minibatch import Minibatch
from rayopt.methods.ofta import OFTA
from rayopt.methods.rennala import Rennala
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
        DelayAdaptiveASGD,
        Rennala,
        Malenia,
        Ringmaster,
        MindFlayer,
        Vecna,
        ATA,
        ATAEmpirical,
        GTA,
        UTA,
        OFTA,
        FedAvg,
        FedBuff,
    )
}

__all__ = [
    "ASGD",
    "ATA",
    "GTA",
    "METHODS",
    "OFTA",
    "UTA",
    "ATAEmpirical",
    "DelayAdaptiveASGD",
    "FedAvg",
    "FedBuff",
    "Fleet",
    "Hero",
    "MSync",
    "Malenia",
    "Method",
    "MindFlayer",
    "Minibatch",
    "Rennala",
    "Ringmaster",
    "Vecna",
]
