"""Register tiles of the single precision FPU: sixteen accumulators, loads of many registers.

A pass takes products of up to PASS depths. VLDM loads the weights of one depth, and two depths of a
row, at once; a row has its own pointer. A product is VMUL and VADD, which take one cycle each on a
Cortex-M4, while VFMA takes three (Arm 100166, table 7-1); `fused` takes VFMA, which is one
instruction less, and rounds once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from microtvm.isa.product_schedule import Family
from microtvm.isa.product_tile import ProductTile, statement

REGISTERS = 32
PASS = 4
"""Depths in one pass, at most."""

TEMPORARIES = 4
"""Products on their way into an accumulator: a VADD right behind its VMUL would wait for it."""


@dataclass(frozen=True)
class FloatTile(ProductTile):
    """One text serves every layer."""

    fused: bool = False

    dtype: ClassVar[str] = "float32"
    acc_dtype: ClassVar[str] = "float32"
    portable: ClassVar[str] = "MTVM_TILE_FPU"
    longest: ClassVar[int] = PASS

    @property
    def fits(self) -> bool:
        """Whether the registers hold it, and its rows' pointers."""
        held = self.rows * self.columns + self.columns + 2 * self.rows
        return self.rows <= 6 and held + (0 if self.fused else TEMPORARIES) <= REGISTERS

    @property
    def name(self) -> str:
        kind = "vfma" if self.fused else "vmul"
        return f"mtvm_{kind}_{self.rows}x{self.columns}_by{self.unroll}"

    def body(self) -> list[str]:
        rows = range(self.rows)
        lines = [
            "    int32_t count;",
            f"    const int32_t passes = run / {self.unroll};",
            "    const int32_t skip = 4 * (x_run - run);",
        ]
        lines += self.row_pointers("float")
        outputs = ['[count] "=&r"(count)', '[w] "+r"(w)', '[runs] "+r"(runs)']
        outputs += [f'[x{r}] "+r"(x{r})' for r in rows]
        inputs = ['[passes] "r"(passes)', '[skip] "r"(skip)', '[acc] "r"(acc)']
        used = ", ".join(f'"s{n}"' for n in range(REGISTERS))
        return lines + statement(
            self._assembly(), outputs, inputs, f'"cc", "memory",\n          {used}'
        )

    def _assembly(self) -> list[str]:
        size = self.rows * self.columns
        # acc is not needed before the end, but zero is: count serves for it.
        lines = ["mov %[count], #0"]
        lines += [f"vmov s{n}, %[count]" for n in range(size)]
        lines += ["1:", "mov %[count], %[passes]", "2:"]
        for k in range(0, self.unroll, 2):
            lines += self._pair(min(2, self.unroll - k))
        lines += ["subs %[count], #1", "bne 2b"]
        lines += [f"add %[x{r}], %[skip]" for r in range(self.rows)]
        lines += ["subs %[runs], #1", "bne 1b"]
        return [*lines, f"vstm %[acc], {_span(0, size)}"]

    def _pair(self, depths: int) -> list[str]:
        size = self.rows * self.columns
        w = size
        x = w + self.columns
        t = x + 2 * self.rows
        lines = []
        for d in range(depths):
            lines.append(f"vldm %[w]!, {_span(w, self.columns)}")
            if d == 0:
                lines += [f"vldm %[x{r}]!, {_span(x + 2 * r, depths)}" for r in range(self.rows)]
            places = [(r, c) for r in range(self.rows) for c in range(self.columns)]
            if self.fused:
                lines += [
                    f"vfma.f32 s{r * self.columns + c}, s{x + 2 * r + d}, s{w + c}"
                    for r, c in places
                ]
                continue
            for first in range(0, size, TEMPORARIES):
                part = places[first : first + TEMPORARIES]
                lines += [
                    f"vmul.f32 s{t + n}, s{x + 2 * r + d}, s{w + c}"
                    for n, (r, c) in enumerate(part)
                ]
                lines += [
                    f"vadd.f32 s{first + n}, s{first + n}, s{t + n}" for n in range(len(part))
                ]
        return lines


def _span(first: int, count: int) -> str:
    """So many registers from s`first` on, as VLDM and VSTM take them."""
    return f"{{s{first}-s{first + count - 1}}}" if count > 1 else f"{{s{first}}}"


ACCUMULATORS = 16

FAMILY = Family(
    make=lambda rows, columns, run, runs, x_row, x_run, knobs: FloatTile(
        rows, columns, run, runs, x_row, x_run, bool(knobs["fused"])
    ),
    shapes=[
        (r, c)
        for r in range(1, 7)
        for c in range(1, ACCUMULATORS // r + 1)
        if FloatTile(r, c, 1, 1, 1, 1).fits
    ],
    dtype="float32",
    acc_dtype="float32",
    # In cycles: a multiplication, an addition, loads of several registers.
    product=2,
    row=1.5,
    column=1.25,
    call=5,
)

TEMPLATES = FAMILY.templates(
    "float",
    frozenset({"fpu-single", "mla"}),
    {"accumulators": (ACCUMULATORS, 8, 12), "fused": (False, True)},
)
