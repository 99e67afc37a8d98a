"""The option `watchdog_s`: whether a board can have it, and whether a model's operators are done in
time."""

from __future__ import annotations

from collections.abc import Iterable

from microtvm.errors import BoardError, UserError
from microtvm.project.option import Option
from microtvm.project.platform import Project
from microtvm.target import Board, list_boards, load_board

WATCHDOG = Option(
    "watchdog_s",
    0,
    "Seconds that an operator may take before a watchdog resets the board; 0: none.",
)

_CYCLES_A_MAC = (("mve", 3), ("dsp", 3), ("thumb1", 16), ("harvard", 128))
"""What a multiplication and its sum take at most, by the first feature that a core has, rounded up:
a depthwise convolution of 3 x 3, the slowest of all, is 2.3 cycles on a Cortex-M4 and 15.7 on a
Cortex-M0; one of 1 x 1 over eight channels, whose outputs cost more than its products, 122 on an
AVR."""
_OTHER_CYCLES_A_MAC = 8
"""Likewise of other cores: 7.3 on a Cortex-M3."""
_SOFT_FLOAT_CYCLES_A_MAC = 200
"""Of floats on a core that has no instructions for them."""
_NARROW_FLOAT_CYCLES_A_MAC = 320
"""Likewise where registers have 8 bits: 284 in a loop of products with avr-libc's."""

_INSTRUCTIONS_A_SECOND = 10**9
"""Of an emulated machine whose time is its count of instructions."""


def check_watchdog(board: Board, seconds: int, platform: str) -> None:
    """BoardError where the board has no watchdog for `seconds` other than 0, UserError where they
    are less than none or more than it counts."""
    if seconds == 0:
        return
    if board.watchdog is None:
        others = ", ".join(_boards_that_have(platform))
        raise BoardError(
            f"board {board.name} has no watchdog that the platform {platform} drives, "
            f"which the option {WATCHDOG.name} needs",
            hint=f"leave the option out, or add a table [watchdog] to {board.own_file}; "
            f"boards that have it: {others}",
        )
    if not 0 < seconds <= board.watchdog.longest_s:
        raise UserError(
            f"option {WATCHDOG.name} of platform {platform} must be 0 (none) to "
            f"{board.watchdog.longest_s} on board {board.name}, found {seconds}",
            hint=WATCHDOG.help,
        )


def watchdog_warning(project: Project) -> str:
    """What to do where an operator may well take more than half of the watchdog's time; empty where
    none does, or where the board's clock is unknown.

    Time is estimated from an operator's products, on the safe side.
    """
    seconds = int(project.options.get(WATCHDOG.name, 0))
    emulator = project.board.emulator
    emulated_hz = _INSTRUCTIONS_A_SECOND if emulator is not None and emulator.icount else 0
    hz = project.board.hz or emulated_hz
    metadata = project.library.metadata
    if not seconds or not hz or not metadata["operators"]:
        return ""
    longest = max(metadata["operators"], key=lambda operator: int(operator.get("macs", 0)))
    dtypes = {t["dtype"] for t in metadata["tensors"] if t["name"] in longest["inputs"]}
    cycles = int(longest.get("macs", 0)) * _cycles_a_mac(project.board, dtypes)
    if 2 * cycles <= seconds * hz:
        return ""
    return (
        f"operator {longest['name']} may take {cycles / hz:.1f} s on board {project.board.name}, "
        f"and the watchdog waits {seconds} s: if it resets the board, create the project again "
        f"with a larger {WATCHDOG.name}"
    )


def _cycles_a_mac(board: Board, dtypes: Iterable[str]) -> int:
    if "float32" in dtypes and not board.cpu.has("fpu-single"):
        narrow = board.cpu.has("harvard")
        return _NARROW_FLOAT_CYCLES_A_MAC if narrow else _SOFT_FLOAT_CYCLES_A_MAC
    known = (cycles for feature, cycles in _CYCLES_A_MAC if board.cpu.has(feature))
    return next(known, _OTHER_CYCLES_A_MAC)


def _boards_that_have(platform: str) -> list[str]:
    boards = map(load_board, list_boards())
    return [b.name for b in boards if b.watchdog is not None and platform in b.platforms]
