"""Thumb instructions of Arm's M-profile, as far as they matter to the stack.

Armv6-M, Armv7-M and Armv8-M Architecture Reference Manuals: encodings T1 to T4 of each instruction.
"""

from __future__ import annotations

from microtvm.stack.memory import Memory
from microtvm.stack.step import Indirect, Origin, State, Step, Value

SP, LR, PC = 13, 14, 15
_RETURN = Value(Origin.CALLER)


def entry() -> State:
    """What a function may rely on."""
    return State(SP, {SP: Value(Origin.ENTRY), LR: _RETURN})


def decode(memory: Memory, at: int, state: State) -> Step:
    """The instruction at `at`; `state` becomes the one after it."""
    skipped = state.conditional
    before = state.copy() if skipped else None
    first = memory.half(at)
    step = _wide(memory, at, first, state) if first >= 0xE800 else _narrow(memory, at, first, state)
    if before is not None:
        before.conditional = state.conditional = skipped - 1
        state.values = (state.joined(before) if step.falls else before).values
        step.falls = step.skipped = True
    return step


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _constant(state: State, register: int) -> int | None:
    value = state.values.get(register)
    return value.amount if value is not None and value.origin is Origin.ZERO else None


def _move(state: State, register: int, value: Value | None, step: Step) -> Step:
    """A register gets a value; the program counter and the stack pointer are two of them."""
    if register == PC:
        return _leave(state, value, step)
    if register == SP and value is not None and value.origin is Origin.ZERO:
        step.restarts, value = True, Value(Origin.ENTRY)
    state.set(register, value)
    return step


def _leave(state: State, value: Value | None, step: Step) -> Step:
    """The program counter gets a value."""
    step.falls = False
    if value is not None and value.origin is Origin.CALLER:
        step.returns = True
    else:
        step.indirect = Indirect.JUMP
    return step


def _pop(state: State, registers: int, step: Step) -> Step:
    """Loads registers, a bit each, from the top of the stack."""
    state.push(-4 * registers.bit_count())
    for register in range(15):
        if registers >> register & 1:
            state.set(register, _RETURN)
    if registers >> PC & 1:
        step.falls, step.returns = False, True
    return step


def _narrow(memory: Memory, at: int, op: int, state: State) -> Step:
    step = Step(2)
    low, middle = op & 7, op >> 8 & 7
    high = op & 7 | op >> 4 & 8
    match op >> 8:
        case 0x44:
            if high == PC:
                return _leave(state, None, step)
            if high == SP or op >> 3 & 15 == SP:
                state.add_register(high, high, op >> 3 & 15)
            else:
                state.set(high, None)
        case 0x46:
            return _move(state, high, state.values.get(op >> 3 & 15), step)
        case 0x47:
            register = op >> 3 & 15
            if op & 0x80:
                step.indirect = Indirect.CALL
                return step
            return _leave(state, state.values.get(register), step)
        case 0xB0:
            state.push(4 * (op & 0x7F) * (1 if op & 0x80 else -1))
        case 0xB4 | 0xB5:
            state.push(4 * (op & 0x1FF).bit_count())
        case 0xBC | 0xBD:
            return _pop(state, op & 0xFF | (op & 0x100) << 7, step)
        case 0xB1 | 0xB3 | 0xB9 | 0xBB:
            step.jumps = (at + 4 + ((op >> 3 & 31) << 1 | (op & 0x200) >> 3),)
        case 0xBF if op & 15:
            state.conditional = 4 - ((op & -op).bit_length() - 1)
        case 0xDE:
            step.falls = False
        case 0xDF | 0x45:
            pass
        case head if head >> 4 == 0xD:
            step.jumps = (at + 4 + 2 * _signed(op & 0xFF, 8),)
        case head if head >> 3 == 0x1C:
            step.jumps, step.falls = (at + 4 + 2 * _signed(op & 0x7FF, 11),), False
        case head if head >> 3 == 0x04:
            state.set(middle, Value(Origin.ZERO, op & 0xFF))
        case head if head >> 3 in {0x06, 0x07}:
            state.add(middle, middle, (op & 0xFF) * (-1 if op & 0x800 else 1))
        case head if head >> 3 == 0x09:
            state.set(middle, Value(Origin.ZERO, memory.word((at & ~3) + 4 + 4 * (op & 0xFF))))
        case head if head >> 3 == 0x15:
            state.add(middle, SP, 4 * (op & 0xFF))
        case head if head >> 3 in {0x13, 0x14}:
            state.set(middle, None)
        case head if head >> 4 == 0xC:
            for register in range(8):
                if op >> register & 1 and op & 0x800:
                    state.set(register, None)
            state.set(middle, None)
        case 0x42 if op >> 6 & 3 == 1:
            number = _constant(state, op >> 3 & 7)
            state.set(low, None if number is None else Value(Origin.ZERO, -number & 0xFFFFFFFF))
        case head if head < 0x08:
            number = _constant(state, op >> 3 & 7)
            shifted = (number or 0) << (op >> 6 & 31) & 0xFFFFFFFF
            state.set(low, None if number is None else Value(Origin.ZERO, shifted))
        case head if _writes_low(head):
            state.set(low, None)
    return step


