"""Register tiles of RV32IM: thirty-one registers hold sixteen accumulators.

A product is MUL and ADD. Columns' weights are loaded once for all rows of a tile; a row's element
is loaded before its products. Two products are on their way at a time, as a multiplication takes
some cycles on most cores. GCC schedules loads so early that it spills, therefore the tile is
assembly, with registers chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from microtvm.isa.product_schedule import Family
from microtvm.isa.product_tile import ProductTile, statement

MAX_OFFSET = 2047
"""The largest immediate of LB and ADDI."""

ACCUMULATORS = 16
PASS = 4
"""Products of each accumulator that one pass of the innermost loop holds, at most."""

REGISTERS = (
    *(f"s{n}" for n in range(12)),
    *(f"t{n}" for n in range(7)),
    *("a5", "a6", "a7", "ra"),
)
"""What the compiler's operands, the stack pointer, gp and tp leave."""

OPERANDS = 5


@dataclass(frozen=True)
class RiscvTile(ProductTile):
    """Of a single run the length is an operand, so that one text serves every depth."""

    dtype: ClassVar[str] = "int8"
    acc_dtype: ClassVar[str] = "int32"
    portable: ClassVar[str] = "MTVM_TILE_RV32M"

    @property
    def unroll(self) -> int:
        """Products of each accumulator in one pass, which `run` is a multiple of."""
        return max(u for u in range(1, PASS + 1) if self.run % u == 0)

    @property
    def _walks(self) -> bool:
        """Whether a run takes more than one pass."""
        return self.runs == 1 or self.unroll < self.run

    @property
    def fits(self) -> bool:
        """Whether all offsets can be encoded and the registers hold it."""
        x = (self.rows - 1) * self.x_row + self.unroll
        advance = self.x_run if self.runs > 1 else 0
        return (
            max(x, advance, self.unroll * self.columns) <= MAX_OFFSET
            and (self.runs == 1 or self.x_run >= self.run)
            and self.rows * self.columns + self.columns + 3 <= len(REGISTERS)
        )

    @property
    def name(self) -> str:
        tile = f"mtvm_mul_{self.rows}x{self.columns}"
        apart = f"_x{self.x_row}" if self.rows > 1 else ""
        if self.runs == 1:
            return f"{tile}_by{self.unroll}{apart}"
        return f"{tile}_n{self.runs}_{self.run}_{self.x_run}{apart}"

    @property
    def scalars(self) -> tuple[tuple[str, int], ...]:
        return (("run", self.run),) if self.runs == 1 else ()

    def body(self) -> list[str]:
        lines = []
        outputs = ['[x] "+r"(x)', '[w] "+r"(w)']
        inputs = ['[acc] "r"(acc)']
        if self._walks:
            lines.append(f"    const int8_t *x_end = x + {self.number('run')};")
            outputs.append('[x_end] "+r"(x_end)')
        if self.runs > 1:
            lines.append(f"    const int8_t *const w_end = w + {self.depth} * {self.columns};")
            inputs.append('[w_end] "r"(w_end)')
        return lines + statement(self._assembly(), outputs, inputs, self._clobbers())

    def _clobbers(self) -> str:
        used = [f'"{r}"' for r in REGISTERS[: self.rows * self.columns + self.columns + 3]]
        rows = [", ".join(used[k : k + 8]) for k in range(0, len(used), 8)]
        return '"memory", ' + ",\n          ".join(rows)

    def _assembly(self) -> list[str]:
        size = self.rows * self.columns
        accs = REGISTERS[:size]
        lines = [f"li {a}, 0" for a in accs]
        lines.append("1:")
        for k in range(self.unroll):
            lines += self._products(k)
        lines.append(f"addi %[w], %[w], {self.unroll * self.columns}")
        if self._walks:
            lines += [f"addi %[x], %[x], {self.unroll}", "bne %[x], %[x_end], 1b"]
        if self.runs > 1:
            if self._walks:
                lines.append(f"addi %[x_end], %[x_end], {self.x_run}")
            covered = self.run if self._walks else 0
            lines += [f"addi %[x], %[x], {self.x_run - covered}", "bne %[w], %[w_end], 1b"]
        return lines + [f"sw {a}, {4 * n}(%[acc])" for n, a in enumerate(accs)]

    def _products(self, k: int) -> list[str]:
        size, columns = self.rows * self.columns, self.columns
        w = REGISTERS[size : size + columns]
        x, *products = REGISTERS[size + columns : size + columns + 3]
        lines = [f"lb {w[c]}, {k * columns + c}(%[w])" for c in range(columns)]
        for r in range(self.rows):
            lines.append(f"lb {x}, {self._element(r, k)}")
            for first in range(0, columns, 2):
                part = range(first, min(first + 2, columns))
                lines += [f"mul {products[c - first]}, {x}, {w[c]}" for c in part]
                for c in part:
                    acc = REGISTERS[r * columns + c]
                    lines.append(f"add {acc}, {acc}, {products[c - first]}")
        return lines

    def _element(self, row: int, k: int) -> str:
        """Where a row's element of depth `k` of the pass is."""
        return f"{k + row * self.x_row}(%[x])"


