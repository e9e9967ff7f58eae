"""Python objects that a workload file names."""

from __future__ import annotations

import math

import pytest

from rayopt.core.errors import InvalidInput
from rayopt.core.user_code import dotted, imported


def test_there_and_back():
    assert imported("loss", "collections.abc:Mapping.get") is imported("loss", "collections.abc:Mapping").get
    assert imported("loss", "math:sqrt") is math.sqrt
    assert imported("loss", dotted(math.sqrt)) is math.sqrt
    assert imported("loss", math.sqrt) is math.sqrt


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("math.sqrt", "is not a dotted name"),
        ("math:", "is not a dotted name"),
        (":sqrt", "is not a dotted name"),
        ("math:sqrt()", "is not a dotted name"),
        ("no_such_module:name", "cannot be imported"),
        ("math:sqrd", "math has no 'sqrd' .*did you mean 'sqrt'"),
    ],
)
def test_wrong_names(given, problem):
    with pytest.raises(InvalidInput, match=f"loss: '.*{problem}"):
        imported("loss", given)
