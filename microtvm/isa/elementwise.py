"""Element-wise expressions on any core: a few elements at a time.

What a loop costs is shared by the elements of a pass, and all of them are loaded before the first
is stored: without `restrict`, which in-place operators rule out, a compiler can't move a load above
a store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from microtvm.isa.template import Expression, Knob, Template
from microtvm.te.stage import Stage
from microtvm.tir.expr import IntImm, Read
from microtvm.tir.traversal import post_order


def elementwise(expression: Expression, knobs: Mapping[str, Knob]) -> bool:
    """Takes one output without reductions, whose elements depend on those at the same index.

    Returns False and changes nothing for anything else.
    """
    if expression.reductions or len(expression.outputs) != 1:
        return False
    (out,) = expression.outputs
    elements = int(knobs["elements"])
    if not out.axis or not _plain(expression.live):
        return False
    inner = out.axis[-1]
    while elements > 1 and inner.extent % elements:
        elements //= 2
    if elements == 1 or inner.extent == elements:
        return False
    for stage in expression.live:
        if stage is not out:
            stage.compute_inline()
    s = expression.schedule
    made = s[s.cache_write(out.outputs[0], "register")]
    outer, few = out.split(inner, elements)
    made.compute_at(out, outer)
    out.unroll(few)
    made.unroll(made.axis[-1])
    return True


MOST_NODES = 24
"""Larger bodies are not written out several times."""


def _plain(stages: Sequence[Stage]) -> bool:
    """Whether the stages are short, and read only at their own index, a constant, or in tables."""
    size = 0
    for stage in stages:
        if len(stage.bodies) != 1:
            return False
        variables = {a.var for a in stage.axis}
        nodes = list(post_order(stage.bodies[0]))
        size += len(nodes)
        for index in (i for n in nodes if isinstance(n, Read) for i in n.indices):
            by_data = any(isinstance(n, Read) for n in post_order(index))
            if not (index in variables or isinstance(index, IntImm) or by_data):
                return False
    return size <= MOST_NODES


TEMPLATES = (Template("elementwise", elementwise, frozenset(), {"elements": (8, 1, 2, 4)}),)
