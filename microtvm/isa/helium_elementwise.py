"""Helium's schedule for element-wise expressions: all elements in one run, four at a time."""

from __future__ import annotations

from collections.abc import Mapping

from microtvm.isa.helium_map import inlined, vector_map
from microtvm.isa.template import Expression, Knob, Template
from microtvm.tir.expr import Read
from microtvm.tir.traversal import post_order


def elementwise(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """An output whose every element depends on those at the same place of tensors of its shape.

    Returns False and changes nothing for other expressions.
    """
    if expression.reductions or len(expression.outputs) != 1:
        return False
    (out,) = expression.outputs
    others = [st for st in expression.live if st is not out]
    if len(out.outputs) != 1 or any(len(st.outputs) != 1 for st in others) or not out.axis:
        return False
    body = inlined(out, others)
    place = tuple(a.var for a in out.axis)
    shape = tuple(a.extent for a in out.axis)
    reads = [n for n in post_order(body) if isinstance(n, Read)]
    if not reads or any(
        r.indices != place or t.shape != shape
        for r, t in zip(reads, (r.source for r in reads), strict=True)
    ):
        return False
    length = 1
    for extent in shape:
        length *= extent
    intrinsic = vector_map(body, [], out.axis[-1], length)
    if intrinsic is None:
        return False
    for stage in others:
        stage.compute_inline()
    out.tensorize(out.fuse(*out.axis), intrinsic)
    return True


TEMPLATES = (Template("helium.elementwise", elementwise, frozenset({"mve"})),)
