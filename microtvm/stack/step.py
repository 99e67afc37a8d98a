"""What one instruction does to the stack and to the flow of control, for every instruction set."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from microtvm.errors import ToolError


class StackError(ToolError):
    """No bound on the stack can be given: the message names the function and the reason."""


class Origin(Enum):
    """What a known value is counted from."""

    ENTRY = "entry"
    """The stack pointer as it was when the function was entered; the amount is how far below."""
    ZERO = "zero"
    """A constant."""
    CALLER = "caller"
    """A return address that was loaded from the stack."""


@dataclass(frozen=True)
class Value:
    """What is known of a register."""

    origin: Origin
    amount: int = 0

    def plus(self, amount: int) -> Value | None:
        """The value with a number added; None if that is not known."""
        if self.origin is Origin.ENTRY:
            return Value(Origin.ENTRY, self.amount - amount)
        if self.origin is Origin.ZERO:
            return Value(Origin.ZERO, (self.amount + amount) & 0xFFFFFFFF)
        return None


@dataclass
class State:
    """Registers of which something is known, by their numbers, before an instruction."""

    sp: int
    """The number of the stack pointer."""
    values: dict[int, Value] = field(default_factory=dict)
    conditional: int = 0
    """How many of the next instructions may be skipped."""

    @property
    def depth(self) -> int:
        """Bytes below the stack pointer of the function's entry. StackError if it is not known."""
        value = self.values.get(self.sp)
        if value is None or value.origin is not Origin.ENTRY:
            raise StackError("the stack pointer is moved by a number that is not constant")
        return value.amount

    def copy(self) -> State:
        """One that can be changed."""
        return State(self.sp, dict(self.values), self.conditional)

    def set(self, register: int, value: Value | None) -> None:
        """A register is written; None is a value of which nothing is known."""
        if value is None:
            self.values.pop(register, None)
        else:
            self.values[register] = value

    def push(self, size: int) -> None:
        """The stack pointer goes down by `size` bytes, up if that is negative."""
        self.set(self.sp, Value(Origin.ENTRY, self.depth + size))

    def add(self, register: int, source: int, amount: int) -> None:
        """register = source + amount."""
        value = self.values.get(source)
        self.set(register, None if value is None else value.plus(amount))

    def add_register(self, register: int, source: int, other: int, sign: int = 1) -> None:
        """register = source + sign * other, where one of both is a constant."""
        a, b = self.values.get(source), self.values.get(other)
        if sign > 0 and a is not None and a.origin is Origin.ZERO:
            a, b = b, a
        if a is None or b is None or b.origin is not Origin.ZERO:
            self.set(register, None)
            return
        amount = b.amount - (1 << 32) if b.amount >> 31 else b.amount
        self.set(register, a.plus(sign * amount))

    def joined(self, other: State) -> State:
        """What holds after one or the other: the deeper stack, and what both agree on."""
        kept = {r: v for r, v in self.values.items() if other.values.get(r) == v}
        result = State(self.sp, kept, max(self.conditional, other.conditional))
        result.set(self.sp, Value(Origin.ENTRY, max(self.depth, other.depth)))
        return result


class Indirect(Enum):
    """A target that a register has."""

    NONE = 0
    CALL = 1
    JUMP = 2
    """Of a switch, or a call in the last place of a function."""


@dataclass
class Step:
    """One instruction. What it does to registers is in the state that its decoder was given."""

    size: int
    falls: bool = True
    """The next instruction may be executed after it (after a call: when that returns)."""
    jumps: tuple[int, ...] = ()
    call: int | None = None
    """The address of a function that it calls."""
    indirect: Indirect = Indirect.NONE
    returns: bool = False
    skipped: bool = False
    """It may be skipped: the next instruction may be executed whatever this one does."""
    restarts: bool = False
    """It gives the stack pointer a constant: the stack begins anew."""
