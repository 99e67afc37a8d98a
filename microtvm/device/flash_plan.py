"""How an image is going to be flashed: by which tool, with which arguments, at which port."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from microtvm.device.find import Port, count_devices, find_port, list_ports, of_board
from microtvm.errors import BoardError, LinkError, ToolError, UserError
from microtvm.target import Board, FlashTool, Programmer, load_programmer
from microtvm.target.board import replaced

UF2 = "uf2"
"""The program that microtvm is itself: `uf2 {uf2} --family 0xe48bff56 --board-id RPI-RP2`."""

_SERIAL = "{serial_number}"
_FILES: Mapping[str, str] = {"{hex}": ".hex", "{bin}": ".bin", "{uf2}": ".uf2"}


@dataclass(frozen=True)
class Image:
    """What is to be flashed, and where files may be put."""

    elf: Path
    folder: Path
    """The project's: where tools are called."""
    build: Path
    """The folder that the build wrote to."""

    def file(self, placeholder: str) -> Path:
        """The file that stands for {hex}, {bin} or {uf2}."""
        return self.files / (self.elf.stem + _FILES[placeholder])

    @property
    def files(self) -> Path:
        """The folder of converted files and logs, apart from what the build wrote."""
        return self.build / "flash"


@dataclass(frozen=True)
class Plan:
    """How an image is going to be flashed."""

    tool: FlashTool
    programmer: Programmer
    argv: tuple[str, ...]
    """Nothing left to fill in, but for {port} where no board was found for a plan only to look
    at."""
    port: Port | None
    """The board's, where the tool needs it or its serial number was taken."""
    image: Image
    board: Board
    where: str = ""
    """The port, or the folder of a UF2 drive, that was asked for."""
    serial_number: str = ""
    """That was asked for, or is the port's; empty if unknown."""

    @property
    def log(self) -> Path:
        """What the tool printed."""
        return self.image.files / f"{self.tool.name}.log"

    def option(self, name: str) -> str:
        """The word behind an option; empty if it isn't given."""
        return next((b for a, b in pairwise(self.argv) if a == name), "")


def find_program(programmer: Programmer) -> str | None:
    """The tool's program: on the PATH, or beside this Python, where pip puts it; None if it is
    missing. What microtvm does itself is always there."""
    if not programmer.programs:
        return programmer.name
    path = os.pathsep.join([os.environ.get("PATH", ""), sysconfig.get_path("scripts")])
    for name in programmer.programs:
        found = shutil.which(name, path=path)
        if found:
            return name if shutil.which(name) else found
    return None


def choose_tool(board: Board, tools: Sequence[FlashTool], name: str = "") -> FlashTool:
    """The tool of that name, else the first that is installed.

    UserError for an unknown name, BoardError if there is no tool at all, ToolError if what is
    needed isn't installed.
    """
    if not tools:
        raise BoardError(
            f"board {board.name} has no flash tool",
            hint="it is emulated: microtvm run boots it"
            if board.emulator
            else f"add a table [flash.<tool>] to {board.own_file}",
        )
    if name:
        found = next((tool for tool in tools if tool.name == name), None)
        if found is None:
            raise UserError(
                f"board {board.name} is not flashed with {name!r}",
                hint="its tools: " + ", ".join(tool.name for tool in tools),
            )
        tools = [found]
    for tool in tools:
        if find_program(load_programmer(Path(tool.argv[0]).name)) is not None:
            return tool
    advice = [f"{tool.name}: {load_programmer(Path(tool.argv[0]).name).install}" for tool in tools]
    raise ToolError(
        f"flashing {board.name} needs "
        + " or ".join(tool.name for tool in tools)
        + ", which "
        + ("is" if len(tools) == 1 else "are")
        + " not on the PATH",
        hint="things to try: " + "; ".join(advice),
    )


def plan_flash(
    board: Board,
    tools: Sequence[FlashTool],
    image: Image,
    *,
    tool: str = "",
    port: str = "",
    serial_number: str = "",
    dry: bool = False,
) -> Plan:
    """Chooses the tool and the board's port, and fills in the tool's arguments. No file is made,
    nothing is opened.

    `dry`: neither the tool nor the board has to be there. Raises what `choose_tool` and `find_port`
    raise.
    """
    try:
        chosen = choose_tool(board, tools, tool)
    except ToolError:
        if not dry:
            raise
        chosen = next(each for each in tools if tool in ("", each.name))
    programmer = load_programmer(Path(chosen.argv[0]).name)
    found = None
    if programmer.name != UF2:
        _check_choice(board, tools, chosen, programmer, port, serial_number, dry)
        found = _port_for(board, chosen, programmer, port, serial_number, dry)
    number = serial_number or (found.serial_number if found else "")
    program = find_program(programmer) or chosen.argv[0]
    return Plan(
        tool=chosen,
        programmer=programmer,
        argv=(program, *fill(chosen.argv[1:], image, found, number, port)),
        port=found,
        image=image,
        board=board,
        where=port,
        serial_number=number,
    )


def _check_choice(
    board: Board,
    tools: Sequence[FlashTool],
    chosen: FlashTool,
    programmer: Programmer,
    port: str,
    serial_number: str,
    dry: bool,
) -> None:
    """UserError where a board has to be chosen, or was, and the tool can't be told which."""
    if _tells_boards_apart(chosen) or programmer.touch:
        return
    others = [tool.name for tool in tools if _tells_boards_apart(tool)]
    hint = f"choose --tool {' or '.join(others)}" if others else "unplug the other boards"
    if port or serial_number:
        raise UserError(
            f"{chosen.name} flashes {board.name} without being told which board: "
            f"{'--serial-number' if serial_number else '--port'} has no effect",
            hint=hint,
        )
    plugged = [] if dry else of_board(board, list_ports())
    if count_devices(plugged) > 1:
        raise UserError(
            f"{len(plugged)} ports of {board.name} are there, and {chosen.name} can't be told "
            "which board to flash",
            hint=hint,
        )


def _tells_boards_apart(tool: FlashTool) -> bool:
    return any("{port}" in word or _SERIAL in word for word in tool.argv)


def _port_for(
    board: Board,
    tool: FlashTool,
    programmer: Programmer,
    port: str,
    serial_number: str,
    dry: bool,
) -> Port | None:
    text = " ".join(tool.argv)
    needed = "{port}" in text or programmer.touch
    # A probe may have a serial number and no port; whoever gives the number has looked it up.
    if not needed and (_SERIAL not in text or serial_number) and not port:
        return None
    try:
        return find_port(board, port=port, serial_number=serial_number)
    except LinkError:
        if needed and not dry:
            raise
    except UserError:
        # Without USB ids, or with none of the board's, there is nothing to choose from.
        if not dry and (needed or port or len(of_board(board, list_ports())) > 1):
            raise
    return None


def fill(
    argv: Sequence[str], image: Image, port: Port | None, serial_number: str, given: str = ""
) -> list[str]:
    """The arguments with files, folders, port and serial number in place of the placeholders. The
    port that was `given` stands for one that isn't there, an unknown {port} stays; what asks for an
    unknown serial number is left out."""
    values = {
        "{elf}": str(image.elf),
        "{folder}": str(image.folder),
        "{build}": str(image.build),
        _SERIAL: serial_number,
        **{placeholder: str(image.file(placeholder)) for placeholder in _FILES},
    }
    if port is not None or given:
        values["{port}"] = given if port is None else port.device
    result: list[str] = []
    for word in argv:
        if _SERIAL in word and not serial_number:
            if result and result[-1].startswith("-") and not word.startswith("-"):
                result.pop()
            continue
        result.append(replaced(word, values))
    return result
