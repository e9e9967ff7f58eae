"""Class labels are the sorted distinct ones, as in scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import rayopt as ro
from rayopt.core.errors import DataError
from rayopt.problems.data.classes import classes_of, encoded, shown

X = np.arange(12.0).reshape(6, 2)
NUMBERS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (NUMBERS + 1, [1, 2, 3]),
        (NUMBERS * 5 - 5, [-5, 0, 5]),
        (np.array(["cat", "dog", "ant"])[NUMBERS], ["ant", "cat", "dog"]),
        (np.array(["cat", "dog", "ant"], dtype=object)[NUMBERS], ["ant", "cat", "dog"]),
        (NUMBERS > 0, [False, True]),
        ((NUMBERS + 1).astype(float), [1.0, 2.0, 3.0]),
    ],
    ids=["from 1", "with gaps", "strings", "objects", "booleans", "whole floats"],
)
def test_any_labels_train_like_0_to_c(labels, classes):
    with pytest.warns(UserWarning, match="are the classes 0 to"):
        problem = ro.problems.LogisticRegression(X, labels)
    assert problem.classes_.tolist() == classes
    assert problem.classes == len(classes)
    same = ro.problems.LogisticRegression(X, np.searchsorted(classes, labels.astype(np.asarray(classes).dtype)))
    x = np.linspace(-1, 1, same.dimension)
    assert problem.value(x) == same.value(x)
    assert problem.value(np.zeros(problem.dimension)) == pytest.approx(np.log(len(classes)))


def test_labels_from_0_are_taken_as_they_are_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem = ro.problems.LogisticRegression(X, NUMBERS)
    assert problem.classes_.tolist() == [0, 1, 2]


def test_test_labels_are_of_the_same_classes():
    with pytest.warns(UserWarning, match="'a', 'b'"):
        problem = ro.problems.LogisticRegression(X[:4], list("abab"), X[4:], ["b", "a"])
    assert problem.y_test.tolist() == [1, 0]
    with (
        pytest.raises(DataError, match=r"y_test: label 'c' at row 1; expected one of 'a', 'b'"),
        pytest.warns(UserWarning, match="are the classes"),
    ):
        ro.problems.LogisticRegression(X[:4], list("abab"), X[4:], ["b", "c"])


@pytest.mark.parametrize("labels", [["a", 1, "b", 2, "c", 3], [0.5] * 6, [np.nan] * 6, [1j] * 6, [None] * 6])
def test_what_is_no_label(labels):
    with pytest.raises(DataError, match="y: labels of"):
        ro.problems.LogisticRegression(X, np.array(labels, dtype=object if "a" in labels or None in labels else None))


def test_a_given_number_of_classes_is_kept():
    problem = ro.problems.LogisticRegression(X, NUMBERS, classes=5)
    assert (problem.classes, problem.classes_.tolist()) == (5, [0, 1, 2, 3, 4])
    with pytest.raises(DataError, match=r"y: label 5 at row 0; expected one of 0, 1, 2, \.\.\., 4"):
        ro.problems.LogisticRegression(X, NUMBERS + 5, classes=5)


def test_one_class_alone():
    with (
        pytest.raises(DataError, match="all labels are 'a'; expected at least two classes"),
        pytest.warns(UserWarning, match="are the classes"),
    ):
        ro.problems.LogisticRegression(X, ["a"] * 6)


def test_sparse_logistic_regression_takes_any_two_labels():
    problems = [
        ro.problems.SparseLogisticRegression(csr_matrix(X + 1), labels)
        for labels in (NUMBERS > 0, np.where(NUMBERS > 0, "yes", "no"), np.where(NUMBERS > 0, 1, -1))
    ]
    assert [problem.y.tolist() for problem in problems] == [problems[0].y.tolist()] * 3


@pytest.mark.parametrize("kind", [ro.problems.LogisticRegression, ro.problems.MLP])
def test_sparse_input_to_a_dense_problem_names_the_sparse_one(kind):
    with pytest.raises(
        DataError, match=r"SparseLogisticRegression takes sparse rows, and X.toarray\(\) makes them dense"
    ):
        kind(csr_matrix(X), NUMBERS)


def test_positions_and_words():
    classes = classes_of([3, 1, 3, 2, 9, 8])
    assert encoded([9, 1], classes).tolist() == [4, 0]
    assert shown(classes) == "1, 2, 3, ..., 9"
