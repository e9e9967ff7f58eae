"""Atomic operations on the elements of an array, for compiled code: what LLVM has and Numba does not show.

x is read and added to in no order beyond that of each component ("monotonic"), which is all that Hogwild assumes; what
guards other memory (the lock, the counters) acquires and releases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

FLOATS = types.Array(types.float64, 1, "C")
WORDS = types.Array(types.int64, 1, "C")
WORD_BYTES = 8

Context = Any
Emit = Callable[[ir.IRBuilder, Any, list[Any]], Any]

# Callers do not give the first argument, which Numba's own type does not tell.
_intrinsic: Any = intrinsic


def _on_element(array: types.Array, result: types.Type, arguments: tuple[types.Type, ...], emit: Emit) -> Any:
    """Returns signature and code of an operation on ``array[index]``.

    Args:
      array: the type of the array.
      result: the type of what is returned.
      arguments: the types of what is given besides array and index.
      emit: given the builder, the address of the element and the other arguments, returns the result's value.
    """

    def generate(context: Context, builder: ir.IRBuilder, signature: Any, given: list[Any]) -> Any:
        whole, index, *others = given
        start = context.make_array(array)(context, builder, whole).data
        value = emit(builder, builder.gep(start, [index]), others)
        return context.get_dummy_value() if result is types.void else value

    return result(array, types.intp, *arguments), generate


@_intrinsic
def read(typing_context: Context, x: Any, index: Any) -> Any:
    """Returns x[index], never half of an old and half of a new value."""
    return _on_element(
        FLOATS, types.float64, (), lambda builder, at, _: builder.load_atomic(at, "monotonic", WORD_BYTES)
    )


@_intrinsic
def add(typing_context: Context, x: Any, index: Any, amount: Any) -> Any:
    """x[index] += amount; no addition of another worker is lost."""
    return _on_element(
        FLOATS, types.void, (types.float64,),
        lambda builder, at, others: builder.atomic_rmw("fadd", at, others[0], "monotonic"),
    )  # fmt: skip


@_intrinsic
def look(typing_context: Context, words: Any, index: Any) -> Any:
    """Returns words[index] as it is now."""
    return _on_element(WORDS, types.int64, (), lambda builder, at, _: builder.load_atomic(at, "acquire", WORD_BYTES))


@_intrinsic
def publish(typing_context: Context, words: Any, index: Any, value: Any) -> Any:
    """words[index] = value, seen by others after everything that was written before it."""
    return _on_element(
        WORDS, types.void, (types.int64,),
        lambda builder, at, others: builder.store_atomic(others[0], at, "release", WORD_BYTES),
    )  # fmt: skip


@_intrinsic
def take(typing_context: Context, words: Any, index: Any, amount: Any) -> Any:
    """words[index] += amount; returns what it was before."""
    return _on_element(
        WORDS, types.int64, (types.int64,),
        lambda builder, at, others: builder.atomic_rmw("add", at, others[0], "acq_rel"),
    )  # fmt: skip


@_intrinsic
def swap(typing_context: Context, words: Any, index: Any, old: Any, new: Any) -> Any:
    """words[index] = new if it is ``old``; returns whether it was."""
    return _on_element(
        WORDS, types.boolean, (types.int64, types.int64),
        lambda builder, at, others: builder.extract_value(builder.cmpxchg(at, *others, "acquire", "monotonic"), 1),
    )  # fmt: skip
