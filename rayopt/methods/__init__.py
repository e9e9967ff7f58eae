"""The methods, each under the name its paper gives it."""

from rayopt.methods.asgd import ASGD
from rayopt.methods.base import Fleet, Method
from rayopt.methods.delay_adaptive_asgd import DelayAdaptiveASGD
from rayopt.methods.hero import Hero
from rayopt.methods.m_sync import MSync
from rayopt.methods.malenia import Malenia
from rayopt.methods.minibatch import Minibatch
from rayopt.methods.rennala import Rennala
from rayopt.methods.ringmaster import Ringmaster

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Hero, Minibatch, MSync, ASGD, DelayAdaptiveASGD, Rennala, Malenia, Ringmaster)
}

__all__ = [
    "ASGD",
    "METHODS",
    "DelayAdaptiveASGD",
    "Fleet",
    "Hero",
    "MSync",
    "Malenia",
    "Method",
    "Minibatch",
    "Rennala",
    "Ringmaster",
]
