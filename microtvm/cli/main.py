"""The `microtvm` program: its commands, and exit status 0, 1 (failure) or 2 (user's mistake)."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence

import click

from microtvm.cli import board, model, project, run
from microtvm.cli.console import errors, report_error
from microtvm.errors import MicrotvmError, UserError
from microtvm.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="microtvm")
@click.option("-v", "--verbose", is_flag=True, help="Show where in microtvm an error arose.")
def cli(verbose: bool) -> None:
    """Run trained models on microcontrollers: compile, build, flash or emulate, infer."""


for command in (
    run.run,
    model.compile_,
    model.check,
    project.create,
    project.build,
    board.boards,
    board.doctor,
):
    cli.add_command(command)


# A file that can't be read or written is mostly a path that was given; a full disk is not.
_MISTAKES = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def _failure(error: OSError) -> MicrotvmError:
    """What the operating system refused, as one of our errors."""
    reason = error.strerror or str(error)
    message = f"{error.filename}: {reason}" if error.filename else reason
    return UserError(message) if error.errno in _MISTAKES else MicrotvmError(message)


def _end(number: int, _frame: object) -> None:
    """Leave in the ordinary way, so that emulators are reaped and temporary folders go."""
    sys.exit(128 + number)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = any(w in ("-v", "--verbose") for w in words)
    try:
        status = cli.main(args=words, prog_name="microtvm", standalone_mode=False)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.ClickException as mistake:
        mistake.show(sys.stderr)
        status = 2
    except click.Abort:
        errors.print("interrupted")
        status = 1
    except MicrotvmError as error:
        status = report_error(error, verbose)
    except BrokenPipeError:
        # Whoever read the output has had enough, as `head` does; what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        status = report_error(_failure(error), verbose)
    sys.exit(status if isinstance(status, int) else 0)
