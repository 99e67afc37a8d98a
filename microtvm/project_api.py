"""A project from Python: generate, build, flash, and talk to it, on every platform alike.

    project = generate_project(Path("model.tflite"), "host", Path("project"))
    build(project)
    with open_session(project) as session:
        outputs = session.run({"image": image})

Platforms are those of `list_platforms`, third parties' included; what each can be told is in
`list_options`. What goes wrong is a subclass of `errors.MicrotvmError`, with a hint what to do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from microtvm import attach
from microtvm.attach import Place
from microtvm.device import Plan, Session, Timing, Transport
from microtvm.device.flash_run import Line
from microtvm.inference import prefix_of
from microtvm.pipeline import PLAIN, CompileOptions, compile_model
from microtvm.project import (
    Built,
    Option,
    Project,
    Value,
    build_project,
    check_stack,
    create_project,
    find_platform,
    list_platforms,
    load_project,
)
from microtvm.target import Board, load_board

__all__ = [
    "CompileOptions",
    "build",
    "flash",
    "generate_project",
    "list_options",
    "list_platforms",
    "load_project",
    "open_session",
    "open_transport",
]


def list_options(platform: str, method: str = "") -> tuple[Option, ...]:
    """What a platform can be told: name, type, default and choices of each option, and the step
    (`create`, `build`, `flash`, `open`) that it is meant for. `method` keeps those of one step.

    ToolError if there is no such platform.
    """
    found = find_platform(platform).options
    return tuple(option for option in found if method in ("", option.method))


def generate_project(
    model: Path,
    board: str | Board,
    folder: Path,
    *,
    platform: str = "",
    options: Mapping[str, Value] | None = None,
    stack_bytes: int = 0,
    force: bool = False,
    compiling: CompileOptions = PLAIN,
) -> Project:
    """Writes a project that serves a model on a board into `folder`, which must be new or empty; an
    earlier project there is replaced with `force`.

    `model` is a model file, or the folder of a compiled library; `board` a name, a file, or data;
    `platform` one of the board's, by default its first, `options` its own; `compiling` says how a
    model file is compiled. The others are those of `create_project`. Raises ModelError,
    BoardError, FitError, UserError, ToolError.
    """
    data = load_board(board) if isinstance(board, str) else board
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary:
        library = model
        if model.is_dir():
            compiling.refuse(f"{model} is compiled already")
        else:
            library = Path(temporary)
            compiled = compile_model(model, data.cpu, prefix=prefix_of(model), options=compiling)
            compiled.library.write(library)
        return create_project(
            library,
            data,
            folder,
            platform=platform,
            options=options,
            stack_bytes=stack_bytes,
            force=force,
        )


def build(
    project: Project, *, options: Mapping[str, Value] | None = None, strict: bool = False
) -> Built:
    """Builds the image with the platform's own tools; `options` are the platform's for this step,
    `strict` makes warnings errors. ToolError or FitError if that fails, or if the stack is too
    small."""
    built = build_project(project, options=options, strict=strict)
    check_stack(project)
    return built


def flash(
    project: Project,
    *,
    port: str = "",
    serial_number: str = "",
    tool: str = "",
    options: Mapping[str, Value] | None = None,
    line: Line | None = None,
) -> Plan:
    """Puts the built image into the board; the tool, its arguments and its log.

    `tool` is one of the board's, by default the first that is installed; `port` or `serial_number`
    choose between boards. `line` gets every line that the tool prints. UserError for a choice that
    has to be made, LinkError for a board that is missing, in use or not this user's, ToolError for
    a tool that is missing or fails.
    """
    return attach.flash_project(
        project, Place(port, serial_number), tool=tool, options=options, line=line
    )


def open_transport(
    project: Project,
    *,
    port: str = "",
    serial_number: str = "",
    options: Mapping[str, Value] | None = None,
) -> Transport:
    """The stream of bytes to the server: an emulator's UART, a process of this machine, or the
    serial port of a real board, which it is if `port` or `serial_number` is given or the board has
    no emulator. The caller closes it. LinkError, DeviceError, ToolError or UserError if it can't be
    opened."""
    return attach.open_link(project, Place(port, serial_number), options=options)


def open_session(
    project: Project,
    *,
    port: str = "",
    serial_number: str = "",
    options: Mapping[str, Value] | None = None,
    timing: Timing | None = None,
) -> Session:
    """A session with the model on the board, by the stream that `open_transport` opens: arrays in,
    arrays out, every tensor in between. A context manager; see `device.Session`."""
    return attach.open_project(project, Place(port, serial_number), options=options, timing=timing)
