"""Seconds of methods that send messages: independent programs, brute force, the table of the paper."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from rayopt import theory
from rayopt.cli import main
from rayopt.theory import MissingConstant, Setting, communication
from rayopt.theory.checks import NotAllowed


def balance(omega, ratio, workers):
    """Returns s with s sum_i 1 / (2 tau omega + 4 tau omega h r / s + 2 h r) = 1 by plain bisection."""

    def excess(s):
        costs = [2 * tau * omega + 4 * tau * omega * h * ratio / s + 2 * h * ratio for h, tau in workers]
        return math.inf if min(costs) == 0 else s * sum(1 / cost for cost in costs) - 1

    low, high = 0.0, 1.0
    while excess(high) < 0:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (low, middle) if excess(middle) >= 0 else (middle, high)
    return high


class TestEquilibriumTime:
    @pytest.mark.parametrize(
        ("omega", "ratio", "h", "tau", "expected"),
        [
            (2, 2, [1, 2, 3], [0.5, 1, 0.25], 4.1660052186),
            (9, 1, [1, 1, 1, 1], [0.2, 0.4, 0.8, 1.6], 3.6835618873),
            (99, 10, [1, 1.5, 4, 9], [0.1, 0.3, 0.2, 2], 32.2052035850),
            (0, 5, [1, 2, 3], [1, 1, 1], 5.4545454545),
            (4, 0, [1, 2, 3], [1, 2, 4], 4.5714285714),
        ],
    )
    def test_values_of_an_independent_program(self, omega, ratio, h, tau, expected):
        assert theory.equilibrium_time(omega, ratio, h, tau) == pytest.approx(expected, rel=1e-9)

    def test_brute_force_over_j_on_1000_random_instances(self):
        generator = np.random.default_rng(0)
        for _ in range(1000):
            n = int(generator.integers(1, 12))
            h, tau = generator.lognormal(size=n, sigma=2), generator.lognormal(size=n, sigma=2)
            omega, ratio = float(generator.choice([0, 0.5, 7, 1000])), float(generator.choice([0, 0.1, 10, 1e4]))
            order = sorted(range(n), key=lambda i: max(h[i], tau[i]))
            brute = min(
                max(h[order[j]], tau[order[j]], balance(omega, ratio, [(h[i], tau[i]) for i in order[: j + 1]]))
                for j in range(n)
            )
            assert theory.equilibrium_time(omega, ratio, h, tau) == pytest.approx(brute, rel=1e-9)

    @pytest.mark.parametrize(("omega", "ratio"), [(9, 3), (0.125, 100), (99, 0.5)])
    def test_closed_form_of_equal_workers(self, omega, ratio):
        n, h, tau = 50, 2.0, 0.3
        a = (omega * tau + h * ratio) / n
        closed = max(h, tau, a + math.sqrt(a**2 + 4 * tau * h * ratio * omega / n))
        assert theory.equilibrium_time(omega, ratio, [h] * n, [tau] * n) == pytest.approx(closed)

    def test_a_straggler_changes_nothing(self):
        finite = theory.equilibrium_time(9, 10, [1, 2], [1, 1])
        assert theory.equilibrium_time(9, 10, [1, 2, math.inf], [1, 1, 1]) == finite
        assert theory.equilibrium_time(9, 10, [1, 2, 1], [1, 1, math.inf]) == finite

    def test_a_million_workers_in_seconds(self):
        generator = np.random.default_rng(0)
        began = time.process_time()
        theory.equilibrium_time(7849, 100, generator.lognormal(size=10**6), generator.lognormal(size=10**6))
        assert time.process_time() - began < 5

    @pytest.mark.parametrize(
        "arguments", [(-1, 1, [1], [1]), (1, -1, [1], [1]), (1, 1, [-1], [1]), (1, 1, [1, 2], [1]), (1, 1, [], []),
                      (math.inf, 1, [1], [1])],
    )  # fmt: skip
    def test_what_is_not_allowed(self, arguments):
        with pytest.raises(NotAllowed):
            theory.equilibrium_time(*arguments)


def setting(**changes):
    known = {
        "smoothness": 2.0, "initial_gap": 3.0, "noise_variance": 4.0, "omega": 9.0, "upload": [0.1, 0.2, 5.0],
        "dense_upload": [1.0, 2.0, 50.0],
    }  # fmt: skip
    return Setting([1.0, 4.0, 2.0], 1.0, **{**known, **changes})


class TestSeconds:
    def test_by_hand(self):
        # a = 6, b = 24, n = 3
        found = {name: seconds(setting()) for name, seconds in communication.METHODS.items()}
        assert found["SGDone"] == 30
        assert found["Minibatch"] == 50 * (6 + 8)
        assert found["QSGD"] == 5 * (4 * 6 + 10 * 8)
        # max{h, D}: 1, 4, 50; r / rates: 4, 3.2, ...: the minimum is at j = 1
        assert found["Rennala"] == found["ASGD"] == 6 * 4
        assert found["Shadowheart"] == 6 * theory.equilibrium_time(9, 4, [1, 4, 2], [0.1, 0.2, 5])

    def test_what_is_missing_is_named(self):
        with pytest.raises(MissingConstant, match="omega"):
            communication.METHODS["QSGD"](setting(omega=None))
        with pytest.raises(NotAllowed, match="upload"):
            setting(upload=[1.0, -1.0, 1.0])

    def test_the_numbers_of_table_1(self):
        """Medians of an independent program with the same draws (methods-b, section 8)."""
        rows = communication.shadowheart_table()
        found = {(row.method, row.noise_ratio): (row.ratio, row.least, row.largest) for row in rows}
        expected = {
            ("Minibatch", 1): (1281, 1210, 1357), ("Minibatch", 1e3): (1483, 1426, 1547),
            ("Minibatch", 1e6): (38460, 37330, 40370), ("QSGD", 1): (2.56, 2.418, 2.716),
            ("QSGD", 1e3): (742.1, 713.9, 774.2), ("QSGD", 1e6): (38420, 37290, 40330),
            ("Rennala, ASGD", 1): (128.9, 121, 138.2), ("Rennala, ASGD", 1e3): (74.93, 71.44, 77.86),
            ("Rennala, ASGD", 1e6): (4.033, 3.808, 4.236),
        }  # fmt: skip
        assert found.keys() == expected.keys()
        for key, numbers in expected.items():
            assert found[key] == pytest.approx(numbers, rel=2e-3)


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(main, ["theory", *arguments])

    def test_links_and_a_compressor(self):
        found = self.run("--times", "1,2", "--upload", "i / d", "--dimension", "100", "--noise-ratio", "4",
                         "--compressor", "{name: rand_k, k: 5}", "--json")  # fmt: skip
        assert found.exit_code == 0, found.output
        numbers = json.loads(found.stdout)
        assert numbers["methods"]["Shadowheart"] == pytest.approx(
            theory.equilibrium_time(19, 4, [1.0, 2.0], [0.05, 0.1])
        )
        assert numbers["methods"]["Minibatch"] == pytest.approx(2 * (1 + 4 / 2))
        assert self.run("--times", "1,2", "--upload", "1", "--dimension", "9").exit_code == 0

    def test_the_table_of_the_paper(self):
        found = self.run("--shadowheart-table")
        assert found.exit_code == 0
        assert "does not come out" in " ".join(found.output.split())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--upload", "1"), "--dimension: missing beside --upload"),
            (("--upload", "-1", "--dimension", "5"), "--upload.per_float"),
            (("--upload", "1", "--dimension", "5", "--compressor", "top_k"), "--compressor.k: missing"),
            (("--upload", "1", "--dimension", "5", "--compressor", "{name: top_k, k: 1}"), "biased"),
            (("--upload", "1", "--dimension", "5", "--compressor", "{name: rand_k, k: 6}"), "6 of 5 coordinates"),
            (("--upload", "1", "--dimension", "5", "--convex"), "--upload: cannot be combined with --convex"),
        ],
    )
    def test_bad_input(self, arguments, message):
        found = self.run("--times", "1,2", *arguments)
        assert found.exit_code == 2
        assert message in " ".join(found.output.split())
