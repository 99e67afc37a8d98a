"""How many cycles instructions take: the table `timing` of a CPU's file.

A table is for estimates on a core that issues one instruction at a time, from memory without wait
states. Kinds of instructions that no table names take one cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.errors import BoardError
from microtvm.target.reader import Reader

MOST_CYCLES = 255
"""Of one entry: what the counting plugin has room for."""


@dataclass(frozen=True)
class Entry:
    """What an entry of a table means, and which CPUs need it."""

    meaning: str
    families: tuple[str, ...] = ("cortex-m",)
    feature: str = ""
    """Needed by CPUs that have it, unknown to others; empty for all of the families."""


BOTH = ("cortex-m", "riscv")
ENTRIES: Mapping[str, Entry] = {
    "multiply": Entry("a 32-bit product: MUL, and products of halves: SMUAD, SMMUL", BOTH),
    "multiply_add": Entry("a product and a sum: MLA, MLS, SMLAD, SMMLA", feature="mul-long"),
    "multiply_long": Entry("a 64-bit product, or its upper half: SMULL, MULH", BOTH, "mul-long"),
    "multiply_add_long": Entry("a 64-bit product and a sum: SMLAL, SMLALD", feature="mul-long"),
    "divide": Entry("a quotient or a remainder", BOTH, "divide"),
    "load": Entry("a load of one register; TBB and TBH, without the refill", BOTH),
    "store": Entry("a store of one register", BOTH),
    "store_register": Entry("a store whose address is the sum of two registers"),
    "pipelined": Entry(
        "saved by a load right after a load or store, and by a store_register right after a load, "
        "unless its address needs what was just loaded"
    ),
    "multiple": Entry(
        "LDM, STM, PUSH, POP, LDRD, STRD, VLDM, VLDR and the like, without their registers"
    ),
    "multiple_pc": Entry("one that loads pc, without its registers and the refill"),
    "register": Entry("added for each 32-bit register of a multiple"),
    "branch": Entry("a branch, not taken", BOTH),
    "call": Entry("BL, without the refill"),
    "jump": Entry("JAL, JALR and their compressed forms, in all", ("riscv",)),
    "refill": Entry("added when a branch is taken, or pc is written otherwise", BOTH),
    "loop_end": Entry("LE, LETP; taken, they need no refill", feature="mve"),
    "float": Entry("VADD, VMUL, VCVT, VMOV and other scalar floats", feature="fpu-single"),
    "float_multiply_add": Entry("VMLA, VFMA and their relatives", feature="fpu-single"),
    "float_divide": Entry("VDIV, VSQRT", feature="fpu-single"),
    "float_pair": Entry("VMOV between two core registers and the FPU", feature="fpu-single"),
    "vector_memory": Entry("a load or a store of a Helium vector", feature="mve"),
    "vector_integer": Entry("Helium's integers but for products", feature="mve"),
    "vector_multiply": Entry("Helium's products, sums across a vector, floats", feature="mve"),
    "vector_overlap": Entry(
        "saved by a Helium instruction right after one of another of these three pipes, the end of "
        "a hardware loop between them or not",
        feature="mve",
    ),
}
"""Every entry that a table may have. The counting plugin knows instructions by the same names
(`device/count/timing.c`)."""


@dataclass(frozen=True)
class Timing:
    """A CPU's table."""

    model: str
    """What the estimate is of, for people: the core, its source, what was taken of a range."""
    cycles: Mapping[str, int]
    """By the names of ENTRIES, all that the CPU needs."""


def read_timing(
    reader: Reader | None, family: str, features: frozenset[str]
) -> tuple[Timing | None, str]:
    """The table, or None and why there is none.

    The file says either `unknown`, the reason why the core has no table, or `model` and a number of
    cycles for every entry that a CPU of this family and these features needs. BoardError for
    entries that are missing, not known to the CPU, or out of range.
    """
    if reader is None:
        return None, "nobody has entered how long its instructions take"
    if reader.has("unknown"):
        reason = reader.text("unknown")
        reader.finish()
        return None, reason
    model = reader.text("model")
    cycles = {
        name: reader.whole(name, 0, MOST_CYCLES)
        for name, entry in ENTRIES.items()
        if family in entry.families and (not entry.feature or entry.feature in features)
    }
    if not cycles:
        raise BoardError(f"{reader.where('model')}: no cycles are estimated for {family}")
    reader.finish()
    return Timing(model, cycles), ""
