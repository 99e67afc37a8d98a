"""Model libraries from a user's own tensor expressions: no model file, no operator, the same ABI.

Each kernel is a schedule. Tensors are known by their names: what one kernel computes under a name,
a later one reads through a placeholder of that name. What no kernel computes is an input of the
library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from microtvm.codegen.layout import lay_out
from microtvm.codegen.library import Library, generate
from microtvm.errors import UserError
from microtvm.graph.ir import DTYPES, Graph, Node, TensorType
from microtvm.lower.kernel import Kernel, describe
from microtvm.passes.fuse import Fused, Group
from microtvm.te.lower import lower
from microtvm.te.schedule import Schedule
from microtvm.te.tensor import Tensor


@dataclass(frozen=True, eq=False)
class TensorKernel:
    """A scheduled expression: `inputs` are placeholders; the outputs are the schedule's.

    `name` and the tensors' names become C identifiers. Building consumes the schedule.
    """

    name: str
    schedule: Schedule
    inputs: Sequence[Tensor]


def build_expressions(
    kernels: Sequence[TensorKernel],
    prefix: str,
    *,
    outputs: Sequence[str] = (),
    planner: str = "auto",
) -> Library:
    """A library that runs the kernels in the given order.

    `Library.write` puts it where a project can be made.

    `prefix` names the library and all its C symbols. Its outputs are the tensors named in
    `outputs`, or else those that no kernel reads. Raises UserError for names that are no
    identifiers, are used twice or disagree in type, and ScheduleError for schedules that can't be
    lowered.
    """
    if not kernels:
        raise UserError(f"{prefix}: there are no kernels to build")
    graph = _Values(prefix, kernels).graph(tuple(outputs))
    groups = [
        Group(f"n{i}_{node.op}", (node,), node.inputs, node.outputs)
        for i, node in enumerate(graph.nodes)
    ]
    lowered = [_lowered(graph, k, g) for k, g in zip(kernels, groups, strict=True)]
    fused = Fused(graph, tuple(groups), {})
    return generate(fused, lowered, lay_out(fused, lowered, planner=planner), prefix)


class _Values:
    """The values of all kernels by name, checked as they come."""

    def __init__(self, prefix: str, kernels: Sequence[TensorKernel]) -> None:
        self.prefix = prefix
        self.types: dict[str, TensorType] = {}
        self.made: dict[str, str] = {}
        self.given: dict[str, None] = {}
        self.read: set[str] = set()
        self.nodes: list[Node] = []
        self._identifier("the library", prefix)
        for kernel in kernels:
            self._kernel(kernel)

    def graph(self, outputs: tuple[str, ...]) -> Graph:
        """A graph with one node for each kernel."""
        for name in outputs:
            if name not in self.made:
                raise UserError(
                    f"{self.prefix}: no kernel computes the output {name}",
                    hint=f"computed are {', '.join(self.made)}",
                )
        results = outputs or tuple(v for v in self.made if v not in self.read)
        return Graph(self.prefix, tuple(self.given), results, tuple(self.nodes), self.types)

    def _kernel(self, kernel: TensorKernel) -> None:
        where = f"{self.prefix}: kernel {kernel.name}"
        self._identifier("the kernel", kernel.name)
        inputs, outputs = list(kernel.inputs), list(kernel.schedule.outputs)
        for tensor in inputs:
            if tensor.op is not None or tensor.data is not None:
                raise UserError(f"{where}: its input {tensor.name} is not a placeholder")
            self._typed(where, tensor)
            self.read.add(tensor.name)
            if tensor.name not in self.made:
                self.given.setdefault(tensor.name)
        for tensor in outputs:
            self._typed(where, tensor)
            before = self.made.get(tensor.name)
            if before is not None or tensor.name in self.given:
                other = f"kernel {before} computes" if before is not None else "an input has"
                raise UserError(f"{where} computes {tensor.name}, a name that {other} already")
            self.made[tensor.name] = kernel.name
        names = [t.name for t in (*inputs, *outputs)]
        if len(set(names)) != len(names):
            raise UserError(f"{where}: two of its tensors have one name: {', '.join(names)}")
        self.nodes.append(
            Node(
                f"{len(self.nodes)}_{kernel.name}",
                kernel.name,
                tuple(t.name for t in inputs),
                tuple(t.name for t in outputs),
                source=kernel.name,
            )
        )

    def _typed(self, where: str, tensor: Tensor) -> None:
        self._identifier("the tensor", tensor.name)
        if tensor.dtype not in DTYPES:
            raise UserError(
                f"{where}: {tensor.name} is {tensor.dtype}, which no model's tensor can be",
                hint=f"convert it to one of {', '.join(DTYPES)} with .astype",
            )
        found = TensorType(tensor.shape, tensor.dtype)
        known = self.types.setdefault(tensor.name, found)
        if known != found:
            raise UserError(
                f"{where}: {tensor.name} is {describe(found)}, "
                f"another kernel has it as {describe(known)}"
            )

    def _identifier(self, what: str, name: str) -> None:
        if not (name.isidentifier() and name.isascii()):
            raise UserError(f"{what} {name!r} does not have the name of a C identifier")


def _lowered(graph: Graph, kernel: TensorKernel, group: Group) -> Kernel:
    outputs = kernel.schedule.outputs
    macs = sum(
        math.prod(a.extent for a in (*s.axis, *s.reduce_axis))
        for s in kernel.schedule.stages
        if s.reduce_axis
    )
    ins = ", ".join(f"{t.name} {describe(graph.types[t.name])}" for t in kernel.inputs)
    outs = ", ".join(f"{t.name} {describe(graph.types[t.name])}" for t in outputs)
    note = f"{kernel.name}({ins}) -> {outs}"
    program = lower(kernel.schedule, [*kernel.inputs, *outputs], group.name, notes=(note,))
    return Kernel(group, program, (), macs)
