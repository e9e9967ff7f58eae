from __future__ import annotations

import pickle
from functools import reduce

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rayopt.core.errors import InvalidInput
from rayopt.latency.formula import ALLOWED, MAX_DEPTH, Formula


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i", [1, 2, 3, 4]),
        ("n", [4, 4, 4, 4]),
        ("2", [2, 2, 2, 2]),
        (" 1e-1 ", [0.1, 0.1, 0.1, 0.1]),
        ("sqrt(i)", np.sqrt([1, 2, 3, 4])),
        ("1 + sqrt(i - 1)", 1 + np.sqrt([0, 1, 2, 3])),
        ("i**2 / n", np.array([1, 4, 9, 16]) / 4),
        ("-i + 2 * n", [7, 6, 5, 4]),
        ("-2**2 + i", [-3, -2, -1, 0]),
        ("2**3**2", [512] * 4),
        ("29 * log(i + 1)", 29 * np.log([2, 3, 4, 5])),
        ("log2(i) + exp(0)", np.log2([1, 2, 3, 4]) + 1),
        ("abs(i - 3)", [2, 1, 0, 1]),
        ("min(i, 2)", [1, 2, 2, 2]),
        ("max(i, 2, n - 1)", [3, 3, 3, 4]),
        ("58 * (5 * floor((i - 1) / 2) + 1)", [58, 58, 348, 348]),
        ("ceil(i / 2)", [1, 1, 2, 2]),
    ],
)
def test_values(text: str, expected: list[float]) -> None:
    values = Formula(text).evaluate(4)
    assert values.shape == (4,)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected, rtol=1e-15)


def test_values_belong_to_the_caller() -> None:
    formula = Formula("i")
    formula.evaluate(3)[:] = 0
    assert formula.evaluate(3).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read"),
        ("sqrt(i", "cannot be read"),
        ("2i", "cannot be read"),
        ("i = 3", "cannot be read"),
        ("i; n", "cannot be read"),
        ("i\x00", "cannot be read"),
        ("(" * 100 + "i", "cannot be read"),
        ("i + k", "unknown name 'k'"),
        ("sqr", "'sqr' (did you mean 'sqrt'?)"),
        ("sqtr(i)", "'sqtr' (did you mean 'sqrt'?)"),
        ("sqrt", "needs an argument, as in sqrt(i)"),
        ("sqrt()", "sqrt has 0 arguments and needs 1"),
        ("log(i, 2)", "log has 2 arguments and needs 1"),
        ("max(i)", "max has 1 arguments and needs at least 2"),
        ("max(i, n, key=abs)", "no argument named 'key'"),
        ("max(*i)", "needs at least 2"),
        ("max(n, *i)", "'*i' is not arithmetic"),
        ("i ^ 2", "did you mean '**'?"),
        ("i // 2", "'i // 2' is not arithmetic"),
        ("i % 2", "'i % 2' is not arithmetic"),
        ("i < 2", "'i < 2' is not arithmetic"),
        ("i if n else 2", "is not arithmetic"),
        ("i and n", "is not arithmetic"),
        ("~i", "is not arithmetic"),
        ("'i'", "is not arithmetic"),
        ("True", "is not arithmetic"),
        ("None", "is not arithmetic"),
        ("2j", "is not arithmetic"),
        ("(i, n)", "is not arithmetic"),
        ("[1, 2]", "is not arithmetic"),
        ("i[0]", "is not arithmetic"),
        ("(n := 3)", "is not arithmetic"),
        ("1e999", "not finite"),
        ("1" + "0" * 320, "characters"),
        ("i + " * 60 + "i", "characters"),
        ("-" * (MAX_DEPTH + 1) + "i", "nested more than"),
        ("1+" * 99 + "i", "nested more than"),
    ],
)
def test_bad_formula(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Formula(text)
    assert problem in caught.value.problem
    assert caught.value.allowed == ALLOWED
    assert "sqrt" in ALLOWED


def test_not_a_text() -> None:
    with pytest.raises(InvalidInput, match="3 is not a text"):
        Formula(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__[0].__subclasses__()",
        "i.__class__",
        "sqrt.__globals__",
        "sqrt.__call__(i)",
        "(lambda: i)()",
        "[i for i in (1,)]",
        "open('/etc/passwd')",
        "eval('1')",
        "f'{i}'",
        "sqrt(i)(i)",
        "__builtins__",
        "np.load('x')",
        "max(i, print(1))",
        "yield i",
        "await i",
    ],
)
def test_nothing_but_arithmetic_is_executed(text: str) -> None:
    with pytest.raises(InvalidInput):
        Formula(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("9**9**9", "'9 ** 9 ** 9' is inf"),
        ("i / 9**9**9", "'9 ** 9 ** 9' is inf"),
        ("exp(1000)", "'exp(1000)' is inf"),
        ("1 / (i - 2)", "'1 / (i - 2)' is inf for i = 2, n = 4"),
        ("log(i - 1)", "'log(i - 1)' is -inf for i = 1"),
        ("sqrt(2 - i)", "'sqrt(2 - i)' is nan for i = 3"),
        ("max(1, sqrt(2 - i))", "'sqrt(2 - i)' is nan for i = 3"),
        ("(2 - i)**0.5", "is nan for i = 3"),
        ("0/0", "'0 / 0' is nan"),
    ],
)
def test_what_is_not_finite_is_named(text: str, part: str) -> None:
    formula = Formula(text)
    with pytest.raises(InvalidInput, match="not finite") as caught:
        formula.evaluate(4)
    assert part in caught.value.problem


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_bad_number_of_workers(n: object) -> None:
    with pytest.raises(InvalidInput, match="n:"):
        Formula("i").evaluate(n)  # type: ignore[arg-type]


