"""Where every value of a lowered model lives: lifetimes, sharing of memory, and the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microtvm.graph.ir import DTYPES
from microtvm.lower.kernel import Kernel
from microtvm.memory import Plan, Request, plan
from microtvm.passes.fuse import Fused


@dataclass(frozen=True)
class Lifetime:
    """Steps in which a value's memory is in use, both included, and when its content can be read.

    `live_from` and `live_to` count operators that have run, as `struct mtvm_tensor` has them.
    """

    first: int
    last: int
    live_from: int
    live_to: int


@dataclass(frozen=True)
class Layout:
    """Offsets of values and of kernels' scratch buffers in the arena."""

    offsets: dict[str, int]
    lifetimes: dict[str, Lifetime]
    scratch: dict[tuple[int, int], int]
    """(kernel, index of its scratch buffer) to offset."""
    plan: Plan
    requests: tuple[Request, ...]
    tensor_bytes: int
    """What the arena would need without scratch."""

    @property
    def arena_bytes(self) -> int:
        """The whole arena."""
        return self.plan.total_bytes

    @property
    def scratch_bytes(self) -> int:
        """What scratch adds to the arena."""
        return self.plan.total_bytes - self.tensor_bytes


def lay_out(
    fused: Fused, kernels: Sequence[Kernel], *, align: int = 4, planner: str = "auto"
) -> Layout:
    """Plan the arena of a model. `align` is the alignment of every buffer in bytes."""
    graph = fused.graph
    steps = len(kernels)
    made: dict[str, int] = dict.fromkeys(graph.inputs, -1)
    used: dict[str, int] = {}
    for step, kernel in enumerate(kernels):
        for value in kernel.group.outputs:
            made[value] = step
        for value in kernel.group.inputs:
            used[fused.root(value)] = step
    for value in graph.outputs:
        used[fused.root(value)] = steps
    owner = _storage(fused, kernels, made, used)
    spans: dict[str, tuple[int, int]] = {}
    for value, step in made.items():
        first, last = max(step, 0), min(max(used.get(value, step), step, 0), max(steps - 1, 0))
        key = owner.get(value, value)
        before = spans.get(key, (first, last))
        spans[key] = (min(before[0], first), max(before[1], last))

    def _align(value: str) -> int:
        return max(align, DTYPES[graph.types[value].dtype])

    tensors = [
        Request(value, graph.types[value].size_bytes, first, last, _align(value))
        for value, (first, last) in spans.items()
    ]
    scratch = [
        Request(f"{k.group.name}.{b.name}.{i}", b.size_bytes, step, step, align)
        for step, k in enumerate(kernels)
        for i, b in enumerate(k.program.scratch)
    ]
    placed = plan([*tensors, *scratch], planner)
    alone = plan(tensors, planner)
    offsets = {v: placed.offsets[owner.get(v, v)] for v in made}
    for value in fused.aliases:
        if fused.root(value) in offsets:
            offsets[value] = offsets[fused.root(value)]
    lifetimes = {}
    for value in made:
        overwritten = [v for v, key in owner.items() if key == owner.get(value, value)]
        until = used.get(value, made[value])
        takes_over = any(made[v] == until for v in overwritten if v != value)
        lifetimes[value] = Lifetime(
            *spans[owner.get(value, value)],
            live_from=made[value] + 1,
            live_to=min(until if takes_over else until + 1, steps),
        )
    return Layout(
        offsets=offsets,
        lifetimes=lifetimes,
        scratch={
            (step, i): placed.offsets[f"{k.group.name}.{b.name}.{i}"]
            for step, k in enumerate(kernels)
            for i, b in enumerate(k.program.scratch)
        },
        plan=placed,
        requests=(*tensors, *scratch),
        tensor_bytes=alone.total_bytes,
    )


def _storage(
    fused: Fused, kernels: Sequence[Kernel], made: dict[str, int], used: dict[str, int]
) -> dict[str, str]:
    """Value to the value whose memory it takes over, for kernels that run in place."""
    owner: dict[str, str] = {}
    types = fused.graph.types
    for step, kernel in enumerate(kernels):
        roots = [fused.root(value) for value in kernel.group.inputs]
        for value in (roots[k] for k in kernel.in_place):
            (out,) = kernel.group.outputs
            # What is proven of one pointer does not hold if another one leads to the same memory.
            if (
                roots.count(value) == 1
                and used[value] == step
                and types[value].size_bytes == types[out].size_bytes
            ):
                owner[out] = owner.get(value, value)
                break
    return owner
