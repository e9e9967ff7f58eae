"""Formulas of the worker number, such as ``1 + sqrt(i - 1)``: parsed, never executed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayopt.core.errors import InvalidInput, at_least, nearest

MAX_LENGTH = 200
MAX_DEPTH = 64

_VARIABLES = ("i", "n", "d")
_DIMENSION: ContextVar[float | None] = ContextVar("dimension", default=None)
_ENDS: ContextVar[tuple[NDArray[np.float64], NDArray[np.float64]] | None] = ContextVar("ends", default=None)
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.UAdd: np.positive,
    ast.USub: np.negative,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": np.sqrt,
    "log": np.log,
    "log2": np.log2,
    "exp": np.exp,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
}
_REDUCTIONS: dict[str, Callable[..., Any]] = {"min": np.minimum, "max": np.maximum}
_CALLABLE = (*_FUNCTIONS, *_REDUCTIONS)

ALLOWED = (
    "numbers, i (the worker, counted from 1), n (the number of workers), in a link d (the dimension), + - * / **, "
    "parentheses and " + ", ".join(_CALLABLE) + f", in at most {MAX_LENGTH} characters"
)

_Evaluator = Callable[[NDArray[np.float64], np.float64], Any]


@contextmanager
def dimension_is(dimension: int) -> Iterator[None]:
    """Lets d stand for this number in what is evaluated within the block."""
    token = _DIMENSION.set(float(dimension))
    try:
        yield
    finally:
        _DIMENSION.reset(token)


@contextmanager
def edges_are(i: NDArray[np.float64], j: NDArray[np.float64]) -> Iterator[None]:
    """Lets i and j stand for where edges begin and end, from 1, in what is evaluated within the block."""
    token = _ENDS.set((i, j))
    try:
        yield
    finally:
        _ENDS.reset(token)


class Formula:
    """A formula of i, the worker counted from 1, n, the number of workers, and in links d, the dimension.

    The text is parsed once, when the formula is made, into NumPy operations on
    float64; a number too large for float64 is an error, not a long computation.

    Args:
      text: numbers, ``i``, ``n``, ``d``, ``+ - * / **``, parentheses and the functions
        sqrt, log, log2, exp, abs, floor, ceil of one argument, min and max of at least two.

    Raises:
      InvalidInput: anything else in the text.

    Example:
      >>> Formula("1 + sqrt(i - 1)").evaluate(5).round(2).tolist()
      [1.0, 2.0, 2.41, 2.73, 3.0]
    """

    __slots__ = ("_evaluator", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise _invalid(f"{text!r} is not a text")
        self.text = text.strip()
        self._evaluator = _compile(_parse(self.text), depth=1)

    def evaluate(self, n: int) -> NDArray[np.float64]:
        """Returns the values for i = 1, ..., n; shape (n,).

        Args:
          n: number of workers.

        Raises:
          InvalidInput: a part of the formula is infinite or not a number for some i.
        """
        at_least("n", n, 1)
        ends = _ENDS.get()
        i = np.arange(1, n + 1, dtype=np.float64) if ends is None else ends[0]
        with np.errstate(all="ignore"):
            return np.full(n, self._evaluator(i, np.float64(n)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Formula({self.text!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Formula, (self.text,)


def _invalid(problem: str) -> InvalidInput:
    return InvalidInput("formula", problem, ALLOWED)


def _parse(text: str) -> ast.expr:
    """Returns the syntax tree of one expression."""
    if len(text) > MAX_LENGTH:
        raise _invalid(f"{text[:20]!r}... has {len(text)} characters")
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        token = text[max((error.offset or 1) - 1, 0) :][:20]
        place = f" at {token!r}" if token else ""
        raise _invalid(f"{text!r} cannot be read{place} ({error.msg})") from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise _invalid(f"{text!r} cannot be read ({error})") from None


def _compile(node: ast.expr, depth: int) -> _Evaluator:
    """Returns the function of (i, n) that a syntax tree stands for.

    Args:
      node: the tree.
      depth: its distance from the root, from 1; bounds the recursion here and in the evaluation.
    """
    if depth > MAX_DEPTH:
        raise _invalid(f"nested more than {MAX_DEPTH} deep at {ast.unparse(node)[:20]!r}")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _constant(value)
        case ast.Name(id="i"):
            return lambda i, n: i
        case ast.Name(id="n"):
            return lambda i, n: n
        case ast.Name(id="d"):
            return _dimension
        case ast.Name(id="j"):
            return _head
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _operation(node, _OPERATORS[type(op)], [operand], depth)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _operation(node, _OPERATORS[type(op)], [left, right], depth)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLABLE:
            return _operation(node, _function(name, arguments), arguments, depth)
        case ast.Call(func=ast.Name(id=name)) if name not in _CALLABLE:
            raise _invalid(f"unknown function {name!r}{nearest(name, _CALLABLE)}")
        case ast.Call(func=ast.Name(id=name), keywords=[ast.keyword(arg=keyword), *_]):
            raise _invalid(f"{name} has no argument named {keyword!r}")
        case ast.Name(id=name) if name in _CALLABLE:
            raise _invalid(f"{name!r} is a function and needs an argument, as in {name}(i)")
        case ast.Name(id=name):
            raise _invalid(f"unknown name {name!r}{nearest(name, (*_VARIABLES, *_CALLABLE))}")
        case ast.BinOp(op=ast.BitXor()):
            raise _invalid(f"{ast.unparse(node)!r} is not a power (did you mean '**'?)")
        case _:
            raise _invalid(f"{ast.unparse(node)!r} is not arithmetic")


def _dimension(i: NDArray[np.float64], n: np.float64) -> np.float64:
    found = _DIMENSION.get()
    if found is None:
        raise _invalid("'d' is the dimension, which only links know")
    return np.float64(found)


def _head(i: NDArray[np.float64], n: np.float64) -> NDArray[np.float64]:
    ends = _ENDS.get()
    if ends is None:
        raise _invalid("'j' is where an edge ends, which only the edges of a network know")
    return ends[1]


def _constant(value: int | float) -> _Evaluator:
    try:
        number = np.float64(value)
    except OverflowError:
        number = np.float64(np.inf)
    if not np.isfinite(number):
        raise _invalid(f"{str(value)[:20]!r} is not finite in float64")
    return lambda i, n: number


def _function(name: str, arguments: list[ast.expr]) -> Callable[..., Any]:
    if name in _REDUCTIONS:
        if len(arguments) < 2:
            raise _invalid(f"{name} has {len(arguments)} arguments and needs at least 2")
        return lambda *values: reduce(_REDUCTIONS[name], values)
    if len(arguments) != 1:
        raise _invalid(f"{name} has {len(arguments)} arguments and needs 1")
    return _FUNCTIONS[name]


def _operation(node: ast.expr, function: Callable[..., Any], operands: list[ast.expr], depth: int) -> _Evaluator:
    evaluators = [_compile(operand, depth + 1) for operand in operands]
    return partial(_evaluate, ast.unparse(node), function, evaluators)


def _evaluate(
    text: str, function: Callable[..., Any], evaluators: list[_Evaluator], i: NDArray[np.float64], n: np.float64
) -> Any:
    """Returns the values of the operation that ``text`` spells."""
    values = function(*[evaluator(i, n) for evaluator in evaluators])
    finite = np.isfinite(values)
    if not finite.all():
        worst = int(np.argmin(finite))
        raise _invalid(f"{text!r} is {np.ravel(values)[worst]} for i = {worst + 1}, n = {n:g}, which is not finite")
    return values
