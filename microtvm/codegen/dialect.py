"""Where the C of one core has to differ from the C that is right on all others.

Plain C99 takes for granted here that constants are read as variables are and that an int has 32
bits. A core that has neither gets the same loop programs in a text that says both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microtvm.errors import ModelError
from microtvm.lower.kernel import Kernel
from microtvm.target import Cpu
from microtvm.tir.stmt import Program, statement_expressions, walk
from microtvm.tir.traversal import post_order


@dataclass(frozen=True)
class Dialect:
    """What the text of a kernel can't take for granted."""

    flash_reads: bool = False
    """Constants are in flash, which loads don't reach: they are read by macros."""
    short_int: bool = False
    """An int has 16 bits: what needs more says so."""
    short_double: bool = False
    """A double is no longer than a float: what needs one is refused."""
    largest_array: int = 0
    """Bytes of the longest array that the compiler takes; 0 for any length."""
    largest_constants: int = 0
    """Bytes of all constants together that the macros reach; 0 for any number."""

    @staticmethod
    def of(cpu: Cpu) -> Dialect:
        """The dialect of a core, by its features."""
        if not cpu.has("harvard"):
            return Dialect(short_int=cpu.has("int16"), short_double=cpu.has("double32"))
        return Dialect(
            flash_reads=True,
            short_int=cpu.has("int16"),
            short_double=cpu.has("double32"),
            largest_array=NEAR_ARRAY_BYTES,
            largest_constants=NEAR_BYTES,
        )


PLAIN = Dialect()
"""C99 for a core with one address space and an int of 32 bits."""

NEAR_BYTES = 0x10000 - 2048
"""What addresses of 16 bits reach, less the interrupt vectors and jumps that come first, and what
an Arduino core and the C library keep there."""

NEAR_ARRAY_BYTES = 0x7FFF
"""The longest object of a compiler whose ptrdiff_t has 16 bits."""


def check_dialect(dialect: Dialect, kernels: Sequence[Kernel], cpu: str) -> None:
    """ModelError if a kernel asks for what no text in the dialect gives."""
    total = 0
    seen: set[bytes] = set()
    for kernel in kernels:
        if dialect.short_double and _uses(kernel.program, "float64"):
            raise ModelError(
                f"operator {kernel.group.name} is rounded in double precision, "
                f"which C does not have on {cpu}",
                hint="choose another board, or quantise the model anew: "
                "it is a fully connected layer whose scales are unusual",
            )
        for buffer in kernel.constants:
            assert buffer.data is not None
            content = buffer.data.tobytes()
            if content in seen:
                continue
            seen.add(content)
            total += len(content)
            if dialect.largest_array and len(content) > dialect.largest_array:
                raise ModelError(
                    f"a constant of operator {kernel.group.name} has {len(content):,} bytes, "
                    f"on {cpu} an array has at most {dialect.largest_array:,}",
                    hint="choose another board, or a smaller model",
                )
    if dialect.largest_constants and total > dialect.largest_constants:
        raise ModelError(
            f"the model's constants take {total:,} bytes, of {cpu}'s flash its near reads reach "
            f"{dialect.largest_constants:,}",
            hint="choose another board, or a smaller model",
        )


def _uses(program: Program, dtype: str) -> bool:
    return any(
        node.dtype == dtype
        for stmt in walk(program.body)
        for root in statement_expressions(stmt)
        for node in post_order(root)
    )
