"""What is asked of the planner, what it answers, and the checks on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from microtvm.errors import IRError
from microtvm.util import round_up


@dataclass(frozen=True)
class Ahead:
    """A buffer may share memory with the one called `name` if it begins `distance` bytes (>= 0)
    before that, or more."""

    name: str
    distance: int


@dataclass(frozen=True)
class Request:
    """A buffer of `size_bytes` (>= 0) that must keep its content from step `first` to step `last`.

    Steps are operators in their order, both ends included. `align` is a power of two in bytes.
    `offset`, if given, is where the buffer must lie; else the planner chooses. Buffers that lie in
    one place on purpose (views, in-place operators) are one request: the caller has merged them.
    `ahead` names a buffer whose last step is this one's first, in which it is read from the front;
    there is one such pair in a step at most.
    """

    name: str
    size_bytes: int
    first: int
    last: int
    align: int = 1
    offset: int | None = None
    ahead: Ahead | None = None

    def meets(self, other: Request) -> bool:
        """Whether both are alive in some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Where each buffer lies: `offsets` in bytes by name, from the start of one arena.

    `total_bytes` is the end of the highest buffer. No plan can be below `lower_bound_bytes`: equal
    numbers mean that the plan is optimal. `planner` is the one that found it.
    """

    offsets: Mapping[str, int]
    total_bytes: int
    lower_bound_bytes: int
    planner: str


def check_requests(requests: Sequence[Request]) -> None:
    """IRError if a request makes no sense, or two of them can't be met together."""
    names: dict[str, Request] = {}
    fixed: list[tuple[Request, int]] = []
    for request in requests:
        if request.name in names:
            raise IRError(f"two buffers are named {request.name!r}")
        names[request.name] = request
        if request.size_bytes < 0:
            raise IRError(f"buffer {request.name!r} has {request.size_bytes} bytes")
        if request.first > request.last:
            raise IRError(
                f"buffer {request.name!r} lives from step {request.first} to {request.last}"
            )
        if request.align < 1 or request.align & (request.align - 1):
            raise IRError(f"buffer {request.name!r} has an alignment of {request.align}")
        if request.offset is None:
            continue
        if request.offset < 0 or request.offset % request.align:
            raise IRError(
                f"buffer {request.name!r} is fixed at {request.offset}, "
                f"not aligned to {request.align}"
            )
        for other, other_offset in fixed:
            if _collide(request, request.offset, other, other_offset):
                raise IRError(f"buffers {other.name!r} and {request.name!r} are fixed in one place")
        fixed.append((request, request.offset))
    steps: set[int] = set()
    for request in requests:
        if request.ahead is None:
            continue
        before = names.get(request.ahead.name)
        if before is None or before.last != request.first or request.ahead.distance < 0:
            raise IRError(f"buffer {request.name!r} can't begin before {request.ahead.name!r}")
        if request.first in steps:
            raise IRError(f"two buffers begin before others in step {request.first}")
        steps.add(request.first)


def check_plan(requests: Sequence[Request], plan: Plan) -> None:
    """IRError if two live buffers overlap, or a buffer is misplaced or missing: a planner's bug."""
    by_first = sorted(requests, key=lambda request: request.first)
    for index, request in enumerate(by_first):
        offset = plan.offsets.get(request.name)
        if offset is None:
            raise IRError(f"planner {plan.planner} has left out buffer {request.name!r}")
        if offset < 0 or offset % request.align or request.offset not in (None, offset):
            raise IRError(f"planner {plan.planner} has misplaced {request.name!r} at {offset}")
        for other in by_first[index + 1 :]:
            if other.first > request.last:
                break
            if _collide(request, offset, other, plan.offsets.get(other.name, -other.size_bytes)):
                raise IRError(
                    f"planner {plan.planner} lets {request.name!r} overlap {other.name!r}"
                )
    total = total_bytes(requests, plan.offsets)
    if total != plan.total_bytes:
        raise IRError(f"planner {plan.planner} says {plan.total_bytes} bytes; it needs {total}")


def total_bytes(requests: Sequence[Request], offsets: Mapping[str, int]) -> int:
    """The end of the highest buffer."""
    return max((offsets[request.name] + request.size_bytes for request in requests), default=0)


def lower_bound_bytes(requests: Sequence[Request]) -> int:
    """No plan is smaller: the most that is alive in one step, or the end of a fixed buffer.

    What is alive changes for the worse only where a buffer's life begins. Of the buffers of a step
    all but the highest are followed by another, so the sum counts the size of each rounded up to
    the smallest alignment among them, but for the one that loses most by it. Those that may share
    memory count as one.
    """
    bound = 0
    for start in {request.first for request in requests}:
        alive = [r for r in requests if r.first <= start <= r.last and r.size_bytes > 0]
        if alive:
            align = min(request.align for request in alive)
            parts = _parts(alive)
            padding = [round_up(size, align) - size for size in parts]
            bound = max(bound, sum(parts) + sum(padding) - max(padding))
    fixed = [r.offset + r.size_bytes for r in requests if r.offset is not None]
    return max([bound, *fixed])


def _parts(alive: Sequence[Request]) -> list[int]:
    """The bytes of each buffer of a step; the least of both together for a pair that may share."""
    sizes = {r.name: r.size_bytes for r in alive}
    for request in alive:
        ahead = request.ahead
        if ahead is not None and ahead.name in sizes:
            ours, theirs = sizes.pop(request.name), sizes[ahead.name]
            sizes[ahead.name] += ours - max(0, min(theirs, ours - ahead.distance))
    return list(sizes.values())


def may_share(a: Request, a_offset: int, b: Request, b_offset: int) -> bool:
    """Whether two buffers may have bytes in common that lie there."""
    for one, one_offset, other, other_offset in (
        (a, a_offset, b, b_offset),
        (b, b_offset, a, a_offset),
    ):
        ahead = one.ahead
        if ahead is not None and ahead.name == other.name:
            return one_offset + ahead.distance <= other_offset
    return False


def _collide(a: Request, a_offset: int, b: Request, b_offset: int) -> bool:
    if not (a.meets(b) and a.size_bytes and b.size_bytes):
        return False
    if may_share(a, a_offset, b, b_offset):
        return False
    return a_offset < b_offset + b.size_bytes and b_offset < a_offset + a.size_bytes
