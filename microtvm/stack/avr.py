"""AVR instructions as far as they matter to the stack.

AVR Instruction Set Manual (DS40002198). Half a 16-bit value is a register's; what is known of both
halves is kept with each, so that either may be looked at.
"""

from __future__ import annotations

from microtvm.stack.memory import Memory
from microtvm.stack.step import Indirect, Origin, State, Step, Value

SP = 32
_SPL, _SPH = 0x3D, 0x3E
_ZERO = 1
"""The register that is zero by the compiler's convention."""


def entry() -> State:
    """What a function may rely on."""
    return State(SP, {SP: Value(Origin.ENTRY)})


def decode(memory: Memory, at: int, state: State) -> Step:
    """The instruction at `at`; `state` becomes the one after it."""
    skipped, state.conditional = state.conditional, 0
    before = state.copy()
    op = memory.half(at)
    step = _decode(memory, at, op, state)
    if skipped:
        state.values = (state.joined(before) if step.falls else before).values
        step.falls = step.skipped = True
    return step


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _decode(memory: Memory, at: int, op: int, state: State) -> Step:
    step = Step(2)
    high, low = op >> 4 & 31, op >> 5 & 16 | op & 15
    if op & 0xFE0C == 0x940C:
        step.size = 4
        target = 2 * ((op & 0x1F0) << 13 | (op & 1) << 16 | memory.half(at + 2))
        if op & 2:
            step.call = target
        else:
            step.jumps, step.falls = (target,), False
    elif op & 0xE000 == 0xC000:
        return _relative(memory, at, op, state, step)
    elif op & 0xF800 == 0xF000:
        step.jumps = (at + 2 + 2 * _signed(op >> 3 & 0x7F, 7),)
    elif op & 0xFC00 == 0x1000 or op & 0xFC08 == 0xFC00 or op & 0xFD00 == 0x9900:
        state.conditional = 1
    elif op in {0x9508, 0x9518}:
        step.falls, step.returns = False, True
    elif op & 0xFFEF == 0x9409:
        step.falls, step.indirect = False, Indirect.JUMP
    elif op & 0xFFEF == 0x9509:
        step.indirect = Indirect.CALL
    elif op & 0xFE0F == 0x920F:
        state.push(1)
    elif op & 0xFE0F == 0x900F:
        state.push(-1)
        state.set(high, None)
    elif op & 0xF000 == 0xB000:
        return _port(op, high, state, step)
    elif op & 0xFE00 == 0x9600:
        _add_word(op, state)
    elif op & 0xFF00 == 0x0100:
        for half in (0, 1):
            value = state.values.get(2 * (op & 15) + half)
            state.set(2 * (op >> 4 & 15) + half, value)
    elif op & 0xFC00 == 0x2C00:
        state.set(high, state.values.get(low))
    elif op & 0xF000 == 0xE000:
        # Only start-up code makes a stack pointer of constants.
        state.set(16 + (op >> 4 & 15), Value(Origin.ZERO, op >> 4 & 0xF0 | op & 15))
    elif op & 0xE000 == 0x4000:
        _subtract(op, state)
    elif op & 0xFC00 == 0x0800 and low == _ZERO:
        _carried(high, 0, state)
    else:
        _other(op, high, state, step)
    return step


def _relative(memory: Memory, at: int, op: int, state: State, step: Step) -> Step:
    """RJMP and RCALL, whose reach wraps around a small flash. A call of what follows it makes room
    for a return address."""
    target = at + 2 + 2 * _signed(op & 0xFFF, 12)
    if op & 0x1000 == 0:
        step.jumps, step.falls = (target,), False
    elif target == at + 2:
        state.push(memory.link_bytes)
    else:
        step.call = target
    return step


def _port(op: int, register: int, state: State, step: Step) -> Step:
    """IN and OUT, of which the stack pointer's halves matter."""
    port = op >> 5 & 0x30 | op & 15
    if op & 0x800 == 0:
        state.set(register, state.values.get(SP) if port in {_SPL, _SPH} else None)
    elif port == _SPL:
        value = state.values.get(register)
        if value is not None and value.origin is Origin.ZERO:
            step.restarts, value = True, Value(Origin.ENTRY)
        elif value is not None and value.amount >= 1 << 15:
            value = Value(Origin.ENTRY, value.amount - (1 << 16))
        state.set(SP, value)
    elif port == _SPH:
        pass  # the lower half, which the compiler writes last, has the whole value
    return step


def _add_word(op: int, state: State) -> None:
    """ADIW and SBIW."""
    pair = 24 + 2 * (op >> 4 & 3)
    amount = op >> 2 & 0x30 | op & 15
    state.add(pair, pair, -amount if op & 0x100 else amount)
    state.set(pair + 1, state.values.get(pair))


def _subtract(op: int, state: State) -> None:
    """SBCI and SUBI; of a frame pointer the lower half comes first."""
    register, number = 16 + (op >> 4 & 15), op >> 4 & 0xF0 | op & 15
    if op & 0x1000:
        state.add(register, register, -number)
    else:
        _carried(register, number, state)


def _carried(register: int, number: int, state: State) -> None:
    """The upper half of a subtraction."""
    low = state.values.get(register - 1) if register % 2 else None
    value = None if low is None else low.plus(-(number << 8))
    if value is None or value.origin is not Origin.ENTRY:
        state.set(register, None)
        return
    if value.amount >= 1 << 15:
        value = Value(Origin.ENTRY, value.amount - (1 << 16))
    state.set(register - 1, value)
    state.set(register, value)


def _other(op: int, register: int, state: State, step: Step) -> None:
    """The rest: which registers they write."""
    if op & 0xFC0F == 0x9000:
        step.size = 4  # LDS and STS
        if not op & 0x200:
            state.set(register, None)
    elif op & 0xFC00 in {0x0400, 0x1400} or op & 0xF000 == 0x3000 or op & 0xFF00 == 0x9800:
        pass  # compares and single bits
    elif op & 0xFE00 == 0x9200 or op & 0xD200 == 0x8200:
        if op & 3 in {1, 2} and op & 0x1000:
            _moved(op, state)  # stores
    elif op & 0xFE00 == 0x9000 or op & 0xD200 == 0x8000:
        state.set(register, None)
        if op & 3 in {1, 2} and op & 0x1000:
            _moved(op, state)
    elif op & 0xFC00 == 0x9C00 or op & 0xFE00 == 0x0200:
        state.set(0, None)
        state.set(1, None)
    elif op & 0xFF8F not in {0x9408, 0x9488} and op & 0xFF0F != 0x9508:
        # LPM and SPM without operands write r0, which nothing is known of.
        target = 16 + (op >> 4 & 15) if op & 0xC000 == 0x4000 else register
        state.set(target, None)


def _moved(op: int, state: State) -> None:
    """A pointer that a load or store moves: X, Y or Z."""
    pair = {0xC: 26, 0x8: 28, 0x0: 30}.get(op & 0xC, 30)
    for register in (pair, pair + 1):
        state.set(register, None)
