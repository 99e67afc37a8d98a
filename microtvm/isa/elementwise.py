"""Element-wise expressions on any core: a few elements at a time.

What a loop costs is shared by the elements of a pass, and all of them are loaded before the first
is stored: without `restrict`, which in-place operators rule out, a compiler can't move a load above
a store.
"""

from __future__ import annotations

from collections.abc import Mapping

from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.tensor import IterVar, reads_of
from microtvm.tir.expr import Expr, IntImm, Read
from microtvm.tir.traversal import post_order


def elementwise(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """Takes one output without reductions, whose elements depend on those at the same index.

    Returns False and changes nothing for anything else.
    """
    if expression.reductions or len(expression.live) != 1 or len(expression.outputs) != 1:
        return False
    (out,) = expression.outputs
    elements = int(knobs["elements"])
    if len(out.outputs) != 1 or not out.axis or not _plain(out.bodies[0], out.axis):
        return False
    inner = out.axis[-1]
    while elements > 1 and inner.extent % elements:
        elements //= 2
    if elements == 1 or inner.extent == elements:
        return False
    s = expression.schedule
    made = s[s.cache_write(out.outputs[0], "register")]
    outer, few = out.split(inner, elements)
    made.compute_at(out, outer)
    out.unroll(few)
    made.unroll(made.axis[-1])
    return True


MOST_NODES = 24
"""Larger bodies are not written out several times."""


def _plain(body: Expr, axes: tuple[IterVar, ...]) -> bool:
    """Whether it is short, and all its reads are at the element's own index or at a constant."""
    variables = {a.var for a in axes}
    nodes = list(post_order(body))
    reads = [n for n in nodes if isinstance(n, Read)]
    return (
        len(nodes) <= MOST_NODES
        and bool(reads_of([body]))
        and all(i in variables or isinstance(i, IntImm) for r in reads for i in r.indices)
    )


TEMPLATES = (Template("elementwise", elementwise, frozenset(), {"elements": (8, 1, 2, 4)}),)
