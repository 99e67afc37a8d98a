"""A bound on the stack of an image: its deepest path of calls, and an interrupt at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from microtvm.stack.flow import Flow, Site
from microtvm.stack.indirect import RUNTIME, SYMBOLS, Member, Members
from microtvm.stack.memory import Memory
from microtvm.stack.source import Source
from microtvm.stack.step import StackError

_VECTORS = ".vectors"
_FRAME_BYTES, _FLOAT_FRAME_BYTES = 32, 104
_ALIGNMENT_BYTES = 4
"""What an exception pushes on an M-profile core, without and with the FPU's registers, and what it
may leave free for an alignment of 8 (Armv7-M ARM B1.5.7)."""


@dataclass(frozen=True)
class Level:
    """A function of the deepest path."""

    function: str
    bytes: int
    """What it has on the stack when the next one starts; all of its own for the last one."""


@dataclass(frozen=True)
class StackBound:
    """The most that an image can have on its stack; faults, whose handlers don't return, apart."""

    path: tuple[Level, ...]
    """From the first instruction to the deepest function, an interrupt's at the end."""

    @property
    def total(self) -> int:
        """Bytes."""
        return _total(self.path)

    def __str__(self) -> str:
        return " > ".join(f"{level.function} {level.bytes:,}" for level in self.path)


def stack_bound(
    elf: Path,
    *,
    floats: bool = False,
    entry: str = "",
    members: Members = RUNTIME,
) -> StackBound:
    """The bound of a linked image from its entry, or from the function `entry`.

    `floats` says that the core has an FPU, whose registers an interrupt keeps; `members` where
    calls through pointers get their targets, see `indirect`. StackError for recursion, a frame
    whose size is not constant, instructions that are not known.
    """
    memory = Memory(elf)
    source = Source(elf, memory)
    try:
        return _Bound(memory, source, members).of_image(entry, floats=floats)
    finally:
        source.close()


