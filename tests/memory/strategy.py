"""Random requests, and the smallest plan for a few of them by trying all orders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from microtvm.memory import Ahead, Request

ALIGNS = (1, 2, 4, 8, 16)


@st.composite
def requests(draw: st.DrawFn, max_count: int = 20, max_size_bytes: int = 100) -> list[Request]:
    """Buffers with random lives, sizes (zero too), alignments; now and then one has to lie at 0."""
    count = draw(st.integers(0, max_count))
    found = []
    for index in range(count):
        first = draw(st.integers(0, 10))
        found.append(
            Request(
                f"b{index}",
                draw(st.integers(0, max_size_bytes)),
                first,
                first + draw(st.integers(0, 4)),
                draw(st.sampled_from(ALIGNS)),
                0 if index == 0 and draw(st.booleans()) else None,
            )
        )
    for index, later in enumerate(found):
        taken = any(r.ahead is not None and r.first == later.first for r in found)
        before = [r for r in found if r.last == later.first and r is not later and not taken]
        if before and later.offset is None and draw(st.booleans()):
            distance = draw(st.integers(0, max_size_bytes))
            found[index] = replace(later, ahead=Ahead(draw(st.sampled_from(before)).name, distance))
    return found


def overlaps(a: Request, a_offset: int, b: Request, b_offset: int) -> bool:
    """Said another way than the planner says it: they share a step and a byte, and may not."""
    for one, start, other, behind in ((a, a_offset, b, b_offset), (b, b_offset, a, a_offset)):
        if one.ahead is not None and one.ahead.name == other.name:
            return behind - start < one.ahead.distance and _meet(a, a_offset, b, b_offset)
    return _meet(a, a_offset, b, b_offset)


def _meet(a: Request, a_offset: int, b: Request, b_offset: int) -> bool:
    steps = set(range(a.first, a.last + 1)) & set(range(b.first, b.last + 1))
    places = set(range(a_offset, a_offset + a.size_bytes))
    return bool(steps and places & set(range(b_offset, b_offset + b.size_bytes)))


def smallest_total(requests: Sequence[Request]) -> int:
    """The optimum: every order, each buffer at the lowest offset that is free for it.

    Lowering any optimal plan in the order of its offsets gives one of these.
    """
    free = [request for request in requests if request.offset is None]
    fixed = {r: r.offset for r in requests if r.offset is not None}
    best = sum(request.size_bytes + request.align for request in requests)
    for order in itertools.permutations(free):
        placed: dict[Request, int] = dict(fixed)
        for request in order:
            offset = 0
            while any(overlaps(request, offset, other, at) for other, at in placed.items()):
                offset += request.align
            placed[request] = offset
        best = min(best, max((at + r.size_bytes for r, at in placed.items()), default=0))
    return best
