"""What comes of a run: how far it got, what it took, or that it took too long."""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.errors import LinkError


class OverdueError(LinkError):
    """A run took longer than it was given. The device has stopped as it was asked to: the session
    goes on."""


@dataclass(frozen=True)
class Run:
    """What the device says of a run."""

    step: int
    """How many operators of the inference have run."""
    ticks: int
    """What the operators of this request took by the board's counter, modulo 2**32; 0 without
    one."""


@dataclass(frozen=True)
class OperatorTime:
    """What one operator took."""

    name: str
    ticks: int


@dataclass(frozen=True)
class Profile:
    """What each operator of one inference took, by the board's counter."""

    operators: tuple[OperatorTime, ...]
    ticks_hz: int
    """How often the counter ticks in a second, 0 where that is unknown."""

    @property
    def ticks(self) -> int:
        """All operators together."""
        return sum(operator.ticks for operator in self.operators)