@dataclass(frozen=True)
class RiscvSharedTile(RiscvTile):
    """All distances are operands, so that one text serves every layer: rows have pointers.

    These step one by one, and what is read once a pass or less waits on the stack: a pass of 4 x 4
    takes 167 instructions, not 163.
    """

    shared: ClassVar[bool] = True

    @property
    def fits(self) -> bool:
        """Whether the registers hold it, and the rows' pointers that the compiler keeps in them.

        That of one row and run needs none: all layers share it as it is.
        """
        pointers = self.rows + 1
        held = self.rows * self.columns + self.columns + 3
        return (
            self.rows * self.runs > 1
            and held <= len(REGISTERS)
            and held + pointers <= len(REGISTERS) + OPERANDS
        )

    @property
    def name(self) -> str:
        return f"mtvm_mul_{self.rows}x{self.columns}_by{self.unroll}_any"

    @property
    def scalars(self) -> tuple[tuple[str, int], ...]:
        names = ("x_row", "run", "runs", "x_run")
        return tuple((n, getattr(self, n)) for n in names)

    def body(self) -> list[str]:
        rows = range(self.rows)
        lines = [
            "    const int32_t skip = x_run - run;",
            "    const int8_t *x_end = x + run;",
            f"    const int8_t *const w_end = w + runs * run * {self.columns};",
        ]
        lines += [
            f"    const int8_t *x{r} = x + {r} * x_row;" if r else "    const int8_t *x0 = x;"
            for r in rows
        ]
        outputs = ['[w] "+r"(w)', '[x_end] "+m"(x_end)', *(f'[x{r}] "+r"(x{r})' for r in rows)]
        inputs = [f'[{n}] "m"({n})' for n in ("skip", "x_run", "w_end", "acc")]
        return lines + statement(self._assembly(), outputs, inputs, self._clobbers())

    def _assembly(self) -> list[str]:
        size = self.rows * self.columns
        accs = REGISTERS[:size]
        x = [f"%[x{r}]" for r in range(self.rows)]
        t0, t1 = REGISTERS[size : size + 2]
        lines = [*(f"li {a}, 0" for a in accs), "1:"]
        for k in range(self.unroll):
            lines += self._products(k)
        lines.append(f"addi %[w], %[w], {self.unroll * self.columns}")
        lines += [f"addi {p}, {p}, {self.unroll}" for p in x]
        lines += [f"lw {t0}, %[x_end]", f"bne {x[0]}, {t0}, 1b"]
        # On to the next run.
        lines += [f"lw {t1}, %[x_run]", f"add {t0}, {t0}, {t1}", f"sw {t0}, %[x_end]"]
        lines += [f"lw {t1}, %[skip]", *(f"add {p}, {p}, {t1}" for p in x)]
        lines += [f"lw {t0}, %[w_end]", f"bne %[w], {t0}, 1b", f"lw {t0}, %[acc]"]
        return lines + [f"sw {a}, {4 * n}({t0})" for n, a in enumerate(accs)]

    def _element(self, row: int, k: int) -> str:
        return f"{k}(%[x{row}])"


FAMILY = Family(
    make=lambda rows, columns, run, runs, x_row, x_run, knobs: RiscvTile(
        rows, columns, run, runs, x_row, x_run
    ),
    shared=lambda rows, columns, run, runs, x_row, x_run, knobs: RiscvSharedTile(
        rows, columns, run, runs, x_row, x_run
    ),
    shapes=[
        (r, c)
        for r in range(1, ACCUMULATORS + 1)
        for c in range(1, ACCUMULATORS // r + 1)
        if RiscvTile(r, c, 1, 1, 1, 1).fits
    ],
    dtype="int8",
    acc_dtype="int32",
    product=2,
    row=1,
    column=1,
    call=5,
)

TEMPLATES = FAMILY.templates("riscv", frozenset({"riscv-mul"}), {"accumulators": (16, 4, 8, 12)})
