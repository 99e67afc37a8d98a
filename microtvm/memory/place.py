"""Places buffers one after another into the free gaps between those that live at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from microtvm.memory.request import Request
from microtvm.util import round_up


class Placer:
    """The requests of one problem, prepared to be placed in many different orders.

    Buffers are known by their index in `requests`. Those with a fixed offset are always placed
    first; an order may name them or not.
    """

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = tuple(requests)
        self.neighbours: tuple[tuple[int, ...], ...] = tuple(
            tuple(
                j
                for j, other in enumerate(requests)
                if i != j and request.meets(other) and request.size_bytes and other.size_bytes
            )
            for i, request in enumerate(requests)
        )
        index = {request.name: i for i, request in enumerate(requests)}
        self._ahead = {
            (i, index[r.ahead.name]): min(r.ahead.distance, r.size_bytes)
            for i, r in enumerate(requests)
            if r.ahead is not None
        }
        self._fixed = {i: r.offset for i, r in enumerate(requests) if r.offset is not None}

    def lowest(self, order: Iterable[int]) -> list[int]:
        """Offsets when each buffer, in this order, takes the lowest place that is free.

        Some order gives a smallest plan: that of the offsets in any smallest plan.
        """
        return self._place(order, best_fit=False)

    def best_fit(self, order: Iterable[int]) -> list[int]:
        """Offsets when each buffer, in this order, takes the smallest gap that holds it, and
        extends the arena only if none does."""
        return self._place(order, best_fit=True)

    def total_bytes(self, offsets: Sequence[int]) -> int:
        """The end of the highest buffer."""
        ends = (offset + r.size_bytes for offset, r in zip(offsets, self.requests, strict=True))
        return max(ends, default=0)

    def by_name(self, offsets: Sequence[int]) -> dict[str, int]:
        """Offsets by name, in the order of the requests."""
        return {r.name: offset for r, offset in zip(self.requests, offsets, strict=True)}

    def _place(self, order: Iterable[int], *, best_fit: bool) -> list[int]:
        offsets: list[int | None] = [self._fixed.get(i) for i in range(len(self.requests))]
        for index in order:
            if index in self._fixed:
                continue
            request = self.requests[index]
            taken = []
            for other in self.neighbours[index]:
                start = offsets[other]
                if start is not None:
                    taken.append(self._taken(index, other, start))
            taken.sort()
            offsets[index] = _gap(request.size_bytes, request.align, taken, best_fit=best_fit)
        assert all(offset is not None for offset in offsets), "an order names every buffer"
        return [offset for offset in offsets if offset is not None]

    def _taken(self, index: int, other: int, start: int) -> tuple[int, int]:
        """Where a buffer can't lie because of another that begins at `start`: it must end before,
        or begin behind."""
        end = start + self.requests[other].size_bytes
        distance = self._ahead.get((index, other))
        if distance is not None:
            return start - distance + self.requests[index].size_bytes, end
        distance = self._ahead.get((other, index))
        return start, end if distance is None else min(end, start + distance)


def _gap(size_bytes: int, align: int, taken: list[tuple[int, int]], *, best_fit: bool) -> int:
    """The offset for a buffer between the intervals `taken`, ascending by their start."""
    free = 0
    best: int | None = None
    best_room = 0
    for start, end in taken:
        room = start - free
        if room >= size_bytes and (best is None or room < best_room):
            if not best_fit:
                return free
            best, best_room = free, room
        if end > free:
            free = round_up(end, align)
    return free if best is None else best
