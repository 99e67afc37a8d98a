"""How deep a function's stack gets, and how deep it is at each call, on every path through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from microtvm.stack import avr, riscv, thumb
from microtvm.stack.memory import Function, Memory
from microtvm.stack.step import Indirect, Origin, StackError, State, Step

_MOST_VISITS = 64
"""A loop that pushes comes by its head with a deeper stack each time."""

SWITCH_HELPERS = ("__gnu_thumb1_case_", "__tablejump")
"""How the names of functions of the compiler's library begin that jump by a table."""
CALL_HELPER = "__tablejump"
"""Of the one that is also called, to call what a table has."""


@dataclass(frozen=True)
class Site:
    """A call."""

    address: int
    depth: int
    """Bytes below the caller's own start when the callee starts."""
    target: int | None
    """None where it comes from a register."""


@dataclass
class Frame:
    """A function for itself."""

    function: Function
    own_bytes: int = 0
    sites: list[Site] = field(default_factory=list)
    returns: bool = False
    """Its caller may go on."""
    restarts: bool = False
    """It begins the stack anew: nothing of its callers' is used any more."""
    constants: set[int] = field(default_factory=set)
    """Functions whose addresses it makes without loading them."""


class Flow:
    """Frames of an image's functions, each looked at once."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._frames: dict[int, Frame] = {}
        self._pending: set[int] = set()
        self._decode: Callable[[Memory, int, State], Step]
        if memory.machine == "EM_ARM":
            self._decode, self._entry = thumb.decode, thumb.entry()
        elif memory.machine == "EM_RISCV":
            pointer = memory.symbols.get("__global_pointer$")
            self._decode, self._entry = riscv.decode, riscv.entry(pointer)
        elif memory.machine == "EM_AVR":
            self._decode, self._entry = avr.decode, avr.entry()
        else:
            raise StackError(f"instructions of {memory.machine} are not known")

    def frame(self, address: int) -> Frame:
        """Of the function that begins at an address. StackError if its frame is not constant."""
        if address not in self._frames:
            self._pending.add(address)
            try:
                self._frames[address] = _Walk(self, address).frame
            except StackError as error:
                name = self.memory.function(address).name
                if str(error).startswith("no bound"):
                    raise
                raise StackError(f"no bound on the stack: in {name}, {error}") from None
            finally:
                self._pending.discard(address)
        return self._frames[address]

    def returns(self, address: int) -> bool:
        """Whether a call of the function may return; yes while it is being looked at."""
        return address in self._pending or self.frame(address).returns

    def step(self, at: int, state: State) -> Step:
        """One instruction; `state` becomes what holds after it."""
        return self._decode(self.memory, at, state)

    def entry(self) -> State:
        """What holds where a function begins."""
        return self._entry.copy()


class _Walk:
    """All instructions that a function can reach, with what is known before each."""

    def __init__(self, flow: Flow, start: int) -> None:
        self._flow, self._memory = flow, flow.memory
        self.frame = Frame(flow.memory.function(start))
        self._before: dict[int, State] = {}
        self._visits: dict[int, int] = {}
        self._work: list[int] = []
        self._jumps: dict[int, State] = {}
        self._sites: dict[int, Site] = {}
        self._reach(start, flow.entry())
        self._run()
        self._switch()
        self.frame.sites = [self._sites[at] for at in sorted(self._sites)]

    def _reach(self, at: int, state: State) -> None:
        known = self._before.get(at)
        if known is not None:
            joined = known.joined(state)
            if joined == known:
                return
            self._visits[at] = self._visits.get(at, 0) + 1
            if self._visits[at] > _MOST_VISITS:
                raise StackError(f"the stack grows in a loop at 0x{at:x}")
            state = joined
        self._before[at] = state
        self._work.append(at)

    def _run(self) -> None:
        while self._work:
            at = self._work.pop()
            if self._memory.is_code(at):
                self._execute(at)

    def _execute(self, at: int) -> None:
        state = self._before[at].copy()
        step = self._flow.step(at, state)
        depth = state.depth
        self.frame.own_bytes = max(self.frame.own_bytes, depth)
        self.frame.returns |= step.returns
        self.frame.restarts |= step.restarts
        falls = step.falls
        if step.call is not None:
            falls = self._call(at, step.call, depth, state) and falls
        if step.indirect is Indirect.CALL:
            self._note(at, depth + self._memory.link_bytes, None)
        if step.indirect is Indirect.JUMP:
            self._jumps[at] = state
        for target in step.jumps:
            self._jump(at, target, depth, state)
        if step.call is not None or step.indirect is Indirect.CALL:
            state = self._after_call(state)
        for value in state.values.values():
            if value.origin is Origin.ZERO and self._memory.starts(value.amount & ~1):
                self.frame.constants.add(value.amount & ~1)
        if falls or step.skipped:
            self._reach(at + step.size, state)

    def _after_call(self, state: State) -> State:
        """Registers that the callee must keep are still known; here all that are copies of the
        stack pointer are such, and no other matters."""
        kept = {r: v for r, v in state.values.items() if v.origin is Origin.ENTRY}
        fixed = {r: v for r, v in self._flow.entry().values.items() if v.origin is Origin.ZERO}
        return State(state.sp, {**kept, **fixed}, state.conditional)

    def _note(self, at: int, depth: int, target: int | None) -> None:
        known = self._sites.get(at)
        depth = depth if known is None else max(depth, known.depth)
        self._sites[at] = Site(at, depth, target)

    def _call(self, at: int, target: int, depth: int, state: State) -> bool:
        """Whether it may return."""
        self._note(at, depth + self._memory.link_bytes, target)
        name = self._memory.function(target).name
        if name.startswith(CALL_HELPER):
            self._note(at, depth + self._memory.link_bytes, None)
            return True
        if name.startswith(SWITCH_HELPERS):
            self._jumps[at] = state
            return False
        return self._flow.returns(target)

    def _jump(self, at: int, target: int, depth: int, state: State) -> None:
        """Inside the function, or to another one in the last place."""
        own = self.frame.function
        if self._memory.function(target).name.startswith(SWITCH_HELPERS):
            self._note(at, depth, target)
            self._jumps[at] = self._before[at]
            return
        if own.start <= target < own.end or not self._memory.starts(target):
            self._reach(target, state)
            return
        self._note(at, depth, target)
        self.frame.returns |= self._flow.returns(target)

    def _switch(self) -> None:
        """Jumps to a register's value go to whatever of the function nothing else has reached;
        where there is no such code they are calls."""
        if not self._jumps:
            return
        states = list(self._jumps.values())
        joined = states[0]
        for state in states[1:]:
            joined = joined.joined(state)
        own, at, found = self.frame.function, self.frame.function.start, False
        while at < own.end:
            if at in self._before:
                at += self._flow.step(at, self._before[at].copy()).size
            elif not self._memory.is_code(at):
                at += 2
            else:
                found = True
                self._reach(at, joined)
                self._run()
        if not found and not own.name.startswith(SWITCH_HELPERS):
            for jump, state in self._jumps.items():
                self._note(jump, state.depth, None)
                self.frame.returns = True