def _writes_low(head: int) -> bool:
    """Whether an instruction of 16 bits that is not listed writes the register in its low bits."""
    if head >> 3 in {0x05, 0x0A, 0x0C, 0x0E, 0x10, 0x12}:  # compares and stores
        return False
    return head < 0x98 or head in {0xB2, 0xBA}


def _wide(memory: Memory, at: int, first: int, state: State) -> Step:
    second = memory.half(at + 2)
    step = Step(4)
    if first >> 11 == 0b11110 and second & 0x8000:
        return _branch(at, first, second, state, step)
    base, target = first & 15, second >> 12
    if first & 0xFE40 == 0xE800:
        return _multiple(first, second, state, step)
    if first & 0xFE00 == 0xE800:
        return _double(first, second, state, step)
    if first >> 9 == 0b1110110 and second >> 8 & 15 in {0xA, 0xB} and first & 0x01A0:
        _coprocessor(first, second, state, 4 * (second & 0xFF))
        return step
    if first >> 9 == 0b1110110 and second & 0x1E00 == 0x1E00:
        _coprocessor(first, second, state, (second & 0x7F) << (second >> 7 & 3))
        return step
    if first & 0xFE00 == 0xF800:
        return _single(memory, at, first, second, state, step)
    if first & 0xF800 == 0xF000:
        return _immediate(first, second, state, step)
    destination = second >> 8 & 15
    if first & 0xFF80 == 0xEB00 and not second & 0x70F0:
        if destination != PC:
            state.add_register(destination, base, second & 15)
    elif first & 0xFFE0 == 0xEBA0 and not second & 0x70F0:
        if destination != PC:
            state.add_register(destination, base, second & 15, -1)
    elif first >> 9 == 0b1110101 and destination != PC:
        state.set(destination, None)
    else:
        for register in {destination, target} - {SP, PC}:
            state.set(register, None)
    return step


def _branch(at: int, first: int, second: int, state: State, step: Step) -> Step:
    """Branches and calls; the rest (barriers, special registers) moves nothing but registers."""
    sign = first >> 10 & 1
    j1, j2 = second >> 13 & 1, second >> 11 & 1
    if second & 0x1000:
        i1, i2 = 1 - (j1 ^ sign), 1 - (j2 ^ sign)
        far = sign << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1
        target = at + 4 + _signed(far, 25)
        if second & 0x4000:
            step.call = target
        else:
            step.jumps, step.falls = (target,), False
    elif second & 0x4000:
        # Armv8.1-M's loops: DLS has no target, WLS goes on behind the loop, LE back to its head.
        distance = (second >> 1 & 0x3FF) << 2 | (second >> 11 & 1) << 1
        if second & 0x2000 == 0:
            back = first & 0xFFCF == 0xF00F
            step.jumps = (at + 4 + (-distance if back else distance),)
    elif first >> 6 & 15 < 14:
        near = sign << 20 | j2 << 19 | j1 << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1
        step.jumps = (at + 4 + _signed(near, 21),)
    elif first & 0xFFF0 == 0xF7F0 and second & 0xF000 == 0xA000:
        step.falls = False
    elif first & 0xFFE0 == 0xF3E0:
        state.set(second >> 8 & 15, None)
    return step


