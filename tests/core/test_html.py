"""What notebooks show of the objects that an experiment is made of."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

import rayopt as ro
from rayopt.core.html import object_html
from rayopt.methods import METHODS

SHOWN = [
    (ro.methods.Rennala([0.1, 0.2], batch_size=4), ["Rennala", "batch_size", "4", "step_size", "arXiv"]),
    (ro.methods.QSGD(0.1, ro.compressors.RandK(2)), ["QSGD", "RandK(k=2)"]),
    (ro.problems.Quadratic(7), ["Quadratic", "dimension", "7", "gap"]),
    (ro.problems.LogisticRegression.from_config(), ["LogisticRegression", "data", "MNIST", "accuracy"]),
    (ro.Workers(3, "i"), ["Workers", "count", "3", "1, 1, 2, 2, 3"]),
    (ro.Workers(2, "measured"), ["measured"]),
    (ro.Network(ro.graphs.ring(4), compute=1.0, edges=2.0), ["Network", "ring", "4"]),
    (ro.SimulatedFleet(gradients="ray"), ["SimulatedFleet", "gradients", "ray"]),
    (ro.RayFleet(time_scale=0.01), ["RayFleet", "time_scale", "0.01"]),
]


@pytest.mark.parametrize(("thing", "words"), SHOWN, ids=[type(thing).__name__ for thing, _ in SHOWN])
def test_it_says_what_it_is_and_what_it_is_made_of(thing, words):
    shown = thing._repr_html_()
    text = " ".join(ElementTree.fromstring(f"<div>{shown}</div>").itertext())
    for word in words:
        assert word in text


def test_every_method_has_one():
    for method in METHODS.values():
        assert method.__doc__.partition("\n")[0].split("[")[0].strip()[:20] in object_html(method.__new__(method), {})


def test_what_others_write_stays_text():
    assert "<script>" not in object_html(ro.SimulatedFleet(), {"<script>": "<script>alert(1)</script>"})
    long = object_html(ro.SimulatedFleet(), {"data": list(range(10_000))})
    assert len(long) < 1_000
