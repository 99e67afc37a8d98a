"""Where every value of a lowered model lives: lifetimes, sharing of memory, and the plan."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from microtvm.graph.ir import DTYPES
from microtvm.lower.kernel import Kernel
from microtvm.memory import Ahead, Plan, Request, lower_bound_bytes, plan
from microtvm.passes.fuse import Fused
from microtvm.tir.stmt import Buffer

LEAST_ARENA_ALIGN = 16
"""In bytes."""


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
    aliased: tuple[tuple[int, ...], ...]
    """For each kernel the positions of its inputs that share memory with its output."""

    @property
    def arena_align(self) -> int:
        """Alignment that the arena's first byte must have, in bytes."""
        return max([LEAST_ARENA_ALIGN, *(r.align for r in self.requests)])

    @property
    def arena_bytes(self) -> int:
        """The whole arena."""
        return self.plan.total_bytes

    @property
    def scratch_bytes(self) -> int:
        """What scratch adds to the arena."""
        return self.plan.total_bytes - self.tensor_bytes


def lay_out(
    fused: Fused,
    kernels: Sequence[Kernel],
    *,
    align: int = 4,
    planner: str = "auto",
    overlap: bool = True,
) -> Layout:
    """Plan the arena of a model.

    Every buffer is aligned to `align` bytes, and to the size of its elements where that is more.
    With `overlap`, outputs may begin before inputs whose memory they share, where that makes the
    arena smaller.
    """
    return _Planner(fused, kernels, align).layout(planner, overlap=overlap)


@dataclass(frozen=True)
class _Share:
    """A kernel's output has the memory of its input at `position`, or `distance` bytes ahead."""

    position: int
    value: str
    """The input."""
    distance: int = 0


