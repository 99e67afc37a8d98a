"""Options that every command which compiles a model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from microtvm.lower.budget import DEFAULT_BUDGET

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
        "--flash-budget",
        metavar="FACTOR|BYTES",
        default=str(DEFAULT_BUDGET),
        show_default=True,
        help="What weights may take in flash, where more of it makes the model faster: "
        "a multiple of their size in int8, or bytes such as 200K or 1M.",
    ),
)


def compile_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as keywords that `compile_model` has too."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
