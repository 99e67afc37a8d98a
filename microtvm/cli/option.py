"""Options that several commands take: those that compile a model, those that run one, those that
say which board is meant, and those of platforms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from microtvm.attach import Place
from microtvm.lower.budget import DEFAULT_BUDGET
from microtvm.project import split_options

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
        "--board", "board_name", help="Board to run a model on; `microtvm boards` lists them."
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
    """Add the options; the command gets them as keywords that `compile_model` has too."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


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
