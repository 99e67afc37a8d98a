"""Whether a model fits a board, said before anything is built: what is missing, of which memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microtvm.errors import FitError
from microtvm.project.library import Library
from microtvm.target import Board, Memory

SERVER_CODE_BYTES = 3000
"""No image's start-up code, drivers and server are smaller; the model's own code comes on top."""

SERVER_STATIC_BYTES = 128
"""No image's variables are smaller: the server's state."""


@dataclass(frozen=True)
class Demand:
    """What an image needs, in bytes; `code` and `static` are lower bounds until it is linked."""

    arena: int
    weights: int
    code: int
    static: int
    stack: int


def demand_of(library: Library, stack_bytes: int) -> Demand:
    """What is known of an image before it is compiled."""
    return Demand(
        arena=library.arena_bytes,
        weights=library.weights_bytes or 0,
        code=SERVER_CODE_BYTES,
        static=SERVER_STATIC_BYTES,
        stack=stack_bytes,
    )


def arena_pool(board: Board, demand: Demand, pools: Sequence[Memory]) -> Memory:
    """The first of the pools that holds the arena beside what else has to be there; the roomiest,
    if none does."""

    def room(pool: Memory) -> int:
        shared = demand.stack + demand.static if pool == board.memory("data") else 0
        return pool.size_bytes - shared - demand.arena

    fitting = [pool for pool in pools if room(pool) >= 0]
    return fitting[0] if fitting else max(pools, key=room)


def contents(
    board: Board, demand: Demand, pools: Sequence[Memory] = ()
) -> dict[Memory, list[tuple[str, int]]]:
    """What an image puts into each memory of the board: names, and bytes. {} for the host.

    `pools` are those that the platform can place the arena in, the first choice first; by default
    the memory of its role.
    """
    parts: dict[Memory, list[tuple[str, int]]] = {}
    if not board.memories:
        return parts
    arena = arena_pool(board, demand, pools or (board.memory("arena"),))
    for memory, name, size in (
        (arena, "arena", demand.arena),
        (board.memory("data"), "stack", demand.stack),
        (board.memory("data"), "variables", demand.static),
        (board.memory("weights"), "weights", demand.weights),
        (board.memory("code"), "code", demand.code),
    ):
        parts.setdefault(memory, []).append((name, size))
    return parts


def check_fit(board: Board, demand: Demand, pools: Sequence[Memory] = ()) -> None:
    """FitError if a memory of the board is too small, naming every such memory and what fills it;
    `pools` as in `contents`.

    A board without memories (the host) fits everything.
    """
    complaints = []
    for memory, used in contents(board, demand, pools).items():
        excess = sum(size for _, size in used) - memory.size_bytes
        if excess > 0:
            list_of_parts = " + ".join(f"{name} {size:,}" for name, size in used if size)
            complaints.append(
                f"its memory {memory.name} has {memory.size_bytes:,} bytes, "
                f"at least {excess:,} too few for {list_of_parts}"
            )
    if complaints:
        raise FitError(
            f"the model does not fit board {board.name}: " + "; ".join(complaints),
            hint="choose a board with more memory, or a smaller model",
        )