def test_equality_and_pickle() -> None:
    formula = Formula("sqrt(i) ")
    copy = pickle.loads(pickle.dumps(formula))
    assert copy == formula == Formula("sqrt(i)")
    assert hash(copy) == hash(formula)
    assert formula != Formula("i")
    assert repr(copy) == "Formula('sqrt(i)')"
    assert copy.evaluate(3).tolist() == formula.evaluate(3).tolist()


NUMPY = {
    "sqrt": np.sqrt,
    "log": np.log,
    "log2": np.log2,
    "exp": np.exp,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "min": lambda *values: reduce(np.minimum, values),
    "max": lambda *values: reduce(np.maximum, values),
}

leaves = st.sampled_from(["i", "n"]) | st.integers(0, 9).map(lambda k: f"float64({k})")
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda e: f"(-{e})"),
        st.tuples(st.sampled_from(["sqrt", "log", "log2", "exp", "abs", "floor", "ceil"]), inner).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
    ),
    max_leaves=8,
)


@given(expression=expressions, n=st.integers(1, 9))
def test_random_expressions_equal_numpy(expression: str, n: int) -> None:
    text = expression.replace("float64", "")
    assume(len(text) <= 200)
    scope = {**NUMPY, "float64": np.float64, "i": np.arange(1.0, n + 1), "n": np.float64(n)}
    with np.errstate(all="ignore"):
        expected = np.full(n, eval(expression, scope))
    try:
        values = Formula(text).evaluate(n)
    except InvalidInput as error:
        # A part may be infinite where the whole is finite, as in 1 / exp(999).
        values, problem = None, error.problem
    if values is None:
        assert "not finite" in problem
    else:
        np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@given(st.text(max_size=30) | st.text(alphabet="in0123456789.+-*/() sqrtlogexpabminx,_[]'\"=<", max_size=30))
def test_any_text_is_a_formula_or_invalid_input(text: str) -> None:
    try:
        values = Formula(text).evaluate(3)
    except InvalidInput:
        return
    assert np.isfinite(values).all()
