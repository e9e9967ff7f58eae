"""Problems: functions with a stochastic gradient oracle, split over workers."""

from rayopt.problems.base import Problem
from rayopt.problems.free import Free
from rayopt.problems.logistic_regression import LogisticRegression
from rayopt.problems.quadratic import Quadratic

PROBLEMS: dict[str, type[Problem]] = {problem.name: problem for problem in (Quadratic, Free, LogisticRegression)}

__all__ = ["PROBLEMS", "Free", "LogisticRegression", "Problem", "Quadratic"]
