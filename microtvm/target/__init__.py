"""Boards and CPUs as data: TOML files with inheritance, read into frozen dataclasses."""

from microtvm.target.board import (
    FEATURES,
    FLASH_PLACEHOLDERS,
    ROLES,
    Board,
    Counter,
    Cpu,
    Emulator,
    FlashTool,
    Memory,
    Setting,
    Uart,
    UsbId,
    Watchdog,
)
from microtvm.target.data import data_folder
from microtvm.target.loader import list_boards, list_cpus, load_board, load_cpu
from microtvm.target.programmer import Programmer, list_programmers, load_programmer
from microtvm.target.timing import Timing

__all__ = [
    "FEATURES",
    "FLASH_PLACEHOLDERS",
    "ROLES",
    "Board",
    "Counter",
    "Cpu",
    "Emulator",
    "FlashTool",
    "Memory",
    "Programmer",
    "Setting",
    "Timing",
    "Uart",
    "UsbId",
    "Watchdog",
    "data_folder",
    "list_boards",
    "list_cpus",
    "list_programmers",
    "load_board",
    "load_cpu",
    "load_programmer",
]
