"""Greedy planners: one pass, biggest trouble first.

The orders "by size" and "by breadth" are those of Pisarchyk and Lee, "Efficient Memory Management
for Deep Neural Net Inference" (2020); the others break different ties. None is always the best, and
all together cost milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable

from microtvm.memory.place import Placer
from microtvm.util import round_up

Order = Callable[[Placer], list[int]]


def by_size(placer: Placer) -> list[int]:
    """The largest first."""
    return _descending(placer, lambda i: (placer.requests[i].size_bytes, _lifetime(placer, i)))


def by_area(placer: Placer) -> list[int]:
    """The largest product of bytes and steps first."""
    return _descending(placer, lambda i: (placer.requests[i].size_bytes * _lifetime(placer, i), 0))


def by_lifetime(placer: Placer) -> list[int]:
    """The longest living first, the larger of equals."""
    return _descending(placer, lambda i: (_lifetime(placer, i), placer.requests[i].size_bytes))


def by_conflict(placer: Placer) -> list[int]:
    """What meets the most bytes of others first."""
    weight = [
        sum(placer.requests[j].size_bytes for j in neighbours) for neighbours in placer.neighbours
    ]
    return _descending(placer, lambda i: (weight[i], placer.requests[i].size_bytes))


def by_breadth(placer: Placer) -> list[int]:
    """Steps by the bytes alive in them, the fullest first; the buffers of a step by size."""
    requests = placer.requests
    steps = sorted({request.first for request in requests})
    alive = {
        step: [i for i, request in enumerate(requests) if request.first <= step <= request.last]
        for step in steps
    }
    steps.sort(key=lambda step: -sum(requests[i].size_bytes for i in alive[step]))
    order: dict[int, None] = {}
    for step in steps:
        order.update(dict.fromkeys(sorted(alive[step], key=lambda i: -requests[i].size_bytes)))
    return list(order)


def by_skyline(placer: Placer) -> list[int]:
    """As a wall is built: what can lie lowest on what is placed already, the longest living of
    equals, then the largest."""
    requests = placer.requests
    floor = [0] * len(requests)
    waiting = set(range(len(requests)))
    order = []

    def rank(index: int) -> tuple[int, int, int, int]:
        lowest = round_up(floor[index], requests[index].align)
        return (lowest, -_lifetime(placer, index), -requests[index].size_bytes, index)

    while waiting:
        picked = min(waiting, key=rank)
        waiting.remove(picked)
        order.append(picked)
        end = rank(picked)[0] + requests[picked].size_bytes
        for other in placer.neighbours[picked]:
            floor[other] = max(floor[other], end)
    return order


def by_end(placer: Placer) -> list[int]:
    """The last one first: what may begin before another's start has been placed when that is."""
    return _descending(placer, lambda i: (placer.requests[i].last, placer.requests[i].size_bytes))


ORDERS: dict[str, Order] = {
    "greedy_size": by_size,
    "greedy_area": by_area,
    "greedy_lifetime": by_lifetime,
    "greedy_conflict": by_conflict,
    "greedy_breadth": by_breadth,
    "greedy_skyline": by_skyline,
    "greedy_end": by_end,
}


def _lifetime(placer: Placer, index: int) -> int:
    request = placer.requests[index]
    return request.last - request.first + 1


def _descending(placer: Placer, key: Callable[[int], tuple[int, int]]) -> list[int]:
    """Indices by descending key; equals stay in the order of the requests."""
    return sorted(range(len(placer.requests)), key=lambda i: tuple(-part for part in key(i)))
