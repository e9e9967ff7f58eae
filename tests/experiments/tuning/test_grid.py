"""What a grid stands for, and what it refuses."""

from __future__ import annotations

import pytest

import rayopt as ro
from rayopt.core.errors import InvalidInput
from rayopt.experiments.tuning.grid import Grid, is_grid, values_of


@pytest.mark.parametrize(
    ("grid", "values"),
    [
        ({"grid": [1, 6, 24]}, [1, 6, 24]),
        ({"grid": [True, False]}, [True, False]),
        # The thresholds and step sizes of the Ringmaster paper's code.
        ({"halvings": 6174, "by": 4}, [6174, 1543, 385, 96, 24, 6, 1]),
        ({"powers": 5, "from": -5, "to": 4}, [0.00032, 0.0016, 0.008, 0.04, 0.2, 1.0, 5.0, 25.0, 125.0, 625.0]),
        ({"halvings": 5}, [5, 2, 1]),
        ({"powers": 2, "from": 0, "to": 3}, [1, 2, 4, 8]),
        ({"powers": 0.5, "from": 1, "to": 2}, [0.5, 0.25]),
        ({"powers": 3, "from": 2, "to": 2}, [9]),
    ],
)
def test_values(grid, values):
    found = values_of("threshold", grid)
    assert found == pytest.approx(values)
    assert [type(value) for value in found] == [type(value) for value in values]


def test_what_is_a_grid():
    assert is_grid({"grid": []})
    assert is_grid({"powers": 2})
    assert not any(map(is_grid, ([1, 2], 3, "grid", {"name": "dirichlet"}, None)))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"grid": []}, "threshold.grid: an empty list; allowed: at least one value"),
        ({"grid": [1, 2, 1]}, "threshold.grid: 1 stands twice in the list"),
        ({"grid": 3}, "threshold.grid: 3 is not a list; allowed: {grid: [1, 6, 24]}"),
        ({"grid": "123"}, "threshold.grid: '123' is not a list"),
        ({"grid": [1], "by": 2}, "threshold.by: unknown key"),
        ({"halvings": 8, "bye": 2}, "threshold.bye: unknown key (did you mean 'by'?)"),
        ({"halvings": 0}, "threshold.halvings: 0 is not an integer of at least 1"),
        ({"halvings": 8, "by": 1}, "threshold.by: 1 is not an integer of at least 2"),
        ({"powers": 2, "from": 0}, "threshold.to: None is not an integer"),
        ({"powers": 2, "from": 0.5, "to": 1}, "threshold.from: 0.5 is not an integer"),
        ({"powers": 2, "from": True, "to": 1}, "threshold.from: True is not an integer"),
        ({"powers": 2, "from": 3, "to": 2}, "threshold.to: 0 exponents from 3 to 2"),
        ({"powers": 2, "from": 0, "to": 5000}, "threshold.to: 5001 exponents from 0 to 5000; allowed: 1 to 1000"),
        ({"powers": -2, "from": 0, "to": 2}, "threshold.powers: -2 is not a positive number"),
        ({"powers": 1, "from": 0, "to": 2}, "threshold.powers: 1 has one power"),
        ({"powers": 10.0, "from": 300, "to": 400}, "threshold.to: 10 to the powers 300 to 400 is not a number"),
        ({"powers": 10, "from": 300, "to": 400}, "threshold.to: 10 to the powers 300 to 400 is not a number"),
        ({"powers": 10, "from": -400, "to": -390}, "threshold.to: 10 to the powers -400 to -390 is not a number"),
    ],
)
def test_bad_grids(grid, message):
    with pytest.raises(InvalidInput) as caught:
        values_of("threshold", grid)
    assert str(caught.value).startswith(message)


class TestGrid:
    def test_combinations_are_a_product_and_share_the_step_sizes(self):
        grid = Grid(
            ro.methods.Rennala,
            {
                "step_size": {"powers": 2, "from": -2, "to": -1},
                "batch_size": {"grid": [1, 4]},
                "interrupt": {"grid": [False, True]},
            },
        )
        assert [combination.text for combination in grid.combinations] == [
            "batch_size=1, interrupt=False",
            "batch_size=1, interrupt=True",
            "batch_size=4, interrupt=False",
            "batch_size=4, interrupt=True",
        ]
        assert grid.step_sizes == [0.25, 0.5]
        assert all(combination.method.members() == [0.25, 0.5] for combination in grid.combinations)
        assert grid.tried == {"batch_size": [1, 4], "interrupt": [False, True]}

    def test_a_method_is_a_grid_of_one_combination(self):
        (combination,) = Grid.of(ro.methods.ASGD([0.1, 0.2])).combinations
        assert (combination.values, combination.text) == ({}, "")
        assert repr(combination.method) == repr(ro.methods.ASGD([0.1, 0.2]))

    def test_config_spells_formulas_out(self):
        grid = Grid(ro.methods.Ringmaster, {"step_size": 0.1, "threshold": {"halvings": 4}}, "Ring")
        config = grid.to_config()
        assert config == {
            "name": "ringmaster",
            "step_size": 0.1,
            "threshold": {"grid": [4, 2, 1]},
            "interrupt": False,
            "label": "Ring",
        }
        assert [c.text for c in Grid(ro.methods.Ringmaster, {"step_size": 0.1, "threshold": config["threshold"]})
                .combinations] == [c.text for c in grid.combinations]  # fmt: skip

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"step_size": 0.1, "threshold": {"grid": [1, 0]}}, "threshold: 0 is not an integer of at least 1"),
            ({"step_size": {"grid": []}, "threshold": 1}, "step_size.grid: an empty list"),
            ({"step_size": [], "threshold": 1}, "step_size: an empty list"),
            ({"step_size": 0.1, "treshold": {"grid": [1]}}, "treshold: unknown key (did you mean 'threshold'?)"),
            ({"step_size": 0.1}, "threshold: missing"),
        ],
    )
    def test_bad_parameters(self, parameters, message):
        with pytest.raises(InvalidInput) as caught:
            Grid(ro.methods.Ringmaster, parameters)
        assert str(caught.value).startswith(message)

    def test_a_list_where_a_grid_is_meant_is_told_how_to_be_one(self):
        with pytest.raises(InvalidInput, match=r"threshold: \[1, 4\] is not .*; to try several values, {grid: \["):
            Grid(ro.methods.Ringmaster, {"step_size": 0.1, "threshold": [1, 4]})
        with pytest.raises(InvalidInput) as caught:
            Grid(ro.methods.Ringmaster, {"step_size": 0.1, "threshold": 0})
        assert "several" not in str(caught.value)
