"""Options that several commands take: those that compile a model, those that run one, those that
say which board is meant, and those of platforms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from microtvm.attach import Place
from microtvm.errors import UserError
from microtvm.lower.budget import DEFAULT_BUDGET
from microtvm.memory import PLANNERS
from microtvm.pipeline import CompileOptions
from microtvm.project import option as project_option
from microtvm.project import split_options
from microtvm.target import Cpu, load_board, load_cpu


class _Integer(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An integer as C has it."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not project_option.INTEGER.fullmatch(value):
            self.fail(f"{value!r} is not a valid integer.", param, ctx)
        return int(value, 0)


INTEGER = _Integer()

ANY_CPU = "generic"
"""What is compiled for where neither a core nor a board is named."""

_OPTIONS = (
    click.option(
        "--strip-edges", is_flag=True, help="Drop float or uint8 conversions at the edges."
    ),
    click.option(
        "--fold-channels/--no-fold-channels",
        default=True,
        help="Leave out channels that are constant for every input (`microtvm check` lists them).",
    ),
    click.option(
        "--overlap/--no-overlap",
        default=True,
        help="Let outputs begin before the inputs whose memory they take over: a smaller arena, "
        "but a few percent more instructions on cores without the DSP extension.",
    ),
    click.option(
        "--flash-budget",
        metavar="FACTOR|BYTES",
        default=str(DEFAULT_BUDGET),
        show_default=True,
        help="What weights may take in flash, where more of it makes the model faster: "
        "a multiple of their size in int8, or bytes such as 200K or 1M.",
    ),
    click.option(
        "--planner",
        type=click.Choice(PLANNERS),
        metavar="NAME",
        default="auto",
        show_default=True,
        help="How the arena is planned: one order of many, or `exact`, which needs the extra of "
        "that name.",
    ),
    click.option(
        "--schedules",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Schedule kernels as this file says: a metadata.json of an earlier compile, or what "
        "`microtvm schedules --json` wrote, edited or not.",
    ),
)


_RUN = (
    click.argument("target", metavar="MODEL|PROJECT", type=click.Path(path_type=Path)),
    click.option(
        "--board",
        "board_name",
        metavar="BOARD",
        help="Board to run a model on; `microtvm boards` lists them.",
    ),
    click.option("--platform", default="", help="Out of the board's; by default its first."),
    click.option("--input", "input_file", type=click.Path(path_type=Path), help="Arrays, .npz."),
    click.option("--keep", type=click.Path(path_type=Path), help="Keep library and project here."),
)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names a model or project to run, its board and its inputs."""
    for option in reversed(_RUN):
        command = option(command)
    return command


def compile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as `compiling`."""
    names = [field.name for field in fields(CompileOptions)]

    @functools.wraps(command)
    def with_options(**rest: Any) -> Any:
        given = {name: rest.pop(name) for name in names}
        return command(compiling=CompileOptions(**given), **rest)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


def core_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cpu and --board; the command gets `cpu`, None where neither is given."""

    @click.option(
        "--cpu",
        "cpu_name",
        metavar="CPU",
        help="Core to compile for; without it and --board, plain C99 for any core: `generic`.",
    )
    @click.option("--board", "board_name", metavar="BOARD", help="Compile for this board's core.")
    @functools.wraps(command)
    def with_core(cpu_name: str | None, board_name: str | None, **rest: Any) -> Any:
        return command(cpu=_core(cpu_name, board_name), **rest)

    return with_core


def _core(cpu_name: str | None, board_name: str | None) -> Cpu | None:
    board = load_board(board_name) if board_name else None
    if board is None:
        return load_cpu(cpu_name) if cpu_name else None
    if cpu_name and cpu_name != board.cpu.name:
        raise UserError(
            f"board {board.name} has a {board.cpu.name}, not a {cpu_name}",
            hint="give --board or --cpu",
        )
    return board.cpu


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --port and --serial-number; the command gets both as `place`."""

    @click.option(
        "--port",
        default="",
        help="The board's serial port or UF2 drive, if it is not to be found.",
    )
    @click.option("--serial-number", default="", help="Of its USB device, to tell boards apart.")
    @functools.wraps(command)
    def with_place(port: str, serial_number: str, **rest: Any) -> Any:
        return command(place=Place(port, serial_number), **rest)

    return with_place


def platform_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --option NAME=VALUE; the command gets `options`, each value as it was written."""

    @click.option(
        "--option",
        "words",
        multiple=True,
        metavar="NAME=VALUE",
        help="Of the platform; `microtvm platforms` lists them.",
    )
    @functools.wraps(command)
    def with_options(words: tuple[str, ...], **rest: Any) -> Any:
        return command(options=split_options(words), **rest)

    return with_options
