"""Register tiles of the Armv7E-M DSP extension: SMLAD takes two products of 16 bits in one cycle.

A tile is `rows` x `columns` accumulators. Operands are read four products (a group) at a time, as
two words of two halfwords: the even and the odd elements of the group, in the order in which SXTB16
unpacks four bytes. Data is int16; weights are int16, or int8 that the tile unpacks itself.

GCC never keeps loads together: it sinks each to its first use, where it stalls (Arm 100166, table
3-1: N loads in a row take N + 1 cycles). Therefore the tile is assembly. It needs all 14 registers
that Thumb code has; the loop's limit waits in a floating point register, or on the stack where
there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.errors import ScheduleError
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.tensor import Tensor, compute, placeholder, reduce_axis
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import Expr

GROUP = 4
"""Products that one pair of words holds."""

MAX_OFFSET = 4095
"""The largest immediate offset of LDR, in bytes."""


@dataclass(frozen=True)
class Tile:
    """What a tile reads, and how its operands lie in memory; distances are in bytes.

    `groups`: groups of four products. `x_row`, `x_half`, `x_group`: between rows, between the two
    words of a group, between groups; `w_column`, `w_half`, `w_group` likewise. For int8 weights a
    group is one word.
    """

    rows: int
    columns: int
    groups: int
    x_row: int
    x_half: int
    x_group: int
    w_column: int
    w_half: int
    w_group: int
    wide_weights: bool
    outer: int = 1
    """The groups as the schedule counts them: `outer` runs that follow each other."""
    counted: bool = False
    """The number of groups is an operand, so that one text serves every depth."""
    fresh: bool = False
    """The tile is the whole sum: it overwrites the accumulators."""

    @property
    def unroll(self) -> int:
        """Groups in one pass of the loop: as many as divide, up to three."""
        if self.groups <= 3 and not self.counted:
            return self.groups
        return max(u for u in (1, 2, 3) if self.groups % u == 0)

    @property
    def fits(self) -> bool:
        """Whether all offsets can be encoded and the accumulators held."""
        span = self.unroll - 1
        x = (self.rows - 1) * self.x_row + self.x_half + span * self.x_group
        w = (self.columns - 1) * self.w_column + self.w_half + span * self.w_group
        return max(x, w) <= MAX_OFFSET and self.rows * self.columns <= 8

    def assembly(self) -> list[str]:
        """The instructions, on accumulators a<r><c>, pointers x and w, scratch t0 and on, limit."""
        lines: list[str] = []
        if self._loops:
            lines.append("1:")
        for u in range(self.unroll):
            if self.rows == 1:
                lines += self._row_products(u)
                continue
            for half in range(2):
                lines += self._products(u, half)
        if self._loops:
            lines.append(f"add %[x], #{self.x_group * self.unroll}")
            lines.append(f"add %[w], #{self.w_group * self.unroll}")
            lines += ["MOVE %[t0], %[limit]", "cmp %[x], %[t0]", "bne 1b"]
        return lines

    @property
    def _loops(self) -> bool:
        return self.counted or self.groups > self.unroll

    def _products(self, u: int, half: int) -> list[str]:
        lines = []
        rotate = ", ror #8" if half else ""
        w = [f"t{c}" for c in range(self.columns)]
        x = [f"t{k}" for k in range(self.columns, 4)]
        w_half = half * self.w_half if self.wide_weights else 0
        for c in range(self.columns):
            offset = u * self.w_group + c * self.w_column + w_half
            lines.append(f"ldr %[{w[c]}], [%[w], #{offset}]")
        first = True
        for begin in range(0, self.rows, len(x)):
            rows = range(begin, min(begin + len(x), self.rows))
            for r in rows:
                offset = u * self.x_group + half * self.x_half + r * self.x_row
                lines.append(f"ldr %[{x[r - begin]}], [%[x], #{offset}]")
            if first and not self.wide_weights:
                lines += [f"sxtb16 %[{t}], %[{t}]{rotate}" for t in w]
            first = False
            for r in rows:
                for c in range(self.columns):
                    acc = f"%[a{r}{c}]"
                    lines.append(f"smlad {acc}, %[{x[r - begin]}], %[{w[c]}], {acc}")
        return lines

    @property
    def temporaries(self) -> int:
        """Registers that the accumulators and the two pointers leave."""
        return 4 if self.rows > 1 else self.columns + 3

    def _row_products(self, u: int) -> list[str]:
        """One row by int8 columns: both halves of the row stay while the columns are unpacked."""
        even, odd, half = "t0", "t1", "t2"
        w = [f"t{3 + c}" for c in range(self.columns)]
        lines = [
            f"ldr %[{even}], [%[x], #{u * self.x_group}]",
            f"ldr %[{odd}], [%[x], #{u * self.x_group + self.x_half}]",
        ]
        for c in range(self.columns):
            lines.append(f"ldr %[{w[c]}], [%[w], #{u * self.w_group + c * self.w_column}]")
        for c in range(self.columns):
            acc = f"%[a0{c}]"
            lines += [
                f"sxtb16 %[{half}], %[{w[c]}]",
                f"sxtb16 %[{w[c]}], %[{w[c]}], ror #8",
                f"smlad {acc}, %[{even}], %[{half}], {acc}",
                f"smlad {acc}, %[{odd}], %[{w[c]}], {acc}",
            ]
        return lines

    @property
    def name(self) -> str:
        """The function's name: everything that its text depends on."""
        weights = "w16" if self.wide_weights else "w8"
        count = f"by{self.unroll}" if self.counted else f"n{self.groups}"
        return (
            f"mtvm_smlad_{'set' if self.fresh else 'add'}_{self.rows}x{self.columns}"
            f"_{weights}_{count}"
            f"_x{self.x_row}_{self.x_half}_{self.x_group}_w{self.w_column}_{self.w_group}"
        )

    def source(self) -> str:
        """The function: accumulators row-major in memory, then the operands."""
        accs = [f"a{r}{c}" for r in range(self.rows) for c in range(self.columns)]
        limit = "[limit] MTVM_TILE_LIMIT(limit)" if self._loops else ""
        text = "".join(f'        "{line}\\n\\t"\n' for line in self.assembly())
        text = text.replace('"MOVE ', 'MTVM_TILE_MOVE " ')
        depth = "4 * groups" if self.counted else str(self.groups * GROUP)
        count = "groups" if self.counted else str(self.groups)
        weights = "int16_t" if self.wide_weights else "int8_t"
        kind = '"=&r"' if self.fresh else '"+r"'
        start = "" if self.fresh else " = acc[{}]"
        locals_ = ", ".join(f"{a}{start.format(k)}" for k, a in enumerate(accs))
        outs = ",\n          ".join(
            ", ".join(f"[{a}] {kind}({a})" for a in accs[k : k + 4]) for k in range(0, len(accs), 4)
        )
        scratch = [f"t{k}" for k in range(self.temporaries)]
        lines = [
            f"/* acc {'=' if self.fresh else '+='} {self.rows} rows by {self.columns} columns of "
            f"{depth} products each, two in an instruction. */",
            f"MTVM_TILE void {self.name}(int32_t *restrict acc, const int16_t *restrict x,",
            f"    const {weights} *restrict w{', int32_t groups' if self.counted else ''})",
            "{",
            "#ifdef MTVM_TILE_ASSEMBLY",
            f"    int32_t {locals_};",
            f"    uint32_t {', '.join(scratch)};",
        ]
        if self._loops:
            lines.append(f"    const int16_t *const limit = x + {count} * {self.x_group // 2};")
        lines.append("    __asm__ volatile(")
        if self.fresh:
            zeros = "".join(f'        "movs %[{a}], #0\\n\\t"\n' for a in accs)
            text = zeros + text
        lines += [
            text.rstrip("\n"),
            f"        : {outs},",
            '          [x] "+r"(x), [w] "+r"(w),',
            "          " + ", ".join(f'[{t}] "=&r"({t})' for t in scratch),
            f"        : {limit}",
            '        : "cc", "memory");',
            *(f"    acc[{k}] = {a};" for k, a in enumerate(accs)),
            "#else",
            *self._portable(count),
            "#endif",
            "}",
            "",
        ]
        return "\n".join(lines)

    def _portable(self, count: str) -> list[str]:
        """The same in C, for compilers that can't give a function all registers."""
        scale = 2 if self.wide_weights else 1
        within = f"h * {self.w_half // 2} + p" if self.wide_weights else "p * 2 + h"
        place = f"acc[r * {self.columns} + c]"
        return [
            f"    for (int32_t r = 0; r < {self.rows}; ++r) {{",
            f"        for (int32_t c = 0; c < {self.columns}; ++c) {{",
            f"            int32_t sum = {'0' if self.fresh else place};",
            f"            for (int32_t g = 0; g < {count}; ++g) {{",
            "                for (int32_t h = 0; h < 2; ++h) {",
            "                    for (int32_t p = 0; p < 2; ++p) {",
            f"                        sum += x[r * {self.x_row // 2} + g * {self.x_group // 2} + "
            f"h * {self.x_half // 2} + p] *",
            f"                            w[c * {self.w_column // scale} + "
            f"g * {self.w_group // scale} + {within}];",
            "                    }",
            "                }",
            "            }",
            f"            {place} = sum;",
            "        }",
            "    }",
        ]

    def intrinsic(self) -> TensorIntrin:
        """acc[r, c] += sum over the groups of x[r] * w[c], declared in the operands' own order."""
        inner = self.groups // self.outer
        x = placeholder((self.rows, self.outer, inner, 2, 2), "int16", "x")
        run, g = reduce_axis(self.outer, "run"), reduce_axis(inner, "g")
        odd, pair = reduce_axis(2, "odd"), reduce_axis(2, "pair")
        if self.wide_weights:
            w = placeholder((self.columns, self.outer, inner, 2, 2), "int16", "w")
        else:
            w = placeholder((self.columns, self.outer, inner, 2, 2), "int8", "w")

        def weight(c: Expr) -> Expr:
            order = (odd.var, pair.var) if self.wide_weights else (pair.var, odd.var)
            return w[(c, run.var, g.var, *order)]

        out: Tensor = compute(
            (self.rows, self.columns),
            lambda r, c: te_sum(
                x[r, run.var, g.var, odd.var, pair.var].astype("int32") * weight(c).astype("int32"),
                axis=[run, g, odd, pair],
            ),
            "acc",
        )
        scalars = (self.groups,) if self.counted else ()
        return declare(self.name, out, [x, w], self._call, self.source(), scalars, fresh=self.fresh)

    def _call(self, operands: list[COperand]) -> str:
        acc, x, w, *scalars = operands
        inner = self.groups // self.outer
        x_group, w_group = self.x_group // 2, self.w_group // (2 if self.wide_weights else 1)
        wanted_x = (self.x_row // 2, inner * x_group, x_group, self.x_half // 2, 1)
        if self.wide_weights:
            wanted_w = (self.w_column // 2, inner * w_group, w_group, self.w_half // 2, 1)
        else:
            wanted_w = (self.w_column, inner * w_group, w_group, 2, 1)
        for operand, wanted, first in ((x, wanted_x, self.rows), (w, wanted_w, self.columns)):
            extents = (first, self.outer, inner)
            if not _same_strides(operand.strides, wanted, extents):
                raise ScheduleError(
                    f"{self.name} reads strides {wanted}, the operand has {operand.strides}"
                )
        if acc.registers or not _same_strides(
            acc.strides, (self.columns, 1), (self.rows, self.columns)
        ):
            raise ScheduleError(f"{self.name} writes a tile in memory, row by row")
        words = [acc.text, x.text, w.text, *(o.text for o in scalars)]
        return f"{self.name}({', '.join(words)});"


def _same_strides(
    found: tuple[int, ...], wanted: tuple[int, ...], extents: tuple[int, ...]
) -> bool:
    """Strides of dimensions with one index do not matter."""
    pairs = list(zip(found, wanted, strict=True))
    relevant = [p for k, p in enumerate(pairs) if k >= len(extents) or extents[k] > 1]
    return all(a == b for a, b in relevant)
