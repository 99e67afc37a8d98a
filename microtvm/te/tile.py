"""What a tile covers of a stage: parts of its axes, sides of what it chooses by its indices."""

from __future__ import annotations

from collections.abc import Iterator

from microtvm.te.region import relax
from microtvm.tir.expr import BinOp, Call, Cast, Expr, IntImm, Read, Select, Var, binary, cast
from microtvm.tir.simplify import Analyzer, Linear
from microtvm.tir.traversal import post_order, uses


def chosen(value: Expr) -> tuple[tuple[Expr, ...], Expr]:
    """Conditions on indices, and what `value` is where all of them hold.

    That is the first branch of each select that stands outermost, conversions left out.
    """
    if isinstance(value, Cast):
        conditions, inner = chosen(value.value)
        return conditions, cast(value.dtype, inner)
    if not isinstance(value, Select) or any(
        isinstance(n, Read | Call) for n in post_order(value.cond)
    ):
        return (), value
    conditions, inner = chosen(value.on_true)
    return (*_conjuncts(value.cond), *conditions), inner


def _conjuncts(cond: Expr) -> Iterator[Expr]:
    if isinstance(cond, BinOp) and cond.op == "and":
        yield from _conjuncts(cond.a)
        yield from _conjuncts(cond.b)
    else:
        yield cond


def everywhere(cond: Expr, tile: dict[Var, int], analyzer: Analyzer) -> Expr | None:
    """The condition that `cond` holds while the tile's variables run over 0 .. extent - 1.

    None where it can't be said without them.
    """
    if not isinstance(cond, BinOp) or cond.op not in ("<", "<=", ">", ">="):
        return None
    span = relax(analyzer.simplify(binary("-", cond.a, cond.b)), tile, analyzer)
    if span is None:
        return None
    worst = span[1] if cond.op in ("<", "<=") else span[0]
    return analyzer.simplify(binary(cond.op, worst, IntImm(0)))


def outer_part(value: Expr, inside: dict[Var, int]) -> tuple[Expr, int]:
    """What the tensorized loops leave alone of an axis, and how many indices they cover."""
    linear = Linear.of(value)
    outer = Linear(linear.constant, {})
    size = 1
    for atom, c in linear.terms.items():
        if isinstance(atom, Var) and atom in inside:
            size += c * (inside[atom] - 1)
        elif uses(atom, inside):
            return value, 0
        else:
            outer.terms[atom] = c
    return outer.expr(), size