def _multiple(first: int, second: int, state: State, step: Step) -> Step:
    """LDM and STM."""
    base, writes_back, loads = first & 15, first & 0x20, first & 0x10
    if base == SP and writes_back:
        if loads:
            return _pop(state, second, step)
        state.push(4 * second.bit_count())
        return step
    if writes_back:
        state.set(base, None)
    if loads:
        for register in range(15):
            if second >> register & 1:
                state.set(register, None)
        if second >> PC & 1:
            return _leave(state, None, step)
    return step


def _double(first: int, second: int, state: State, step: Step) -> Step:
    """LDRD and STRD, exclusive accesses, table branches."""
    base = first & 15
    if first & 0xFFF0 == 0xE8D0 and second & 0xFFE0 == 0xF000:
        step.falls, step.indirect = False, Indirect.JUMP
        return step
    if first & 0x20:
        state.add(base, base, 4 * (second & 0xFF) * (1 if first & 0x80 else -1))
    if first & 0x10:
        state.set(second >> 12, None)
        state.set(second >> 8 & 15, None)
    return step


def _coprocessor(first: int, second: int, state: State, size: int) -> None:
    """Loads and stores of floating point registers and vectors that move their base."""
    if first & 0x20:
        state.add(first & 15, first & 15, size if first & 0x80 else -size)


def _single(memory: Memory, at: int, first: int, second: int, state: State, step: Step) -> Step:
    """Loads and stores of one register."""
    base, target = first & 15, second >> 12
    loads = first & 0x10
    value = None
    if base == PC and first & 0x60 == 0x40:
        distance = (second & 0xFFF) * (1 if first & 0x80 else -1)
        value = Value(Origin.ZERO, memory.word((at & ~3) + 4 + distance))
    elif base != PC and not first & 0x80 and second & 0x900 == 0x900:
        popped = loads and base == SP and second & 0x200
        state.add(base, base, (second & 0xFF) * (1 if second & 0x200 else -1))
        value = _RETURN if popped else None
    if not loads or (target == PC and first & 0x60 != 0x40):
        return step
    return _move(state, target, value, step)


def _immediate(first: int, second: int, state: State, step: Step) -> Step:
    """Data processing with a constant."""
    base, destination = first & 15, second >> 8 & 15
    plain = (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
    constant = plain if first & 0x200 else _expanded(plain)
    if first & 0xFBE0 == 0xF100 or first & 0xFBF0 == 0xF200:
        if destination != PC:
            state.add(destination, base, constant)
    elif first & 0xFBE0 == 0xF1A0 or first & 0xFBF0 == 0xF2A0:
        if destination != PC:
            state.add(destination, base, -constant)
    elif first & 0xFBF0 == 0xF240:
        state.set(destination, Value(Origin.ZERO, base << 12 | constant))
    elif first & 0xFBF0 == 0xF2C0:
        low = _constant(state, destination)
        whole = (low or 0) & 0xFFFF | (base << 12 | constant) << 16
        state.set(destination, None if low is None else Value(Origin.ZERO, whole))
    elif first & 0xFBEF == 0xF04F:
        state.set(destination, Value(Origin.ZERO, constant))
    elif destination != PC:
        state.set(destination, None)
    return step


def _expanded(imm12: int) -> int:
    """ThumbExpandImm."""
    byte = imm12 & 0xFF
    if imm12 >> 10 == 0:
        return (byte, byte * 0x00010001, byte * 0x01000100, byte * 0x01010101)[imm12 >> 8 & 3]
    turn = imm12 >> 7
    whole = 0x80 | imm12 & 0x7F
    return (whole >> turn | whole << (32 - turn)) & 0xFFFFFFFF
