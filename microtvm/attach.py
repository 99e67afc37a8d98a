"""A project and its board: the image put into it, and the link opened, whatever it runs on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microtvm.device import (
    EmulatorTransport,
    Image,
    Plan,
    Session,
    Timing,
    Transport,
    find_port,
    open_transport,
    plan_flash,
    run_plan,
)
from microtvm.device.client import HELLO_S, UnansweredError
from microtvm.device.count import build_simavr
from microtvm.device.flash_run import Line
from microtvm.device.transport.exec import ExecTransport
from microtvm.doctor import install_line
from microtvm.errors import BoardError, LinkError, ToolError
from microtvm.project import Project, Value
from microtvm.target import Board, Emulator


@dataclass(frozen=True)
class Place:
    """Which of the boards that are plugged in is meant."""

    port: str = ""
    """The serial port, or the folder of a UF2 boot loader's drive; empty to look for it."""
    serial_number: str = ""
    """Of the USB device; empty for any."""

    @property
    def given(self) -> bool:
        """Whether something was said at all: a real board is meant, not an emulator."""
        return bool(self.port or self.serial_number)


ANYWHERE = Place()
"""The only board of its kind that is plugged in."""


def require_emulator(board: Board) -> Emulator:
    """The board's emulator; BoardError if it has none, ToolError if its program is missing."""
    emulator = board.emulator
    if emulator is None:
        raise BoardError(
            f"board {board.name} has no emulator",
            hint="flash it, and open a session over its serial port",
        )
    program = emulator.argv[0]
    if emulator.kind == "qemu" and shutil.which(program) is None:
        raise ToolError(
            f"running on {board.name} needs {program}, which is not on the PATH",
            hint=f"things to try: {install_line(program)}; microtvm doctor lists all tools",
        )
    return emulator


def require_simavr(board: Board) -> Path:
    """The program that runs the board's images on libsimavr, built if it has to be; ToolError where
    it can't be."""
    built = build_simavr()
    if built.path is None:
        raise ToolError(
            f"running on {board.name} needs libsimavr: {built.reason}",
            hint=f"things to try: {install_line('simavr')}; microtvm doctor lists all tools",
        )
    return built.path


def plan_project(
    project: Project,
    place: Place = ANYWHERE,
    *,
    tool: str = "",
    options: Mapping[str, Value] | None = None,
    dry: bool = False,
) -> Plan:
    """How the project's image would be flashed: by `tool`, or the first that is installed;
    `options` are the platform's for this step. See `device.plan_flash`, also for `dry`."""
    project = project.in_step("flash", options)
    # Tools are called in the project's folder, but files are named by whoever calls this.
    folder, elf = project.folder.resolve(), project.elf.resolve()
    return plan_flash(
        project.board,
        project.platform.flash_tools(project),
        Image(elf=elf, folder=folder, build=project.platform.build_folder(project).resolve()),
        tool=tool,
        port=place.port,
        serial_number=place.serial_number,
        dry=dry,
    )


def flash_project(
    project: Project,
    place: Place = ANYWHERE,
    *,
    tool: str = "",
    options: Mapping[str, Value] | None = None,
    line: Line | None = None,
) -> Plan:
    """Puts the built image into the board; what was done. `line` gets what the tool prints.

    Raises what `plan_project` and `device.run_plan` raise.
    """
    plan = plan_project(project, place, tool=tool, options=options)
    run_plan(plan, line=line)
    return plan


def is_real(board: Board, place: Place) -> bool:
    """Whether the link is a serial port: there is no emulator, or a port was named."""
    return place.given or board.emulator is None


def serial_url(project: Project, place: Place = ANYWHERE) -> str:
    """The URL of the board's link, once its port is found; see `device.find_port`."""
    port = find_port(
        project.board,
        port=place.port,
        serial_number=place.serial_number,
        platform=project.platform.name,
    )
    return f"serial:{port.device}?baud={project.platform.baud(project)}"


def open_link(
    project: Project,
    place: Place = ANYWHERE,
    *,
    options: Mapping[str, Value] | None = None,
) -> Transport:
    """The stream of bytes to the project's server: the board's serial port, its emulator's UART, or
    the pipes of a process of this machine. The image must be built, and flashed if the board is
    real.

    LinkError, ToolError or DeviceError where it can't be opened; UserError to choose a port.
    """
    project = project.in_step("open", options)
    if is_real(project.board, place):
        return open_transport(serial_url(project, place))
    emulator = require_emulator(project.board)
    if emulator.kind == "process":
        return ExecTransport(project.platform.emulator_argv(project, ""))
    if emulator.kind == "simavr":
        command = project.platform.emulator_argv(project, "")
        return ExecTransport([str(require_simavr(project.board)), *command[1:]])
    return EmulatorTransport(project.platform.emulator_argv(project, "{serial}"))


def open_project(
    project: Project,
    place: Place = ANYWHERE,
    *,
    options: Mapping[str, Value] | None = None,
    timing: Timing | None = None,
) -> Session:
    """A session with the project's server; see `open_link` and `device.Session` for what is
    raised. Where a real board is silent, the hint is to flash it."""
    link = open_link(project, place, options=options)
    try:
        return Session(link, project.library.metadata, elf=project.elf, timing=timing)
    except (LinkError, UnansweredError) as error:
        if not is_real(project.board, place):
            raise
        raise type(error)(error.message, hint=silent_hint(project.folder, place)) from error


def waiting_text(project: Project, place: Place) -> str:
    """What is said while nobody has answered yet; empty where nobody waits for long."""
    if not is_real(project.board, place):
        return ""
    at = f" at {place.port}" if place.port else ""
    return f"waiting up to {HELLO_S:g} s for the first answer of {project.board.name}{at}"


def silent_hint(folder: Path, place: Place) -> str:
    """What to try where a board doesn't answer."""
    port = f" --port {place.port}" if place.port else ""
    return (
        "is this the board's port, and is this project in its flash? "
        f"microtvm flash {folder}{port}; if it is, press reset and try again"
    )
