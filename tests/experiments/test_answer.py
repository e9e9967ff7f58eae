"""The sentence with the answer: a winner only where it is ahead by more than the spread."""

from __future__ import annotations

import math

import pytest

import rayopt as ro
from rayopt.experiments.answer import Scores, final_answer, listed, time_answer

TARGET = ro.Target("accuracy", reaches=0.88)
NEVER = math.inf


def answer(resolution=0.1, best=None, **times):
    scores = [Scores(label, values if isinstance(values, list) else [values]) for label, values in times.items()]
    return time_answer(scores, TARGET, resolution, best or {})


def test_one_winner_on_one_seed():
    assert answer(Minibatch=10.0, Ringmaster=4.0) == (
        "Ringmaster reached accuracy 0.88 in 4 s, 2.5 times sooner than Minibatch."
    )


def test_seeds_are_counted():
    text = answer(Minibatch=[10.0, 12.0, 11.0], Ringmaster=[4.0, NEVER, 5.0])
    assert text == "Ringmaster reached accuracy 0.88 in 5 s (2 of 3 seeds), 2.2 times sooner than Minibatch."


def test_no_winner_within_the_spread_over_seeds():
    text = answer(A=[4.0, 8.0, 6.0], B=[9.0, 5.0, 6.5], C=[60.0, 61.0, 62.0])
    assert text.startswith("A and B reached accuracy 0.88 in 6 to 6.5 s (3 of 3 seeds) with no clear winner")
    assert text.endswith("they were 10 times sooner than C.")


def test_the_spread_is_that_of_the_differences_on_one_seed():
    """Hard seeds are hard for both: A is ahead by one second on every one of them."""
    text = answer(A=[4.0, 8.0, 16.0], B=[5.0, 9.0, 17.0])
    assert text == "A reached accuracy 0.88 in 8 s (3 of 3 seeds), 1.1 times sooner than B."


@pytest.mark.parametrize(("ahead", "wins"), [(0.1, False), (0.25, True)])
def test_no_winner_within_one_history_row(ahead, wins):
    assert ("no clear winner" not in answer(resolution=0.1, A=4.0, B=4.0 + ahead)) == wins


def test_methods_that_never_reached_it():
    assert answer(A=4.0, B=NEVER) == "A reached accuracy 0.88 in 4 s; B did not reach it."
    assert answer(A=NEVER, B=NEVER, best={"A": 0.7, "B": 0.86}) == (
        "No method reached accuracy 0.88; B came closest with 0.86."
    )
    assert answer(A=NEVER, best={"A": math.nan}) == "No method reached accuracy 0.88."


def test_without_a_target_the_metric_at_the_end_decides():
    scores = [Scores("A", [0.5, 0.6]), Scores("B", [0.1, 0.2])]
    assert final_answer(scores, "value", [10.0, 10.0]) == "B had the lowest loss after 10 s: 0.15; A 0.55."
    accurate = [Scores("A", [-0.9]), Scores("B", [-0.8])]
    assert final_answer(accurate, "accuracy", [10.0, 8.0]) == "A had the highest accuracy after 8 to 10 s: 0.9; B 0.8."
    noisy = [Scores("A", [0.1, 0.9]), Scores("B", [0.6, 0.2])]
    assert final_answer(noisy, "value", [1.0]).startswith("No winner after 1 s: B and A have a loss within the spread")
    assert final_answer([Scores("A", [NEVER])], "value", [1.0]) == "No method ended with a finite metric."


def test_listed():
    assert [listed("abc"[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_the_answer_of_a_run(tmp_path):
    methods = [ro.methods.Minibatch([0.5, 2.0]), ro.methods.Ringmaster(0.5, threshold=5)]
    result = ro.run(
        methods, ro.problems.Quadratic(dimension=5, noise=0.0), ro.Workers(10, "i**2"), out=tmp_path / "run",
        until=ro.Until(time=2000, target=ro.Target("gap", reaches=0.01)), record=ro.Record(every=1), seed=[0, 1],
    )  # fmt: skip
    best = result.table[result.table.best].set_index("label").time_to_target
    ratio = best["Minibatch"] / best["Ringmaster"]
    assert result.answer == (
        f"Ringmaster reached f - f* 0.01 in {best['Ringmaster']:.4g} s (2 of 2 seeds), "
        f"{ratio:.2g} times sooner than Minibatch."
    )
    assert ro.load(tmp_path / "run").answer == result.answer


def test_one_method_without_a_target_has_no_answer():
    result = ro.run(
        ro.methods.ASGD(0.1), ro.problems.Quadratic(dimension=5), ro.Workers(3, "i"), until=ro.Until(time=9)
    )
    assert result.answer == ""
