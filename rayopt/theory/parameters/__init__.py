"""The arguments that theory recommends for each method, as functions of a :class:`~rayopt.theory.setting.Setting`.

Each returns a mapping with the arguments of the method's constructor, and raises
:class:`~rayopt.theory.setting.MissingConstant` for a constant that it needs and that is not known.
"""

from rayopt.theory.parameters.communication import (
    batch_qsgd,
    bidirectional_shadowheart,
    diana,
    ef21,
    ef21_sgdm,
    marina,
    perm_k_marina,
    qsgd,
    shadowheart,
)
from rayopt.theory.parameters.convex import accelerated_rennala, nonsmooth_rennala
from rayopt.theory.parameters.finite_sum import (
    freya_page,
    freya_sgd,
    hero_gd,
    hero_page,
    page,
    soviet_gd,
    soviet_page,
)
from rayopt.theory.parameters.heterogeneous import ia2sgd, malenia, rescaled_asgd, ringleader
from rayopt.theory.parameters.homogeneous import (
    asgd,
    batch_of_variance,
    hero,
    m_sync,
    minibatch,
    naive_optimal_asgd,
    picky,
    rennala,
    ringmaster,
)
from rayopt.theory.parameters.random_times import ata, mindflayer, task_allocation, vecna

__all__ = [
    "accelerated_rennala",
    "asgd",
    "ata",
    "batch_of_variance",
    "batch_qsgd",
    "bidirectional_shadowheart",
    "diana",
    "ef21",
    "ef21_sgdm",
    "freya_page",
    "freya_sgd",
    "hero",
    "hero_gd",
    "hero_page",
    "ia2sgd",
    "m_sync",
    "malenia",
    "marina",
    "mindflayer",
    "minibatch",
    "naive_optimal_asgd",
    "nonsmooth_rennala",
    "page",
    "perm_k_marina",
    "picky",
    "qsgd",
    "rennala",
    "rescaled_asgd",
    "ringleader",
    "ringmaster",
    "shadowheart",
    "soviet_gd",
    "soviet_page",
    "task_allocation",
    "vecna",
]
