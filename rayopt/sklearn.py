"""scikit-learn estimators that a parallel method trains on a fleet of unequal workers.

>>> from sklearn.datasets import load_digits
>>> from rayopt.sklearn import DistributedSGDClassifier
>>> X, y = load_digits(return_X_y=True)
>>> model = DistributedSGDClassifier().fit(X[:1000], y[:1000])
>>> bool(model.score(X[1000:], y[1000:]) > 0.85)
True
"""

from __future__ import annotations

import math
import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from rayopt.core.errors import InvalidInput, non_negative
from rayopt.experiments.components import arguments_of, look_up
from rayopt.fleets.base import FleetKind, Job
from rayopt.fleets.simulated.fleet import SimulatedFleet
from rayopt.latency.workers import Workers
from rayopt.methods import METHODS, Method, Rennala
from rayopt.problems import LeastSquares, LogisticRegression, Problem
from rayopt.runs.record import Record
from rayopt.runs.until import Until

Array = NDArray[np.float64]

UPDATES = 1000
"""Updates of a fit without ``until``; a call of ``partial_fit`` makes a tenth of them."""
ROWS = 50
"""History rows of a run, about."""


class _Trained(BaseEstimator):
    """What classifier and regressor share: the arguments, the scaling of features, and the run of a method."""

    def __init__(
        self,
        method: str | Method | None = None,
        workers: int | Workers = 8,
        fleet: FleetKind | None = None,
        until: Until | None = None,
        batch: int = 32,
        l2: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.method = method
        self.workers = workers
        self.fleet = fleet
        self.until = until
        self.batch = batch
        self.l2 = l2
        self.seed = seed

    def _learn_scale(self, X: Array) -> None:
        self._mean = X.mean(axis=0)
        spread = X.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)

    def _train(self, problem: Problem, start: Array | None, updates: int) -> Array:
        """Runs the method from a point and returns where it ends, shape (dimension,)."""
        workers = self.workers if isinstance(self.workers, Workers) else Workers(self.workers, compute="sqrt(i)")
        if start is not None:
            problem.start_point = start.copy  # type: ignore[method-assign]
        method = self._chosen(problem, workers)
        until = Until(updates=updates) if self.until is None else self.until
        every = None if until.time < math.inf else float(np.median(workers.times(self.seed).least)) or None
        record = Record(every=every, metrics=["value"], trace=False).resolve(problem.metric_names, until)
        method.use_problem(problem)
        job = Job(method, self.seed, until, record, keep_estimate=True)
        with (self.fleet or SimulatedFleet()).open(problem, workers) as session:
            outcome = session.run(job, lambda rows: None, lambda progress: None)
        rows = outcome.rows[:: max(1, len(outcome.rows) // ROWS)]
        self.history_ = pd.DataFrame([*rows, outcome.rows[-1]])
        self.fleet_time_ = outcome.time
        found: Array = np.asarray(outcome.estimate, dtype=np.float64)
        if not np.isfinite(found).all():
            warnings.warn("the method diverged: a smaller step size may not", ConvergenceWarning, stacklevel=3)
            found = np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
        return found

    def _chosen(self, problem: Problem, workers: Workers) -> Method:
        """Returns the method: what was given, or one whose step size fits the smoothness."""
        if isinstance(self.method, Method):
            return self.method.fresh()
        step_size = 1.0 / max(float(problem.smoothness or 1.0), 1e-12)
        if self.method is None:
            return Rennala(step_size, batch_size=workers.count, interrupt=True)
        kind: Any = look_up(self.method, METHODS)
        needed = [key for key, argument in arguments_of(kind).items() if argument.default is argument.empty]
        sizes = {key: workers.count for key in needed if key in ("batch_size", "threshold")}
        if other := [key for key in needed if key != "step_size" and key not in sizes]:
            raise InvalidInput("method", f"{self.method!r} needs {', '.join(other)}",
                               f"the method itself, such as rayopt.methods.{kind.__name__}(...)")  # fmt: skip
        chosen: Method = kind(step_size=step_size, **sizes)
        return chosen


class DistributedSGDClassifier(ClassifierMixin, _Trained):
    """Multinomial logistic regression that a parallel method trains on a fleet of unequal workers.

    Features are scaled to mean 0 and variance 1 within; ``coef_`` and ``intercept_`` are those of the features given.

    Args:
      method: a method of rayopt with its arguments, the name of one, or None for Rennala SGD that stops what is late;
        where the step size is not given it is 1 / L, batch size and threshold are the number of workers.
      workers: how many, or a :class:`rayopt.Workers`; so many workers need sqrt(i) seconds for a gradient.
      fleet: virtual time by default; ``rayopt.RayFleet()`` for real time on Ray.
      until: when a fit ends; after 1,000 updates by default.
      batch: rows of one stochastic gradient.
      l2: weight of the squared norm of the coefficients.
      seed: addresses samples and times.

    Attributes:
      classes_: the labels, sorted, shape (classes,).
      coef_: shape (classes, features), or (1, features) for two classes.
      intercept_: shape (classes,), or (1,).
      history_: a frame with the loss against fleet time.
      fleet_time_: fleet seconds of the last fit.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Trains from zero.

        Raises:
          ValueError: the data cannot be used, or have one class alone.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self._begin(X, np.unique(y))
        return self._go_on(X, y, UPDATES)

    def partial_fit(self, X: Any, y: Any, classes: ArrayLike | None = None) -> Self:
        """Goes on from the coefficients so far; the first call needs all classes."""
        first = not hasattr(self, "classes_")
        X, y = validate_data(self, X, y, dtype=np.float64, reset=first)
        check_classification_targets(y)
        if first:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._begin(X, np.unique(np.asarray(classes)))
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(
                f"classes={classes!r} is not the same as on the last call to partial_fit: {self.classes_!r}"
            )
        return self._go_on(X, y, UPDATES // 10)

    def _begin(self, X: Array, classes: NDArray[Any]) -> None:
        if len(classes) < 2:
            raise ValueError(f"at least 2 classes are needed, and the data contain one class: {classes[0]!r}")
        self.classes_ = classes
        self._learn_scale(X)
        self._point: Array | None = None

    def _go_on(self, X: Array, y: NDArray[Any], updates: int) -> Self:
        if unknown := set(np.unique(y).tolist()) - set(self.classes_.tolist()):
            raise ValueError(f"y contains labels that are not among the classes: {sorted(unknown)}")
        rows = (X - self._mean) / self._spread
        labels = np.searchsorted(self.classes_, y)
        problem = LogisticRegression(
            rows, labels, l2=non_negative("l2", self.l2), batch=self.batch, classes=len(self.classes_)
        )
        self._point = self._train(problem, self._point, updates)
        matrix = self._point.reshape(X.shape[1] + 1, len(self.classes_))
        weights = (matrix[:-1] / self._spread[:, None]).T
        intercept = matrix[-1] - weights @ self._mean
        if len(self.classes_) == 2:
            weights, intercept = weights[1:] - weights[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = weights, intercept
        return self

    def decision_function(self, X: Any) -> Array:
        """Returns the logits, shape (rows, classes), or (rows,) of the second of two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        logits: Array = X @ self.coef_.T + self.intercept_
        return logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> Array:
        """Returns the probability of each class, shape (rows, classes)."""
        logits = self.decision_function(X)
        if logits.ndim == 1:
            logits = np.stack([np.zeros(len(logits)), logits], axis=1)
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: Array = logits / logits.sum(axis=1, keepdims=True)
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """Returns the most probable label of each row, shape (rows,)."""
        logits = self.decision_function(X)
        chosen = (logits > 0).astype(int) if logits.ndim == 1 else logits.argmax(axis=1)
        return self.classes_[chosen]


class DistributedSGDRegressor(RegressorMixin, _Trained):
    """Linear least squares that a parallel method trains on a fleet of unequal workers.

    Features and target are centred and scaled within; ``coef_`` and ``intercept_`` are those of the data as given.

    Args:
      method: as for :class:`DistributedSGDClassifier`.
      workers: likewise.
      fleet: likewise.
      until: likewise.
      batch: likewise.
      l2: likewise, of the scaled coefficients.
      seed: likewise.

    Attributes:
      coef_: shape (features,).
      intercept_: a float.
      history_: a frame with the loss against fleet time.
      fleet_time_: fleet seconds of the last fit.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Trains from zero.

        Raises:
          ValueError: the data cannot be used.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        self._begin(X, y)
        return self._go_on(X, y, UPDATES)

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Goes on from the coefficients so far."""
        first = not hasattr(self, "coef_")
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, reset=first)
        if first:
            self._begin(X, y)
        return self._go_on(X, y, UPDATES // 10)

    def _begin(self, X: Array, y: Array) -> None:
        self._learn_scale(X)
        self._level, self._height = float(np.mean(y)), float(np.std(y)) or 1.0
        self._point: Array | None = None

    def _go_on(self, X: Array, y: Array, updates: int) -> Self:
        rows = np.c_[(X - self._mean) / self._spread, np.ones(len(X))]
        targets = (np.asarray(y, dtype=np.float64) - self._level) / self._height
        if self.l2:
            # Rows that ask every scaled coefficient to be 0 are the penalty.
            penalty = math.sqrt(non_negative("l2", self.l2) * len(X)) * np.eye(X.shape[1], X.shape[1] + 1)
            rows, targets = np.r_[rows, penalty], np.r_[targets, np.zeros(X.shape[1])]
        problem = LeastSquares(rows, targets, batch=self.batch)
        self._point = self._train(problem, self._point, updates)
        self.coef_ = self._height * self._point[:-1] / self._spread
        self.intercept_ = float(self._level + self._height * self._point[-1] - self.coef_ @ self._mean)
        return self

    def predict(self, X: Any) -> Array:
        """Returns the targets, shape (rows,)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        found: Array = X @ self.coef_ + self.intercept_
        return found


__all__ = ["DistributedSGDClassifier", "DistributedSGDRegressor"]
