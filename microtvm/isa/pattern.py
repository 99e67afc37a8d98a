"""What an expression is, to choose a schedule: which axes index which operands of a reduction."""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, Reduce, Tensor, reads_of
from microtvm.tir.expr import Read, Select, Var
from microtvm.tir.traversal import post_order, uses


def is_constant(schedule: Schedule, tensor: Tensor) -> bool:
    """Whether the tensor's value is known at compile time."""
    if tensor.data is not None:
        return True
    stage = schedule.producer(tensor)
    if stage is None:
        return False
    inputs = reads_of(stage.bodies)
    return bool(inputs) and all(is_constant(schedule, t) for t in inputs)


@dataclass(frozen=True, eq=False)
class Reduction:
    """A reduction stage and its axes by access pattern.

    `rows` index only data, `columns` only the constant operand, `shared` both; where there is no
    constant operand every data axis that the reduced tensor is indexed by alone is shared.
    """

    stage: Stage
    rows: tuple[IterVar, ...]
    columns: tuple[IterVar, ...]
    shared: tuple[IterVar, ...]
    data: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product in disguise: rows meet columns."""
        return any(a.extent > 1 for a in self.columns) and all(a.extent <= 1 for a in self.shared)

    @property
    def is_per_channel(self) -> bool:
        """Whether each channel reduces over its own window: a depthwise convolution or a pool."""
        return any(a.extent > 1 for a in self.shared)


def classify(schedule: Schedule, stage: Stage) -> Reduction:
    """The pattern of a reduction stage."""
    body = stage.bodies[0]
    assert isinstance(body, Reduce)
    reads = [n for n in post_order(body.value) if isinstance(n, Read)]
    data: dict[Tensor, None] = {}
    weights: dict[Tensor, None] = {}
    for r in reads:
        (weights if is_constant(schedule, r.source) else data).setdefault(r.source)
    rows, columns, shared = [], [], []
    for axis in stage.axis:
        in_data = any(uses(i, (axis.var,)) for r in reads if r.source in data for i in r.indices)
        in_weights = any(
            uses(i, (axis.var,)) for r in reads if r.source in weights for i in r.indices
        )
        if in_data and in_weights:
            shared.append(axis)
        elif in_weights:
            columns.append(axis)
        elif weights:
            rows.append(axis)
        else:
            alone = any(isinstance(i, Var) and i is axis.var for r in reads for i in r.indices)
            (shared if alone else rows).append(axis)
    return Reduction(stage, tuple(rows), tuple(columns), tuple(shared), tuple(data), tuple(weights))


def has_bounds_check(stage: Stage) -> bool:
    """Whether the stage chooses between values by its indices: padding, concatenation."""
    for body in stage.bodies:
        for node in post_order(body.value if isinstance(body, Reduce) else body):
            if isinstance(node, Select) and any(uses(node.cond, (a.var,)) for a in stage.axis):
                return True
    return False
