"""Register tiles of RV32IM: thirty-one registers hold sixteen accumulators.

A product is MUL and ADD. Columns' weights are loaded once for all rows of a tile; a row's element
is loaded before its products. Two products are on their way at a time, as a multiplication takes
some cycles on most cores. GCC schedules loads so early that it spills, therefore the tile is
assembly, with registers chosen here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from microtvm.isa.product_schedule import Family, without_knobs
from microtvm.isa.product_tile import EncodedTile, ProductTile, statement

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
"""Of the compiler, at most."""


def _held(tile: ProductTile) -> int:
    """Registers for accumulators, a depth's weights, an element and two products."""
    return tile.rows * tile.columns + tile.columns + 3


def _clobbers(tile: ProductTile) -> str:
    used = [f'"{r}"' for r in REGISTERS[: _held(tile)]]
    rows = [", ".join(used[k : k + 8]) for k in range(0, len(used), 8)]
    return '"memory", ' + ",\n          ".join(rows)


def _zeros(tile: ProductTile) -> list[str]:
    return [f"li {a}, 0" for a in REGISTERS[: tile.rows * tile.columns]]


def _stores(tile: ProductTile, acc: str) -> list[str]:
    accs = REGISTERS[: tile.rows * tile.columns]
    return [f"sw {a}, {4 * n}({acc})" for n, a in enumerate(accs)]


def _pass(tile: ProductTile, element: Callable[[int, int], str]) -> list[str]:
    """The products of a pass, and the step of the weights; `element` is a row's of a depth."""
    size, columns = tile.rows * tile.columns, tile.columns
    w = REGISTERS[size : size + columns]
    x, *products = REGISTERS[size + columns : size + columns + 3]
    lines = []
    for k in range(tile.unroll):
        lines += [f"lb {w[c]}, {k * columns + c}(%[w])" for c in range(columns)]
        for r in range(tile.rows):
            lines.append(f"lb {x}, {element(r, k)}")
            for first in range(0, columns, 2):
                part = range(first, min(first + 2, columns))
                lines += [f"mul {products[c - first]}, {x}, {w[c]}" for c in part]
                for c in part:
                    acc = REGISTERS[r * columns + c]
                    lines.append(f"add {acc}, {acc}, {products[c - first]}")
    return [*lines, f"addi %[w], %[w], {tile.unroll * columns}"]


@dataclass(frozen=True)
class RiscvTile(EncodedTile):
    """One pointer serves all rows."""

    dtype: ClassVar[str] = "int8"
    acc_dtype: ClassVar[str] = "int32"
    portable: ClassVar[str] = "MTVM_TILE_RV32M"
    longest: ClassVar[int] = PASS
    instruction: ClassVar[str] = "mul"

    @property
    def fits(self) -> bool:
        """Whether all offsets can be encoded and the registers hold it."""
        x = (self.rows - 1) * self.x_row + self.unroll
        advance = self.x_run if self.runs > 1 else 0
        return (
            max(x, advance, self.unroll * self.columns) <= MAX_OFFSET
            and (self.runs == 1 or self.x_run >= self.run)
            and _held(self) <= len(REGISTERS)
        )

    def body(self) -> list[str]:
        lines = []
        outputs = ['[x] "+r"(x)', '[w] "+r"(w)']
        inputs = ['[acc] "r"(acc)']
        if self.walks:
            lines.append(f"    const int8_t *x_end = x + {self.number('run')};")
            outputs.append('[x_end] "+r"(x_end)')
        if self.runs > 1:
            lines.append(f"    const int8_t *const w_end = w + {self.depth} * {self.columns};")
            inputs.append('[w_end] "r"(w_end)')
        return lines + statement(self._assembly(), outputs, inputs, _clobbers(self))

    def _assembly(self) -> list[str]:
        lines = [*_zeros(self), "1:"]
        lines += _pass(self, lambda r, k: f"{k + r * self.x_row}(%[x])")
        if self.walks:
            lines += [f"addi %[x], %[x], {self.unroll}", "bne %[x], %[x_end], 1b"]
        if self.runs > 1:
            if self.walks:
                lines.append(f"addi %[x_end], %[x_end], {self.x_run}")
            covered = self.run if self.walks else 0
            lines += [f"addi %[x], %[x], {self.x_run - covered}", "bne %[w], %[w_end], 1b"]
        return lines + _stores(self, "%[acc]")


@dataclass(frozen=True)
class RiscvSharedTile(ProductTile):
    """One text serves every layer: each row has a pointer.

    These step one by one, and what is read once a pass or less waits on the stack: a pass of 4 x 4
    takes 167 instructions, not 163.
    """

    dtype: ClassVar[str] = "int8"
    acc_dtype: ClassVar[str] = "int32"
    portable: ClassVar[str] = "MTVM_TILE_RV32M"
    longest: ClassVar[int] = PASS
    shared: ClassVar[bool] = True

    @property
    def fits(self) -> bool:
        """Whether the registers hold it, and the rows' pointers that the compiler keeps in them.

        That of one row and run needs none: all layers share it as it is.
        """
        held = _held(self)
        return (
            self.rows * self.runs > 1
            and held <= len(REGISTERS)
            and held + self.rows + 1 <= len(REGISTERS) + OPERANDS
        )

    @property
    def name(self) -> str:
        return f"mtvm_mul_{self.rows}x{self.columns}_by{self.unroll}_any"

    def body(self) -> list[str]:
        lines = [
            "    const int32_t skip = x_run - run;",
            "    const int8_t *x_end = x + run;",
            f"    const int8_t *const w_end = w + runs * run * {self.columns};",
            *self.row_pointers("int8_t"),
        ]
        outputs = ['[w] "+r"(w)', '[x_end] "+m"(x_end)']
        outputs += [f'[x{r}] "+r"(x{r})' for r in range(self.rows)]
        inputs = [f'[{n}] "m"({n})' for n in ("skip", "x_run", "w_end", "acc")]
        return lines + statement(self._assembly(), outputs, inputs, _clobbers(self))

    def _assembly(self) -> list[str]:
        x = [f"%[x{r}]" for r in range(self.rows)]
        t0, t1 = REGISTERS[self.rows * self.columns :][:2]
        lines = [*_zeros(self), "1:"]
        lines += _pass(self, lambda r, k: f"{k}({x[r]})")
        lines += [f"addi {p}, {p}, {self.unroll}" for p in x]
        lines += [f"lw {t0}, %[x_end]", f"bne {x[0]}, {t0}, 1b"]
        # On to the next run.
        lines += [f"lw {t1}, %[x_run]", f"add {t0}, {t0}, {t1}", f"sw {t0}, %[x_end]"]
        lines += [f"lw {t1}, %[skip]", *(f"add {p}, {p}, {t1}" for p in x)]
        lines += [f"lw {t0}, %[w_end]", f"bne %[w], {t0}, 1b", f"lw {t0}, %[acc]"]
        return lines + _stores(self, t0)


FAMILY = Family(
    make=without_knobs(RiscvTile),
    shared=without_knobs(RiscvSharedTile),
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
