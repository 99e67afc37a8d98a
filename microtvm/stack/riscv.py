"""RV32IMC instructions as far as they matter to the stack.

The RISC-V Instruction Set Manual, volume I: chapters RV32I, "C" and the calling convention.
"""

from __future__ import annotations

from microtvm.stack.memory import Memory
from microtvm.stack.step import Indirect, Origin, StackError, State, Step, Value

RA, SP, GP = 1, 2, 3
_LINKS = (RA, 5)
"""Registers that hold return addresses by convention."""
_RETURN = Value(Origin.CALLER)


def entry(global_pointer: int | None = None) -> State:
    """What a function may rely on."""
    state = State(SP, {SP: Value(Origin.ENTRY), RA: _RETURN, 0: Value(Origin.ZERO)})
    if global_pointer is not None:
        state.set(GP, Value(Origin.ZERO, global_pointer))
    return state


def decode(memory: Memory, at: int, state: State) -> Step:
    """The instruction at `at`; `state` becomes the one after it."""
    op = memory.half(at)
    if op & 3 == 3:
        return _whole(at, memory.word(at), state)
    return _compressed(at, op, state)


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _move(state: State, register: int, value: Value | None, step: Step) -> Step:
    """A register gets a value."""
    if register == 0:
        return step
    if register == SP and value is not None and value.origin is Origin.ZERO:
        step.restarts, value = True, Value(Origin.ENTRY)
    state.set(register, value)
    return step


def _leave(state: State, register: int, offset: int, step: Step) -> Step:
    """A jump to a register's value that notes no return address."""
    value = state.values.get(register)
    step.falls = False
    if value is not None and value.origin is Origin.ZERO:
        step.jumps = (value.amount + offset & 0xFFFFFFFE,)
    elif register in _LINKS:
        step.returns = True
    else:
        step.indirect = Indirect.JUMP
    return step


def _call(state: State, register: int, offset: int, step: Step) -> Step:
    """A call of a register's value."""
    value = state.values.get(register)
    if value is not None and value.origin is Origin.ZERO:
        step.call = value.amount + offset & 0xFFFFFFFE
    else:
        step.indirect = Indirect.CALL
    return step


def _sum(state: State, register: int, source: int, amount: int, step: Step) -> Step:
    value = state.values.get(source)
    return _move(state, register, None if value is None else value.plus(amount), step)


def _whole(at: int, op: int, state: State) -> Step:
    step = Step(4)
    opcode, rd, funct, rs1, rs2 = (
        op & 0x7F, op >> 7 & 31, op >> 12 & 7, op >> 15 & 31, op >> 20 & 31
    )  # fmt: skip
    immediate = _signed(op >> 20, 12)
    match opcode:
        case 0x6F:
            distance = (op >> 31) << 20 | (op >> 12 & 0xFF) << 12 | (op >> 20 & 1) << 11
            target = at + _signed(distance | (op >> 21 & 0x3FF) << 1, 21)
            if rd == 0:
                step.jumps, step.falls = (target,), False
            else:
                step.call = target
        case 0x67:
            return _call(state, rs1, immediate, step) if rd else _leave(state, rs1, immediate, step)
        case 0x63:
            distance = (op >> 31) << 12 | (op >> 7 & 1) << 11 | (op >> 25 & 0x3F) << 5
            step.jumps = (at + _signed(distance | (op >> 8 & 15) << 1, 13),)
        case 0x13 if funct == 0:
            return _sum(state, rd, rs1, immediate, step)
        case 0x13 if funct == 7 and rd == rs1 == SP and _is_mask(immediate):
            state.push(-immediate - 1)  # down to a multiple of a power of two
        case 0x37:
            return _move(state, rd, Value(Origin.ZERO, op & 0xFFFFF000), step)
        case 0x17:
            value = Value(Origin.ZERO, at + (op & 0xFFFFF000) & 0xFFFFFFFF)
            return _move(state, rd, value, step)
        case 0x33 if funct == 0 and op >> 25 in {0, 0x20}:
            state.add_register(rd, rs1, rs2, -1 if op >> 25 else 1)
        case 0x73 if op in {0x30200073, 0x10200073}:
            step.falls, step.returns = False, True
        case 0x23 | 0x27 | 0x0F | 0x07 | 0x43 | 0x47 | 0x4B | 0x4F:
            pass
        case 0x53 if op >> 28 not in {0xA, 0xC, 0xE}:
            pass
        case _:
            _lose(state, rd)
    _keep(state)
    return step


