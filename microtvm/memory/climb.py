"""Hill climbing over the order in which buffers are placed."""

from __future__ import annotations

import random

from microtvm.memory.place import Placer

ROUNDS = 1500
PLACEMENTS = 30_000
"""At most this many buffers are placed in all, so that large models take no longer."""


def climb(placer: Placer, start: list[int], goal_bytes: int, *, seed: int = 0) -> list[int]:
    """Offsets at least as good as `start`'s (also offsets): the same ones for the same arguments.

    The order of the offsets, placed lowest first, is where the search begins. A buffer that reaches
    the top of the arena, or a neighbour of one, moves to another place in the order; what is not
    worse is kept. Ends at `goal_bytes`, or after a number of rounds that depends on nothing but the
    number of buffers.
    """
    chance = random.Random(seed)
    best = start
    best_total = placer.total_bytes(start)
    order = sorted(range(len(start)), key=lambda i: (start[i], i))
    offsets = placer.lowest(order)
    total = placer.total_bytes(offsets)
    for _ in range(min(ROUNDS, PLACEMENTS // max(1, len(start)))):
        if total < best_total:
            best, best_total = offsets, total
        if best_total <= goal_bytes or len(start) < 2:
            break
        candidate = _moved(placer, order, offsets, total, chance)
        placed = placer.lowest(candidate)
        height = placer.total_bytes(placed)
        if height <= total:
            order, offsets, total = candidate, placed, height
    return offsets if total < best_total else best


def _moved(
    placer: Placer, order: list[int], offsets: list[int], total: int, chance: random.Random
) -> list[int]:
    top = [
        i for i, request in enumerate(placer.requests) if offsets[i] + request.size_bytes == total
    ]
    picked = chance.choice(top)
    neighbours = placer.neighbours[picked]
    if neighbours and chance.random() < 0.5:
        picked = chance.choice(neighbours)
    candidate = [index for index in order if index != picked]
    candidate.insert(chance.randrange(len(order)), picked)
    return candidate
