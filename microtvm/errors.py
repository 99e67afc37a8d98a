"""The one exception tree.

A message says what was asked, what was found and where; `hint` what to try.

Status codes are the command line's: 2 for the user's mistake, 1 for anything else.
"""

from __future__ import annotations


class MicrotvmError(Exception):
    """Base of all expected failures. `hint` is advice, apart so that tools can show it apart."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MicrotvmWarning(UserWarning):
    """Something works, as far as one can see, that nobody has tried."""


class UserError(MicrotvmError):
    """What the user gave can't be used: a file, an option, an array, a board's name."""

    exit_status = 2


class ModelError(UserError):
    """The model file is damaged, or uses what can't be compiled."""


class BoardError(UserError):
    """A board's data is wrong, or the board is unknown."""


class FitError(UserError):
    """The model does not fit the board: the message says by how many bytes of which memory."""


class ToolError(MicrotvmError):
    """A tool (compiler, emulator, flasher) is missing or failed."""


class MissingProgramError(ToolError):
    """A `program` that a build needs is not on the PATH."""

    def __init__(self, message: str, *, hint: str = "", program: str) -> None:
        super().__init__(message, hint=hint)
        self.program = program


class LinkError(MicrotvmError):
    """The wire to the device: damaged beyond repair, silent, or refused by the device."""


class DeviceError(MicrotvmError):
    """The device answered with an error, crashed, or went away."""


class CancelledError(DeviceError):
    """A run was stopped because it was asked to."""


class IRError(MicrotvmError):
    """An invariant of an intermediate representation does not hold.

    It is a bug in the compiler, not in the model.
    """


class ScheduleError(MicrotvmError):
    """A schedule primitive was asked for something that it can't do."""
