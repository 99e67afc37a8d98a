"""Register tiles of Thumb-1, Cortex-M0: sums wait in the high registers.

Eight registers take part in all instructions; the others can be added to. LDRSB takes its offset
from a register, MULS overwrites a factor. Two rows by two columns therefore load four elements and
copy one for four products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from microtvm.isa.product_schedule import Family, without_knobs
from microtvm.isa.product_tile import ProductTile, statement

PASS = 8
"""Depths in one pass of the innermost loop, at most."""

SHARED_PASS = 4
"""The same where layers share their tile: most channels are multiples of it."""

REACH = 240
"""Bytes that a pass may have: a conditional branch reaches 256 back."""

HIGH = ("r8", "r9", "r10", "r11")
"""Where the sums are; r12 and lr have the ends of the loops."""

SHAPES = ((2, 2), (1, 4), (1, 2))


@dataclass(frozen=True)
class Thumb1Tile(ProductTile):
    """All distances are operands: one text serves every layer."""

    dtype: ClassVar[str] = "int8"
    acc_dtype: ClassVar[str] = "int32"
    portable: ClassVar[str] = "MTVM_TILE_THUMB1"
    longest: ClassVar[int] = PASS

    @property
    def unroll(self) -> int:
        """Depths in one pass, which `run` is a multiple of."""
        most = min(REACH // (2 * len(self._depth(step=True))), self.longest)
        return max(u for u in range(1, most + 1) if self.run % u == 0)

    @property
    def fits(self) -> bool:
        """Any of the shapes does, whatever its distances."""
        return (self.rows, self.columns) in SHAPES

    @property
    def name(self) -> str:
        once = "" if self._walks else "_once"
        return f"mtvm_muls_{self.rows}x{self.columns}_by{self.unroll}{once}"

    @property
    def _walks(self) -> bool:
        """Whether a run takes more than one pass."""
        return self.unroll < self.run

    def body(self) -> list[str]:
        lines = [
            "    uint32_t zero, one, row, t0, t1, t2;",
            f"    const int8_t *const w_end = w + runs * run * {self.columns};",
            f"    const int32_t skip = x_run - {'run' if self._walks else str(self.unroll - 1)};",
        ]
        outputs = ['[x] "+l"(x)', '[w] "+l"(w)']
        outputs += [f'[{t}] "=&l"({t})' for t in ("zero", "one", "row", "t0", "t1", "t2")]
        inputs = [f'[{n}] "m"({n})' for n in ("x_row", "run", "skip", "w_end", "acc")]
        clobbers = '"cc", "memory", "r8", "r9", "r10", "r11", "r12", "lr"'
        return lines + statement(self._assembly(), outputs, inputs, clobbers)

    def _assembly(self) -> list[str]:
        accs = HIGH[: self.rows * self.columns]
        # For Thumb-1 GCC has inline assembly in the older syntax.
        lines = [".syntax unified", "movs %[zero], #0", "movs %[one], #1", "ldr %[row], %[x_row]"]
        lines += [f"mov {a}, %[zero]" for a in accs]
        lines += ["ldr %[t0], %[w_end]", "mov lr, %[t0]"]
        # A run: x goes to its end, then to the next one's begin.
        lines.append("1:")
        if self._walks:
            lines += ["ldr %[t0], %[run]", "add %[t0], %[x]", "mov r12, %[t0]", "2:"]
        for k in range(self.unroll):
            lines += self._depth(step=self._walks or k < self.unroll - 1)
        if self._walks:
            lines += ["cmp %[x], r12", "bne 2b"]
        lines += ["ldr %[t0], %[skip]", "adds %[x], %[x], %[t0]", "cmp %[w], lr"]
        # From here a conditional branch may not reach.
        lines += ["beq 3f", "b 1b", "3:"] if self._walks else ["bne 1b"]
        lines.append("ldr %[t0], %[acc]")
        for n, a in enumerate(accs):
            lines += [f"mov %[t1], {a}", f"str %[t1], [%[t0], #{4 * n}]"]
        return lines

    def _depth(self, *, step: bool) -> list[str]:
        """The products of one depth, and the step to the next."""
        onwards = ["adds %[x], #1"] if step else []
        if self.rows == 1:
            lines = ["ldrsb %[t0], [%[x], %[zero]]", *onwards]
            for c in range(0, self.columns, 2):
                lines += ["ldrsb %[t1], [%[w], %[zero]]", "ldrsb %[t2], [%[w], %[one]]"]
                lines += ["muls %[t1], %[t0]", f"add {HIGH[c]}, %[t1]"]
                lines += ["muls %[t2], %[t0]", f"add {HIGH[c + 1]}, %[t2]", "adds %[w], #2"]
            return lines
        return [
            "ldrsb %[t0], [%[x], %[zero]]",
            "ldrsb %[t1], [%[w], %[zero]]",
            "movs %[t2], %[t1]",
            "muls %[t2], %[t0]",
            "add r8, %[t2]",
            "ldrsb %[t2], [%[w], %[one]]",
            "muls %[t0], %[t2]",
            "add r9, %[t0]",
            "ldrsb %[t0], [%[x], %[row]]",
            "muls %[t1], %[t0]",
            "add r10, %[t1]",
            "muls %[t2], %[t0]",
            "add r11, %[t2]",
            *onwards,
            "adds %[w], #2",
        ]


@dataclass(frozen=True)
class Thumb1SharedTile(Thumb1Tile):
    """Passes are short, so that more runs are multiples of them, and always walk a loop."""

    shared: ClassVar[bool] = True
    longest: ClassVar[int] = SHARED_PASS

    @property
    def _walks(self) -> bool:
        return True


FAMILY = Family(
    make=without_knobs(Thumb1Tile),
    shared=without_knobs(Thumb1SharedTile),
    shapes=SHAPES,
    dtype="int8",
    acc_dtype="int32",
    product=2.25,
    row=1.5,
    column=1.5,
    call=8,
)

TEMPLATES = FAMILY.templates("thumb1", frozenset({"thumb1"}), {"accumulators": (4, 2)})
