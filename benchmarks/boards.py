"""Which boards benchmarks and tests run on: those that QEMU emulates, on bare metal."""

from __future__ import annotations

from microtvm.target import list_boards, load_board

PLATFORM = "baremetal"


def emulated_boards() -> list[str]:
    """All that have the platform, whichever is their first."""
    boards = [load_board(name) for name in list_boards()]
    return [
        board.name
        for board in boards
        if PLATFORM in board.platforms
        and board.emulator is not None
        and board.emulator.kind == "qemu"
    ]


def first_choice_boards() -> list[str]:
    """Those that are on bare metal where no platform is named."""
    return [name for name in emulated_boards() if load_board(name).platforms[0] == PLATFORM]
