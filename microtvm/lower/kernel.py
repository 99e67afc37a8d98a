"""A group of nodes to a loop program: the nodes' tensor expressions under the target's schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from microtvm import te
from microtvm.errors import IRError, ScheduleError
from microtvm.graph.ir import Graph, Node, TensorType
from microtvm.isa.schedule import BY_NAME, LAST, Choice, apply
from microtvm.lower.in_place import overwritable
from microtvm.lower.overlap import distance
from microtvm.lower.slices import by_slices
from microtvm.ops.base import NodeContext
from microtvm.ops.registry import find
from microtvm.passes.fuse import Group
from microtvm.target import Cpu
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr
from microtvm.tir.stmt import Buffer, Program

SMALL = 0.065
"""Of a model's products: a kernel with less is made to share its code."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """A lowered group. `program.params` are the group's inputs, its outputs, then constants."""

    group: Group
    program: Program
    in_place: tuple[int, ...]
    """Positions of the group's inputs in whose memory the output may be, one of them at a time.

    Each element is read before it is written; see `overwritable`.
    """
    macs: int
    """Multiply-accumulates of one run, padding counted."""
    choice: Choice = field(default_factory=Choice)
    """The template that scheduled it, with all its knobs; none for a user's own."""

    @cached_property
    def overlaps(self) -> tuple[int | None, ...]:
        """For each of the group's inputs how many bytes before it the only output may begin.

        The output may overlap it with that or more, another input meanwhile not; None where it may
        not at all. See `distance`.
        """
        inputs = self.program.params[: len(self.group.inputs)]
        if len(self.program.outputs) != 1:
            return (None,) * len(inputs)
        (output,) = self.program.outputs
        return tuple(
            0 if by_slices(self.program, x, output) else distance(self.program, x, output)
            for x in inputs
        )

    @property
    def constants(self) -> tuple[Buffer, ...]:
        """Constant params, in order."""
        return tuple(b for b in self.program.params if b.scope == "const")


def small_groups(graph: Graph, groups: Sequence[Group]) -> set[str]:
    """Names of the groups that have less than SMALL of all products.

    Those that differ in constants only are counted together.
    """
    alike: dict[object, list[Group]] = {}
    for group in groups:
        alike.setdefault(notes_of(graph, group), []).append(group)
    macs = {key: sum(_macs(graph, g) for g in found) for key, found in alike.items()}
    most = SMALL * sum(macs.values())
    return {g.name for key, found in alike.items() if macs[key] < most for g in found}


def _macs(graph: Graph, group: Group) -> int:
    return sum(find(n.op).macs(NodeContext.of(graph, n)) for n in group.nodes)


@dataclass(frozen=True, eq=False)
class GroupExpression:
    """A group as a tensor expression: its inputs and outputs, in the group's order."""

    args: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @staticmethod
    def of(graph: Graph, group: Group) -> GroupExpression:
        """The nodes' expressions, one reading the other."""
        tensors: dict[str, Tensor] = {}
        for node in group.nodes:
            ctx = NodeContext.of(graph, node)
            op = find(node.op)
            views = op.views(ctx).inputs
            if op.elementwise and views != tuple(t.shape for t in ctx.inputs):
                # An expression over vectors names no axis: it takes the shape in which they come.
                views = _shapes_now(ctx, tensors, views)
            inputs = []
            for position, (value, shape) in enumerate(zip(node.inputs, views, strict=True)):
                if value in graph.constants:
                    array = graph.constants[value].reshape(shape)
                    inputs.append(te.constant(array, f"{node.op}_{position}"))
                    continue
                if value not in tensors:
                    count = sum(t.op is None for t in tensors.values())
                    tensors[value] = te.placeholder(shape, graph.types[value].dtype, f"x{count}")
                inputs.append(reshaped(tensors[value], shape))
            tensors.update(zip(node.outputs, op.compute(ctx, inputs), strict=True))
        return GroupExpression(
            tuple(tensors[v] for v in group.inputs), tuple(tensors[v] for v in group.outputs)
        )


def lower_group(graph: Graph, group: Group, cpu: Cpu, choice: Choice | None = None) -> Kernel:
    """The loop program of one group for a core; `choice` says how it is scheduled."""
    made = GroupExpression.of(graph, group)
    asked = choice or Choice()
    taken, program = _scheduled(made, cpu, asked, group.name, notes_of(graph, group))
    macs = _macs(graph, group)
    in_place = overwritable(program, program.params[: len(made.args)])
    return Kernel(group, program, in_place, macs, taken)


def _scheduled(
    made: GroupExpression, cpu: Cpu, choice: Choice, name: str, notes: tuple[str, ...]
) -> tuple[Choice, Program]:
    """What was chosen in the end, and the loop program that it makes.

    Whether a tile means what a stage does is known when the stage is lowered: where it does not,
    the next template has its turn. The last one has no tiles, and takes anything.
    """
    refused: list[str] = []
    while True:
        schedule = te.create_schedule(made.outputs)
        template = apply(schedule, cpu, choice, refused)
        try:
            program = te.lower(schedule, [*made.args, *made.outputs], name, notes=notes)
        except ScheduleError:
            if (choice.template and choice.required) or template == LAST:
                raise
            refused.append(template)
            choice = Choice(small=choice.small)
        else:
            knobs = BY_NAME[template].knobs(choice.knobs if choice.template else {})
            return replace(choice, template=template, knobs=knobs), program


def _shapes_now(
    ctx: NodeContext, tensors: dict[str, Tensor], views: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    """The shapes of a map's inputs: that of one which was made in the group, where there is one."""
    for value, t in zip(ctx.node.inputs, ctx.inputs, strict=True):
        if value in tensors and t.elements == ctx.out.elements:
            now = tensors[value].shape
            return tuple(
                now if t.elements == ctx.out.elements else v
                for t, v in zip(ctx.inputs, views, strict=True)
            )
    return views


def reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same elements in the same order under another shape, by index arithmetic."""
    if tensor.shape == shape:
        return tensor

    def element(*index: Expr) -> Expr:
        flat = index[0] * 0
        for i, n in zip(index, shape, strict=True):
            flat = flat * n + i
        parts = []
        for n in reversed(tensor.shape):
            parts.append(flat % n)
            flat = flat // n
        return tensor[tuple(reversed(parts))]

    result: Tensor = te.compute(shape, element, "view")
    return result


def describe(t: TensorType) -> str:
    """A type in a few characters: int8[1,25,5,64]."""
    return f"{t.dtype}[{','.join(map(str, t.shape))}]"


def notes_of(graph: Graph, group: Group) -> tuple[str, ...]:
    """What a group computes: for each node its operator, types and attributes."""
    return tuple(_note(graph, node) for node in group.nodes)


def _note(graph: Graph, node: Node) -> str:
    if not node.outputs:
        raise IRError(f"node {node.name} has no output")
    ins = ", ".join(describe(graph.types[v]) for v in node.inputs)
    outs = ", ".join(describe(graph.types[v]) for v in node.outputs)
    attrs = ", ".join(
        f"{k}={list(v) if isinstance(v, tuple) else v}" for k, v in node.attrs.items()
    )
    return f"{node.op}({ins}) -> {outs}" + (f"; {attrs}" if attrs else "")