def _lose(state: State, register: int) -> None:
    state.set(register, _RETURN if register in _LINKS else None)


def _keep(state: State) -> None:
    """x0 is always zero; StackError if the stack pointer's value got lost."""
    state.set(0, Value(Origin.ZERO))
    if SP not in state.values:
        raise StackError("the stack pointer is moved by a number that is not constant")


def _compressed(at: int, op: int, state: State) -> Step:
    step = Step(2)
    funct, rd, rs2, short, shorter = (
        op >> 13, op >> 7 & 31, op >> 2 & 31, 8 + (op >> 2 & 7), 8 + (op >> 7 & 7)
    )  # fmt: skip
    immediate = _signed((op >> 12 & 1) << 5 | rs2, 6)
    match op & 3, funct:
        case 0, 0:
            if op == 0:
                step.falls = False
                return step
            amount = (op >> 7 & 15) << 6 | (op >> 11 & 3) << 4 | (op >> 5 & 1) << 3
            return _sum(state, short, SP, amount | (op >> 6 & 1) << 2, step)
        case 0, 2:
            state.set(short, None)
        case 1, 0:
            return _sum(state, rd, rd, immediate, step)
        case 1, 1:
            step.call = at + _distance(op)
        case 1, 2:
            return _move(state, rd, Value(Origin.ZERO, immediate & 0xFFFFFFFF), step)
        case 1, 3 if rd == SP:
            amount = (op >> 12 & 1) << 9 | (op >> 3 & 3) << 7 | (op >> 5 & 1) << 6
            state.push(-_signed(amount | (op >> 2 & 1) << 5 | (op >> 6 & 1) << 4, 10))
        case 1, 3:
            return _move(state, rd, Value(Origin.ZERO, immediate << 12 & 0xFFFFFFFF), step)
        case 1, 4:
            state.set(shorter, None)
        case 1, 5:
            step.jumps, step.falls = (at + _distance(op),), False
        case 1, 6 | 7:
            distance = (op >> 12 & 1) << 8 | (op >> 5 & 3) << 6 | (op >> 2 & 1) << 5
            distance |= (op >> 10 & 3) << 3 | (op >> 3 & 3) << 1
            step.jumps = (at + _signed(distance, 9),)
        case 2, 4 if op & 0x1000 and rs2 == 0:
            if rd == 0:
                step.falls = False
                return step
            return _call(state, rd, 0, step)
        case 2, 4 if rs2 == 0:
            return _leave(state, rd, 0, step)
        case 2, 4 if op & 0x1000:
            state.add_register(rd, rd, rs2)
        case 2, 4:
            return _move(state, rd, state.values.get(rs2), step)
        case 2, 0 | 2:
            _lose(state, rd)
        case _:
            pass
    _keep(state)
    return step


def _distance(op: int) -> int:
    """Of C.J and C.JAL."""
    distance = (op >> 12 & 1) << 11 | (op >> 8 & 1) << 10 | (op >> 9 & 3) << 8
    distance |= (op >> 6 & 1) << 7 | (op >> 7 & 1) << 6 | (op >> 2 & 1) << 5
    return _signed(distance | (op >> 11 & 1) << 4 | (op >> 3 & 7) << 1, 12)


def _is_mask(immediate: int) -> bool:
    """Whether `and` with it goes down to a multiple of a power of two."""
    return immediate < 0 and -immediate & (-immediate - 1) == 0
