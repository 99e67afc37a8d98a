"""Bodies of stages with other reads: of another tensor, of a copy, along a padded axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from microtvm.te.tensor import IterVar, Reduce, Tensor
from microtvm.tir.dtype import is_int
from microtvm.tir.expr import BinOp, Cast, Expr, IntImm, Read, Select, binary, cast, const
from microtvm.tir.simplify import Analyzer
from microtvm.tir.traversal import substitute, transform


def replace_reads(body: Expr, old: Tensor, make: Callable[[tuple[Expr, ...]], Expr]) -> Expr:
    """`body` with every read of `old` replaced by `make(indices)`."""

    def step(node: Expr) -> Expr | None:
        if isinstance(node, Read) and node.source is old:
            return make(node.indices)
        return None

    return rewritten(body, step)


def rewritten(body: Expr, step: Callable[[Expr], Expr | None]) -> Expr:
    """`body` rebuilt from the leaves up, with step(node) for nodes for which it is not None."""
    if isinstance(body, Reduce):
        return body.map(lambda e: transform(e, step, {}))
    return transform(body, step, {})


def join_constants(body: Expr) -> Expr:
    """`body` with (x + a[i]) + b[i], of integer constants a and b, as x + c[i]."""

    def step(node: Expr) -> Expr | None:
        if not isinstance(node, BinOp) or node.op != "+" or not is_int(node.dtype):
            return None
        inner, last = node.a, node.b
        if not isinstance(inner, BinOp) or inner.op != "+":
            return None
        first = inner.b
        if not isinstance(first, Read) or not isinstance(last, Read):
            return None
        a, b = first.source, last.source
        if first.indices != last.indices or not (_is_constant(a) and _is_constant(b)):
            return None
        wide = a.data.astype(np.int64) + b.data.astype(np.int64)
        total = wide.astype(a.data.dtype)
        if a.shape != b.shape or not np.array_equal(total, wide):
            return None
        joined = Tensor(a.shape, a.dtype, b.name, data=total)
        return binary("+", inner.a, Read(joined, first.indices))

    return rewritten(body, step)


def _is_constant(source: object) -> bool:
    return isinstance(source, Tensor) and source.data is not None


def padded(
    body: Expr, axis: IterVar, longer: IterVar, axes: Sequence[IterVar], *, zero: bool
) -> Expr:
    """`body`, over `axes`, with `axis` made `longer`; see `Stage.pad`."""
    if isinstance(body, Reduce):
        return body.map(lambda e: padded(e, axis, longer, axes, zero=zero))
    last = binary("min", longer.var, IntImm(axis.extent - 1))
    analyzer = Analyzer({a.var: (0, a.extent - 1) for a in (*axes, longer)})

    def within(index: Expr, size: int) -> Expr:
        free = substitute(index, {axis.var: longer.var})
        known = analyzer.bounds(free)
        fits = known is not None and known[0] >= 0 and known[1] < size
        return free if fits else substitute(index, {axis.var: last})

    def step(node: Expr) -> Expr | None:
        if not isinstance(node, Read):
            return None
        places = zip(node.indices, node.source.shape, strict=True)
        return Read(node.source, tuple(within(i, n) for i, n in places))

    if not zero:
        return substitute(transform(body, step, {}), {axis.var: last})
    # Only the chosen side of a select is evaluated.
    inside = substitute(body, {axis.var: longer.var})
    return Select(binary("<", longer.var, IntImm(axis.extent)), inside, const(0, body.dtype))


def read_copy(body: Expr, tensor: Tensor, copy: Tensor) -> Expr:
    """`body` with reads of a tensor replaced by its copy.

    A conversion of the element stays a single one.
    """

    def step(node: Expr) -> Expr | None:
        if isinstance(node, Read) and node.source is tensor:
            return cast(tensor.dtype, Read(copy, node.indices))
        if isinstance(node, Cast) and isinstance(node.value, Cast):
            inner = node.value
            if isinstance(inner.value, Read) and inner.value.source is copy:
                return cast(node.dtype, inner.value)
        return None

    return rewritten(body, step)