class _Planner:
    """The lifetimes of a model's values, and what is asked of the memory planner."""

    def __init__(self, fused: Fused, kernels: Sequence[Kernel], align: int) -> None:
        self.fused = fused
        self.kernels = kernels
        self.align = align
        self.types = fused.graph.types
        self.made: dict[str, int] = dict.fromkeys(fused.graph.inputs, -1)
        self.used: dict[str, int] = {}
        for step, kernel in enumerate(kernels):
            for value in kernel.group.outputs:
                self.made[value] = step
            for value in kernel.group.inputs:
                self.used[fused.root(value)] = step
        for value in fused.graph.outputs:
            self.used[fused.root(value)] = len(kernels)
        self.in_place: dict[str, _Share] = {}
        """By the output."""
        self.owner: dict[str, str] = {}
        """Value to the value whose memory it takes over, for kernels that run in place."""
        for step, kernel in enumerate(kernels):
            for k in self._inherited(step, kernel.in_place):
                (out,) = kernel.group.outputs
                value = fused.root(kernel.group.inputs[k])
                if self.types[value].size_bytes == self.types[out].size_bytes:
                    self.owner[out] = self.owner.get(value, value)
                    self.in_place[out] = _Share(k, value)
                    break

    def _inherited(self, step: int, positions: Iterable[int]) -> list[int]:
        """Those of a kernel's inputs that nobody needs any more."""
        roots = [self.fused.root(value) for value in self.kernels[step].group.inputs]
        # What is proven of one pointer does not hold if another one leads to the same memory.
        return [k for k in positions if roots.count(roots[k]) == 1 and self.used[roots[k]] == step]

    def overlaps(self) -> dict[str, _Share]:
        """By the output, of what is not in place: the input with which it can share most."""
        found = {}
        for step, kernel in enumerate(self.kernels):
            if len(kernel.group.outputs) != 1 or kernel.group.outputs[0] in self.in_place:
                continue
            (out,) = kernel.group.outputs
            shares = []
            for k in self._inherited(step, range(len(kernel.group.inputs))):
                value, distance = self.fused.root(kernel.group.inputs[k]), kernel.overlaps[k]
                if distance is not None:
                    most = min(self.types[value].size_bytes, self.types[out].size_bytes - distance)
                    shares.append((most, _Share(k, value, distance)))
            most, share = max(shares, key=lambda s: s[0], default=(0, _Share(0, "")))
            if most > 0:
                found[out] = share
        return found

    def spans(self) -> dict[str, tuple[int, int]]:
        """First and last step in which the memory of each value is in use, by its owner."""
        end = max(len(self.kernels) - 1, 0)
        spans: dict[str, tuple[int, int]] = {}
        for value, step in self.made.items():
            first, last = max(step, 0), min(max(self.used.get(value, step), step, 0), end)
            key = self.owner.get(value, value)
            before = spans.get(key, (first, last))
            spans[key] = (min(before[0], first), max(before[1], last))
        return spans

    def tensors(self, overlaps: Mapping[str, _Share]) -> list[Request]:
        """What is asked for values."""
        requests = []
        for value, (first, last) in self.spans().items():
            size, ahead = self.types[value].size_bytes, None
            if value in overlaps:
                share = overlaps[value]
                ahead = Ahead(self.owner.get(share.value, share.value), share.distance)
            align = max(self.align, DTYPES[self.types[value].dtype])
            requests.append(Request(value, size, first, last, align, ahead=ahead))
        return requests

    def scratch(self) -> list[Request]:
        """What is asked for kernels' own buffers."""
        return [
            Request(_scratch_name(k, i), b.size_bytes, step, step, self._aligned(b))
            for step, k in enumerate(self.kernels)
            for i, b in enumerate(k.program.scratch)
        ]

    def _aligned(self, buffer: Buffer) -> int:
        return max(self.align, buffer.size_bytes // buffer.elements)

    def layout(self, planner: str, *, overlap: bool) -> Layout:
        """The smallest arena, with the fewest overlaps that it takes."""
        scratch = self.scratch()
        tensors = self.tensors({})
        placed = plan([*tensors, *scratch], planner)
        possible = self.overlaps() if overlap else {}
        if possible and lower_bound_bytes([*self.tensors(possible), *scratch]) < placed.total_bytes:
            tried = self.tensors(possible)
            found = plan([*tried, *scratch], planner)
            if found.total_bytes < placed.total_bytes:
                tensors, placed = tried, found
                tried = _needed([*tried, *scratch], found.total_bytes)[: len(tried)]
                found = plan([*tried, *scratch], planner)
                if found.total_bytes <= placed.total_bytes:
                    tensors, placed = tried, found
        aliased = self._aliased(tensors, placed, possible)
        offsets = {v: placed.offsets[self.owner.get(v, v)] for v in self.made}
        for value in self.fused.aliases:
            if self.fused.root(value) in offsets:
                offsets[value] = offsets[self.fused.root(value)]
        return Layout(
            offsets=offsets,
            lifetimes=self._lifetimes({s.value for s in aliased.values()}),
            scratch={
                (step, i): placed.offsets[_scratch_name(k, i)]
                for step, k in enumerate(self.kernels)
                for i, _ in enumerate(k.program.scratch)
            },
            plan=placed,
            requests=(*tensors, *scratch),
            tensor_bytes=plan(tensors, planner).total_bytes,
            aliased=tuple(
                tuple(aliased[v].position for v in k.group.outputs if v in aliased)
                for k in self.kernels
            ),
        )

    def _aliased(
        self, tensors: Sequence[Request], placed: Plan, possible: Mapping[str, _Share]
    ) -> dict[str, _Share]:
        """By the output: what shares memory in a plan."""
        found = dict(self.in_place)
        for request in tensors:
            if request.ahead is not None:
                share, begin = possible[request.name], placed.offsets[request.name]
                size = self.types[share.value].size_bytes
                theirs = placed.offsets[request.ahead.name]
                if begin < theirs + size and theirs < begin + request.size_bytes:
                    found[request.name] = share
        return found

    def _lifetimes(self, overwritten: Collection[str]) -> dict[str, Lifetime]:
        """Of all values; those `overwritten` end with the operator that reads them last."""
        steps, spans = len(self.kernels), self.spans()
        lifetimes = {}
        for value, step in self.made.items():
            until = self.used.get(value, step)
            lifetimes[value] = Lifetime(
                *spans[self.owner.get(value, value)],
                live_from=step + 1,
                live_to=min(until if value in overwritten else until + 1, steps),
            )
        return lifetimes


def _needed(requests: Sequence[Request], total_bytes: int) -> list[Request]:
    """The same requests, of which only those may overlap that must for so small an arena."""
    result = []
    for request in requests:
        if request.ahead is not None:
            step = request.first
            alive = [r for r in requests if r.first <= step <= r.last]
            if lower_bound_bytes([replace(r, ahead=None) for r in alive]) <= total_bytes:
                request = replace(request, ahead=None)
        result.append(request)
    return result


def _scratch_name(kernel: Kernel, index: int) -> str:
    return f"{kernel.group.name}.{kernel.program.scratch[index].name}.{index}"
