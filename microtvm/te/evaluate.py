"""Whole-array numpy evaluation of tensor expressions.

It computes constants at compile time and is an oracle for lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from microtvm.errors import IRError
from microtvm.te.tensor import ComputeOp, Reduce, Tensor
from microtvm.tir.dtype import dtype_range, is_float
from microtvm.tir.expr import (
    BinOp,
    Call,
    Cast,
    Expr,
    FloatImm,
    IntImm,
    Not,
    Param,
    Read,
    Select,
    Var,
)
from microtvm.tir.intrinsic import FUNCTIONS
from microtvm.tir.traversal import post_order
from microtvm.util import Array

_NUMPY: dict[str, Callable[[Array, Array], Array]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "//": np.floor_divide, "%": np.mod,
    "/": np.divide, "min": np.minimum, "max": np.maximum, "<<": np.left_shift,
    ">>": np.right_shift, "&": np.bitwise_and, "|": np.bitwise_or, "^": np.bitwise_xor,
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater,
    ">=": np.greater_equal, "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip


def _binary(node: BinOp, a: Array, b: Array) -> Array:
    if node.op in ("tdiv", "tmod"):
        quotient = np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b)
        return _wrapped(node.dtype, quotient if node.op == "tdiv" else a - quotient * b)
    if is_float(node.a.dtype) and node.op in ("min", "max"):
        # As C++'s std::min and std::max: the first operand where neither is smaller.
        return np.where(b < a if node.op == "min" else a < b, b, a)
    return _wrapped(node.dtype, _NUMPY[node.op](a, b))


def _wrapped(dtype: str, value: Array) -> Array:
    """Unsigned values of up to 32 bits wrap, as C's do."""
    return value & dtype_range(dtype)[1] if dtype in ("uint8", "uint16", "uint32") else value


def _cast(dtype: str, value: Array) -> Array:
    if is_float(dtype):
        return value.astype(dtype)
    if value.dtype.kind == "f":
        return np.trunc(value).astype(np.int64)
    return value.astype(np.bool_) if dtype == "bool" else _wrapped(dtype, value.astype(np.int64))


def evaluate_expr(
    expr: Expr, values: dict[Expr, Array], arrays: Callable[[Tensor], Array]
) -> Array:
    """`expr` for arrays of variable values (broadcast together). Integers are computed in 64 bits.

    A read outside its array gives the nearest element: the branch of a select that isn't chosen may
    do so.
    """
    memo: dict[Expr, Array] = dict(values)
    for node in post_order(expr):
        if node in memo:
            continue
        c = [memo[child] for child in node.children()]
        if isinstance(node, IntImm | Param):
            memo[node] = np.asarray(node.value, bool if node.dtype == "bool" else np.int64)
        elif isinstance(node, FloatImm):
            memo[node] = np.asarray(node.value, node.dtype)
        elif isinstance(node, Cast):
            memo[node] = _cast(node.dtype, c[0])
        elif isinstance(node, BinOp):
            memo[node] = _binary(node, c[0], c[1])
        elif isinstance(node, Not):
            memo[node] = np.logical_not(c[0])
        elif isinstance(node, Select):
            memo[node] = np.where(c[0], c[1], c[2])
        elif isinstance(node, Read):
            array = arrays(node.source)
            index = tuple(np.clip(i, 0, n - 1) for i, n in zip(c, array.shape, strict=True))
            found = array[index]
            memo[node] = found if found.dtype.kind in "fb" else found.astype(np.int64)
        elif isinstance(node, Call):
            meaning = np.vectorize(FUNCTIONS[node.name].evaluate, otypes=[_wide(node.dtype)])
            memo[node] = meaning(*c)
        else:
            raise IRError(f"{node!r} has no value outside a loop program")
    return memo[expr]


_REDUCTION: dict[str, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum}


def _wide(dtype: str) -> str:
    return dtype if is_float(dtype) else "int64"


def evaluate_indices(
    exprs: Sequence[Expr],
    variables: Sequence[Expr],
    shape: Sequence[int],
    columns: Sequence[Array] | None = None,
) -> tuple[Array, ...]:
    """Every expression over the grid of `shape`: arrays that are to be broadcast to it.

    The k-th variable is the k-th index, or `columns[k]`.
    """
    grid = np.indices(shape, sparse=True) if columns is None else columns
    values = dict(zip(variables, grid, strict=True))

    def none(_tensor: Tensor) -> Array:
        raise IRError("an index map reads a tensor")

    return tuple(evaluate_expr(e, values, none) for e in exprs)


def evaluate_op(op: ComputeOp, inputs: Callable[[Tensor], Array]) -> list[Array]:
    """Every output of a compute, from the arrays of the tensors that it reads."""
    return evaluate_bodies([a.var for a in op.axis], [a.extent for a in op.axis], op.bodies, inputs)


def evaluate_bodies(
    variables: Sequence[Var],
    shape: Sequence[int],
    bodies: Sequence[Expr],
    inputs: Callable[[Tensor], Array],
) -> list[Array]:
    """Bodies over the grid of `variables` x `shape`, each as an array of its dtype."""
    results = []
    for body in bodies:
        reduce_axes = body.axes if isinstance(body, Reduce) else ()
        extents = [*shape, *(a.extent for a in reduce_axes)]
        grid = np.ogrid[tuple(slice(0, e) for e in extents)] if extents else []
        names = [*variables, *(a.var for a in reduce_axes)]
        values: dict[Expr, Array] = dict(zip(names, grid, strict=True))
        inner = body.value if isinstance(body, Reduce) else body
        full = np.broadcast_to(evaluate_expr(inner, values, inputs), extents)
        if isinstance(body, Reduce):
            over = tuple(range(len(shape), len(extents)))
            full = _REDUCTION[body.kind].reduce(full, axis=over)
            if body.init is not None:
                corner = np.ogrid[tuple(slice(0, e) for e in shape)] if shape else []
                first: dict[Expr, Array] = dict(zip(variables, corner, strict=True))
                full = _REDUCTION[body.kind](full, evaluate_expr(body.init, first, inputs))
        results.append(np.ascontiguousarray(full).astype(body.dtype))
    return results
