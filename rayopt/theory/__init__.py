"""Time complexities, lower bounds and parameter choices: pure functions, for times and constants that are known.

Nothing here runs a method, and nothing here imports the rest of rayopt. A tag in a docstring says how a statement was
read: [paper] in the paper itself, [sib] in a sibling paper that states the same, [poster] in a talk or poster of the
authors, [code] in their code, [derived] by a short calculation from these, [memory] not read again, (?) uncertain.
A constant that a :class:`Setting` lacks is a :class:`MissingConstant`.

References:
  Tyurin, Richtarik, `Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed Computation
  Model <https://arxiv.org/abs/2305.12387>`_, 2023 (Rennala, Malenia, the lower bounds).
  Maranjyan, Tyurin, Richtarik, `Ringmaster ASGD <https://arxiv.org/abs/2501.16168>`_, 2025.
  Maranjyan, Richtarik, `Ringleader ASGD <https://arxiv.org/abs/2509.22860>`_, 2025 (and IA2SGD's time).
  Maranjyan, Omar, Richtarik, `MindFlayer SGD <https://arxiv.org/abs/2410.04285>`_, 2024.
  Maranjyan, Saad, Richtarik, Orabona, `ATA: Adaptive Task Allocation <https://arxiv.org/abs/2502.00775>`_, 2025.
  Tyurin, `Tight Time Complexities in Parallel Stochastic Optimization with Arbitrary Computation Dynamics
  <https://arxiv.org/abs/2408.04929>`_, 2024 (the universal computation model).
  Tyurin, Richtarik, `On the Optimal Time Complexities in Decentralized Stochastic Asynchronous Optimization
  <https://arxiv.org/abs/2405.16218>`_, 2024 (the sibling in which constants were read).
  Mahran, Maranjyan, Richtarik, `Rescaled ASGD <https://arxiv.org/abs/2605.13434>`_, 2026.
  Begunov, Tyurin, `Do We Need Asynchronous SGD? <https://arxiv.org/abs/2602.03802>`_, 2026 (m-Synchronous SGD).
  Koloskova, Stich, Jaggi, `Sharper Convergence Guarantees for Asynchronous SGD
  <https://arxiv.org/abs/2206.08307>`_, 2022.
  Mishchenko, Bach, Even, Woodworth, `Asynchronous SGD Beats Minibatch SGD Under Arbitrary Delays
  <https://arxiv.org/abs/2206.07638>`_, 2022.
  Cohen, Daniely, Drori, Koren, Schain, `Asynchronous Stochastic Optimization Robust to Arbitrary Delays
  <https://arxiv.org/abs/2106.11879>`_, 2021 (Picky SGD).
  Niu, Recht, Re, Wright, `Hogwild! <https://arxiv.org/abs/1106.5730>`_, 2011.
"""

from rayopt.theory import (
    allocation,
    communication,
    convex,
    cycles,
    decentralized,
    finite_sum,
    heterogeneous,
    hogwild,
    homogeneous,
    iterations,
    parameters,
    single_device,
    trials,
    universal,
)
from rayopt.theory.communication import equilibrium_time
from rayopt.theory.constants import CONSTANTS, Constant
from rayopt.theory.decentralized import decentralized_equilibrium_time
from rayopt.theory.finite_sum import finite_sum_time
from rayopt.theory.harmonic import Best, best_harmonic, best_slowest, harmonic_means
from rayopt.theory.setting import MissingConstant, Setting

__all__ = [
    "CONSTANTS",
    "Best",
    "Constant",
    "MissingConstant",
    "Setting",
    "allocation",
    "best_harmonic",
    "best_slowest",
    "communication",
    "convex",
    "cycles",
    "decentralized",
    "decentralized_equilibrium_time",
    "equilibrium_time",
    "finite_sum",
    "finite_sum_time",
    "harmonic_means",
    "heterogeneous",
    "hogwild",
    "homogeneous",
    "iterations",
    "parameters",
    "single_device",
    "trials",
    "universal",
]
