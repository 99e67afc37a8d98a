"""The `microtvm` program: its commands, and exit status 0, 1 (failure) or 2 (user's mistake)."""

from __future__ import annotations

import builtins
import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module

import click

from microtvm.cli.console import errors, report_error
from microtvm.errors import MicrotvmError, MicrotvmWarning, UserError
from microtvm.target.document import near
from microtvm.version import VERSION

COMMANDS = {
    "run": "run",
    "profile": "profile",
    "diff": "diff",
    "compile": "model",
    "check": "model",
    "schedules": "schedules",
    "create": "project",
    "build": "project",
    "export": "export",
    "flash": "flash",
    "ports": "flash",
    "boards": "boards",
    "platforms": "board",
    "doctor": "board",
}
"""The commands, and the module of `microtvm.cli` that each is in."""


class Commands(click.Group):
    """Imports what a command needs when it is called: most need the compiler, `boards` does not."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which help lists them."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; UsageError with the near ones where none does."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            advice = near(args[0], list(COMMANDS), otherwise="`microtvm --help` lists them")
            ctx.fail(f"There is no command {args[0]!r}: {advice}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"microtvm.cli.{COMMANDS[cmd_name]}")
        name = f"{cmd_name}_" if hasattr(builtins, cmd_name) else cmd_name
        found = getattr(module, name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="microtvm")
@click.option("-v", "--verbose", is_flag=True, help="Show where in microtvm an error arose.")
def cli(verbose: bool) -> None:
    """Run trained models on microcontrollers: compile, build, flash or emulate, infer."""


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


def failure_of(error: OSError) -> MicrotvmError:
    """What the operating system refused, as one of our errors."""
    reason = error.strerror or str(error) or type(error).__name__
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    message = f"can't read or write {' or '.join(files) or 'a file'}: {reason}"
    return UserError(message) if error.errno in _MISTAKES else MicrotvmError(message)


AGAIN_S = 1.0
"""How long after a signal it is looked whether the command is on its way out."""


class _Ending:
    """Leaves in the ordinary way when a signal says so, so that emulators are reaped and temporary
    folders go.

    An exception that comes while an object is being finalised is dropped by Python. So it is looked
    again and again whether it is still being handled, and raised anew if it is not.
    """

    def __init__(self) -> None:
        for name in ("SIGTERM", "SIGHUP", "SIGINT"):
            number = getattr(signal, name, None)
            # As with nohup: what is to be ignored stays so.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        self._exit: BaseException | None = None

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._exit is None:
            interrupted = number == signal.SIGINT
            self._exit = KeyboardInterrupt() if interrupted else SystemExit(128 + number)
            if hasattr(signal, "setitimer"):
                signal.signal(signal.SIGALRM, self._look_again)
                signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
            raise self._exit

    def _look_again(self, _number: int, _frame: object) -> None:
        error: BaseException | None = sys.exception()
        while error is not None and error is not self._exit:
            error = error.__context__
        if error is None and self._exit is not None:
            raise self._exit

    def over(self) -> None:
        """The command has ended; what is left is for the interpreter."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0.0)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    ending = _Ending()
    try:
        sys.exit(_status(argv))
    finally:
        ending.over()


def _show(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Shows microtvm's own warnings as what they say, without a place in its source."""

    def show(message: Warning | str, category: type[Warning], *rest: object) -> None:
        if issubclass(category, MicrotvmWarning):
            errors.print(f"warning: {message}", markup=False)
        else:
            otherwise(message, category, *rest)

    return show


def _status(argv: Sequence[str] | None) -> int:
    """Runs the command; its exit status, whatever it raised."""
    words = list(sys.argv[1:] if argv is None else argv)
    verbose = any(w in ("-v", "--verbose") for w in words)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", MicrotvmWarning)
            warnings.showwarning = _show(warnings.showwarning)
            status = cli.main(args=words, prog_name="microtvm", standalone_mode=False)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.ClickException as mistake:
        mistake.show(sys.stderr)
        status = 2
    except (click.Abort, KeyboardInterrupt):
        errors.print("interrupted")
        status = 128 + signal.SIGINT
    except MicrotvmError as error:
        status = report_error(error, verbose)
    except BrokenPipeError:
        # Whoever read the output has had enough, as `head` does; what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        status = report_error(failure_of(error), verbose)
    return status if isinstance(status, int) else 0