class _Bound:
    """The deepest path from every function."""

    def __init__(self, memory: Memory, source: Source, members: Members) -> None:
        self._memory, self._source, self._members = memory, source, members
        self._flow = Flow(memory)
        self._paths: dict[int, tuple[Level, ...]] = {}
        self._callers: list[int] = []
        self._taken: set[int] | None = None

    def of_image(self, entry: str, *, floats: bool) -> StackBound:
        start = self._memory.symbols.get(entry, 0) if entry else self._memory.entry
        path = self._path(start & ~self._memory.thumb)
        interrupts = [self._path(handler) for handler in self._handlers()]
        if interrupts:
            pushed = (_FLOAT_FRAME_BYTES if floats else _FRAME_BYTES) + _ALIGNMENT_BYTES
            pushed = self._memory.link_bytes or pushed
            path = (*path, Level("interrupt", pushed), *max(interrupts, key=_total))
        return StackBound(tuple(level for level in path if level.bytes))

    def _handlers(self) -> set[int]:
        """Handlers in the table of vectors that return; all have one priority, none interrupts.

        One that begins the stack anew never comes back to what it interrupted."""
        if self._memory.machine == "EM_AVR":
            frames = {at: self._flow.frame(at) for at in self._memory.functions(r"__vector_\d+")}
            return {at for at, frame in frames.items() if frame.returns and not frame.restarts}
        if self._memory.machine != "EM_ARM":
            return set()
        found = set()
        for block in self._memory.blocks:
            if block.name == _VECTORS:
                words = range(block.start + 4, block.start + len(block.data) - 3, 4)
                found |= {self._memory.word(at) & ~1 for at in words}
        return {at for at in found - {0} if self._flow.frame(at).returns}

    def _path(self, address: int) -> tuple[Level, ...]:
        if address in self._paths:
            return self._paths[address]
        name = shown_name(self._memory.function(address).name)
        if address in self._callers:
            names = [shown_name(self._memory.function(at).name) for at in self._callers]
            circle = " -> ".join([*names[self._callers.index(address) :], name])
            raise StackError(f"no bound on the stack: {circle} is recursive")
        self._callers.append(address)
        frame = self._flow.frame(address)
        best: tuple[Level, ...] = (Level(name, frame.own_bytes),)
        for site in frame.sites:
            for target in self._targets(site):
                if self._begins_anew(address, target):
                    continue
                path = (Level(name, site.depth), *self._path(target))
                if _total(path) > _total(best):
                    best = path
        self._callers.pop()
        self._paths[address] = best
        return best

    def _begins_anew(self, caller: int, target: int) -> bool:
        """Whether a call leaves the stack behind: a reset, also by a weak function that is nowhere.
        The image's first instruction may lead to what makes the stack."""
        start = self._memory.entry
        return target == start or (self._flow.frame(target).restarts and caller != start)

    def _targets(self, site: Site) -> set[int]:
        if site.target is not None:
            return {site.target}
        caller = self._source.function(site.address)
        own = self._memory.function(site.address).start
        for key, members in self._members.items():
            if self._is(key, caller, own):
                found = [self._source.pointers(*member) for member in members]
                if all(complete for _, complete in found):
                    return set().union(*(targets for targets, _ in found))
        return self._by_symbol(own) if not caller else self._address_taken()

    def _by_symbol(self, own: int) -> set[int]:
        """Of a function of which only the name is known."""
        name = plain_name(self._memory.function(own).name)
        found = [targets for caller, targets in SYMBOLS if re.fullmatch(caller, name)]
        if not found:
            return self._address_taken()
        known = (self._memory.pointers_of(rf"(_ZL?\d+)?{p}(\.\S+)?") for p in found)
        return set().union(*known)

    def _is(self, key: str | Member, caller: str, own: int) -> bool:
        """Whether a function, by its name and its address, is the one that a key means."""
        if isinstance(key, str):
            return re.fullmatch(key, caller) is not None
        return own in self._source.pointers(*key)[0]

    def _address_taken(self) -> set[int]:
        """Every function that a call through an unknown pointer may reach."""
        if self._taken is None:
            found, reached, pending = self._memory.pointers(), set(), [self._memory.entry]
            while pending:
                at = pending.pop()
                if at in reached:
                    continue
                reached.add(at)
                frame = self._flow.frame(at)
                found |= frame.constants
                pending += [s.target for s in frame.sites if s.target is not None]
                pending += found - reached
            self._taken = {at for at in found if not self._flow.frame(at).restarts}
        return self._taken


def plain_name(symbol: str) -> str:
    """A symbol without what the compiler appends to it, and without the mangling of a function of
    its file."""
    name = symbol.split(".")[0]
    mangled = re.fullmatch(r"_ZL(\d+)(.*)", name)
    return mangled[2][: int(mangled[1])] if mangled else name


_START_OF_AVR = ("__ctors_end", "__dtors_end", "__trampolines_end", "__init")
"""What labels of the same address avr-gcc's start-up code has, of which any may be found."""
_SCOPE = re.compile(r"_ZNK?(?=\d)")
_SPECIAL = {"C1": "{0}", "C2": "{0}", "D0": "~{0}", "D1": "~{0}", "D2": "~{0}"}
"""Constructors and destructors, which have their class's name."""


def shown_name(symbol: str) -> str:
    """A function's name for people: without suffixes, and of C++ its scope and name without the
    parameters. What is mangled in a way not known here, such as operators, stays as it is.

    https://itanium-cxx-abi.github.io/cxx-abi/abi.html#mangling
    """
    name = plain_name(symbol)
    if name in _START_OF_AVR:
        return "start"
    scope = _SCOPE.match(name)
    if scope is None:
        function = re.match(r"_Z(\d+)", name)
        return name[function.end() :][: int(function[1])] if function else name
    parts, rest = [], name[scope.end() :]
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        parts.append(rest[length.end() : end])
        rest = rest[end:]
    if rest[:2] in _SPECIAL:
        parts.append(_SPECIAL[rest[:2]].format(parts[-1]))
        rest = rest[2:]
    return "::".join(parts) if rest.startswith("E") else name


def _total(path: tuple[Level, ...]) -> int:
    return sum(level.bytes for level in path)
