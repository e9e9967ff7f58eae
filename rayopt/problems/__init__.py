"""Problems: functions with a stochastic gradient oracle, split over workers. Imports core, theory and latency."""

from rayopt.problems.base import Problem
from rayopt.problems.estimate import Estimate
from rayopt.problems.free import Free
from rayopt.problems.jax_problem import JaxProblem
from rayopt.problems.least_squares import LeastSquares
from rayopt.problems.logistic_regression import LogisticRegression
from rayopt.problems.mlp import MLP
from rayopt.problems.nonconvex_quadratics import NonconvexQuadratics
from rayopt.problems.quadratic import Quadratic
from rayopt.problems.sparse_logistic_regression import SparseLogisticRegression
from rayopt.problems.torch_problem import TorchProblem

PROBLEMS: dict[str, type[Problem]] = {
    problem.name: problem
    for problem in (
        Quadratic,
        NonconvexQuadratics,
        Free,
        LogisticRegression,
        SparseLogisticRegression,
        LeastSquares,
        MLP,
        TorchProblem,
        JaxProblem,
    )
}

__all__ = [
    "MLP",
    "PROBLEMS",
    "Estimate",
    "Free",
    "JaxProblem",
    "LeastSquares",
    "LogisticRegression",
    "NonconvexQuadratics",
    "Problem",
    "Quadratic",
    "SparseLogisticRegression",
    "TorchProblem",
]
