"""What an image executes, from QEMU's log of the registers before every single instruction.

Nothing is shared with the plugin: an activation is told by the return address and the stack pointer
that its first instruction finds, and the memory accesses by objdump's mnemonics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ARM_STATE = re.compile(r"(R00=.*?R13=(\w+) R14=(\w+) R15=(\w+))", re.DOTALL)
RISCV_STATE = re.compile(r" pc +(\w+)\n.*?( x1/ra +(\w+) x2/sp +(\w+).*?x31/t6 +\w+)", re.DOTALL)
LISTING = re.compile(r"^ *(\w+):\t[\w ]+\t(\S+)(?:\t([^<;@#\n]*))?", re.MULTILINE)
VECTOR_BYTES = ("vldrb.u8", "vstrb.8", "ldc", "stc")
"""Helium's loads and stores of bytes; objdump takes some for those of a coprocessor."""


@dataclass(frozen=True)
class Step:
    """The state before an instruction."""

    pc: int
    link: int
    stack: int


@dataclass(frozen=True)
class Counts:
    label: str
    instructions: int
    loads: int
    stores: int


@dataclass
class _Open:
    label: str
    link: int
    stack: int
    instructions: int = 0
    loads: int = 0
    stores: int = 0


def arm_steps(log: str) -> Iterator[Step]:
    last = ""
    for match in ARM_STATE.finditer(log):
        registers, stack, link, pc = match.groups()
        if registers != last:  # QEMU was called away before it executed what it had logged
            yield Step(int(pc, 16), int(link, 16), int(stack, 16))
        last = registers


def riscv_steps(log: str) -> Iterator[Step]:
    last = ("", "")
    for match in RISCV_STATE.finditer(log):
        pc, registers, link, stack = match.groups()
        if (pc, registers) != last:
            yield Step(int(pc, 16), int(link, 16), int(stack, 16))
        last = (pc, registers)


def listing(disassembly: str) -> dict[int, tuple[str, str]]:
    """Mnemonic and operands by address, from `objdump -d`."""
    found = {}
    for match in LISTING.finditer(disassembly):
        address, mnemonic, operands = match.groups()
        found[int(address, 16)] = (mnemonic.removesuffix(".n").removesuffix(".w"), operands or "")
    return found


def accesses(mnemonic: str, operands: str, link: int, pair: int) -> tuple[int, int]:
    """Loads and stores of an instruction; `pair` is how many accesses QEMU makes for two words."""
    if mnemonic in ("push", "pop") or mnemonic.startswith(("ldm", "stm")):
        count = _registers(operands)
    elif mnemonic in ("ldrd", "strd"):
        count = pair
    elif mnemonic in VECTOR_BYTES:
        count = min(16, link)  # tail predication: the elements left are in the link register
    else:
        count = 1
    if mnemonic in ("pop", "tbb") or mnemonic.startswith(("ldr", "ldm", "vldr", "ldc")):
        return count, 0
    if mnemonic == "push" or mnemonic.startswith(("str", "stm", "vstr", "stc")):
        return 0, count
    if mnemonic.startswith("amo"):
        return 1, 1
    if mnemonic.removeprefix("c.").removesuffix("sp") in ("lw", "lh", "lhu", "lb", "lbu", "lr"):
        return 1, 0
    if mnemonic.removeprefix("c.").removesuffix("sp") in ("sw", "sh", "sb", "sc"):
        return 0, 1
    return 0, 0


def activations(
    steps: Iterator[Step],
    code: dict[int, tuple[str, str]],
    entries: dict[int, str],
    pair: int,
) -> list[Counts]:
    """Completed activations of the functions at `entries`, in the order of their ends."""
    done = []
    stack: list[_Open] = []
    for step in steps:
        while stack and (stack[-1].link & ~1, stack[-1].stack) == (step.pc, step.stack):
            last = stack.pop()
            done.append(Counts(last.label, last.instructions, last.loads, last.stores))
        label = entries.get(step.pc)
        if label is not None:
            frame = (label, step.link, step.stack)
            if frame not in [(item.label, item.link, item.stack) for item in stack]:
                stack.append(_Open(*frame))
        loads, stores = accesses(*code.get(step.pc, ("", "")), step.link, pair)
        for item in stack:
            item.instructions += 1
            item.loads += loads
            item.stores += stores
    return done


def _registers(operands: str) -> int:
    inside = operands[operands.index("{") + 1 : operands.index("}")]
    names = {"sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
    count = 0
    for part in inside.split(","):
        ends = [names.get(name, 0) or int(name[1:]) for name in part.strip().split("-")]
        count += ends[-1] - ends[0] + 1
    return count
