"""The estimators are scikit-learn's: its own checks, pipelines, searches, clones, and accuracy beside its solver."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import rayopt as ro
from rayopt.sklearn import DistributedSGDClassifier, DistributedSGDRegressor


@parametrize_with_checks([DistributedSGDClassifier(), DistributedSGDRegressor()])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, random_state=0, stratify=y)


def test_accuracy_on_digits_is_that_of_scikit_learn(digits):
    X, X_test, y, y_test = digits
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y).score(X_test, y_test)
    model = DistributedSGDClassifier().fit(X, y)
    assert model.score(X_test, y_test) > theirs - 0.01
    assert model.fleet_time_ > 0
    assert model.history_.value.iloc[-1] < model.history_.value.iloc[0]
    assert model.coef_.shape == (10, 64)
    np.testing.assert_allclose(model.predict_proba(X_test).sum(axis=1), 1)


def test_regression_is_that_of_scikit_learn():
    X, y = load_diabetes(return_X_y=True)
    theirs = LinearRegression().fit(X, y).score(X, y)
    assert DistributedSGDRegressor(batch=64).fit(X, y).score(X, y) > theirs - 0.05


def test_pipeline_search_and_clone(digits):
    X, _, y, _ = digits
    search = GridSearchCV(
        make_pipeline(StandardScaler(), DistributedSGDClassifier(until=ro.Until(updates=30))),
        {"distributedsgdclassifier__l2": [0.0, 0.01]}, cv=2,
    ).fit(X[:300], y[:300])  # fmt: skip
    assert search.best_score_ > 0.7
    model = DistributedSGDClassifier(ro.methods.Ringmaster([0.1][0], threshold=4), ro.Workers(4, "i"))
    assert repr(clone(model).method) == repr(model.method)


@pytest.mark.parametrize(
    "method", [ro.methods.Ringmaster(0.05, threshold=8), ro.methods.FreyaPAGE(0.1), "asgd", "rennala", "ringmaster"]
)
def test_any_method_trains_it(digits, method):
    X, X_test, y, y_test = digits
    model = DistributedSGDClassifier(method, workers=4, until=ro.Until(updates=300)).fit(X, y)
    assert model.score(X_test, y_test) > 0.8


def test_same_seed_same_bits_and_partial_fit_goes_on(digits):
    X, _, y, _ = digits
    first, second = (DistributedSGDClassifier(until=ro.Until(updates=20)).fit(X, y) for _ in range(2))
    assert first.coef_.tobytes() == second.coef_.tobytes()
    losses = []
    model = DistributedSGDClassifier(until=ro.Until(updates=20))
    for _ in range(3):
        model.partial_fit(X, y, classes=np.arange(10))
        losses.append(model.history_.value.iloc[-1])
    assert losses == sorted(losses, reverse=True)


def test_methods_have_get_params_and_set_params():
    method = ro.methods.Rennala(0.5, batch_size=4)
    assert method.get_params() == {"step_size": 0.5, "batch_size": 4, "interrupt": False}
    assert method.set_params(batch_size=8) is method
    assert repr(method) == "Rennala(step_size=0.5, batch_size=8, interrupt=False)"
    with pytest.raises(ro.InvalidInput, match="did you mean 'batch_size'"):
        method.set_params(batchsize=8)


def test_what_cannot_be_trained():
    with pytest.raises(ValueError, match="at least 2 classes"):
        DistributedSGDClassifier().fit([[1.0], [2.0]], [1, 1])
    with pytest.raises(ro.InvalidInput, match="l2"):
        DistributedSGDClassifier(l2=-1.0).fit([[1.0], [2.0]], [0, 1])


def test_a_name_that_needs_more_says_what(digits):
    X, _, y, _ = digits
    with pytest.raises(
        ro.InvalidInput, match=r"method: 'fedavg' needs local_steps; allowed: the method itself, such as"
    ):
        DistributedSGDClassifier(method="fedavg").fit(X, y)
