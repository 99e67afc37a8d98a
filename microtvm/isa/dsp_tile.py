"""Register tiles of the Armv7E-M DSP extension: SMLAD takes two products of 16 bits in one cycle.

A tile is `rows` x `columns` accumulators in registers, over groups of four products; the operands'
forms are those of `dsp_operand`.

GCC never keeps loads together: it sinks each to its first use, where it stalls (Arm 100166, table
3-1: N loads in a row take N + 1 cycles). Therefore the tile is assembly. It needs all 14 registers
that Thumb code has; the loop's limit waits in a floating point register, or on the stack where
there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.errors import ScheduleError
from microtvm.isa.dsp_operand import factor
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.tensor import Tensor, compute, placeholder, reduce_axis
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import Expr

MAX_OFFSET = 4095
"""The largest immediate offset of LDR, in bytes."""

MOST_ACCUMULATORS = 8
LARGEST_UNROLL = 6
ANY_UNROLL = 4
LOOPLESS = 8
"""So many groups are written out without a loop."""


@dataclass(frozen=True)
class Tile:
    """What a tile reads, and how its operands lie in memory; distances are in bytes.

    `groups`: groups of four products, as the schedule counts them: `outer` runs that follow each
    other. `x_row`, `x_half`, `x_group`: between rows, between the two words of a group, between
    groups. Weights lie as the tile reads them: for each group a word of each column (for `wide`
    weights first the words of all evens, then of all odds).
    """

    form: str
    rows: int
    columns: int
    groups: int
    x_row: int
    x_half: int
    x_group: int
    outer: int = 1
    counted: bool = False
    """The number of groups is an operand, so that one text serves every depth."""
    fresh: bool = False
    """The tile is the whole sum: it overwrites the accumulators."""
    any_depth: bool = False
    """Groups that are no whole pass come first, one by one: one text serves every depth at all."""

    @property
    def w_half(self) -> int:
        """Between the evens and the odds of a group."""
        return 4 * self.columns if self.form == "wide" else 0

    @property
    def w_group(self) -> int:
        """Between groups."""
        return 4 * self.columns + self.w_half

    @property
    def unroll(self) -> int:
        """Groups in one pass of the loop: as many as divide."""
        if self.groups <= LOOPLESS and not self.counted:
            return self.groups
        if self.any_depth:
            return ANY_UNROLL
        return max(u for u in range(1, LARGEST_UNROLL + 1) if self.groups % u == 0)

    @property
    def fits(self) -> bool:
        """Whether all offsets can be encoded and the accumulators held."""
        span = self.unroll - 1
        x = (self.rows - 1) * self.x_row + self.x_half + span * self.x_group
        w = (self.columns - 1) * 4 + self.w_half + span * self.w_group
        return max(x, w) <= MAX_OFFSET and self.rows * self.columns <= MOST_ACCUMULATORS

    # ---- assembly ----

    def assembly(self) -> list[str]:
        """The instructions, on accumulators a<r><c>, pointers x and w, scratch t0 and on, limit."""
        lines: list[str] = []
        if self.fresh and (self._loops or self.rows == 1):
            lines += [f"movs %[a{r}{c}], #0" for r in range(self.rows) for c in range(self.columns)]
        if self.any_depth:
            lines += [*_reached("whole", "beq 2f"), *self._pass(1, 1, "whole"), "2:"]
            lines += [*_reached("limit", "beq 4f"), *self._pass(3, self.unroll, "limit"), "4:"]
        elif self._loops:
            lines += self._pass(1, self.unroll, "limit")
        else:
            lines += self._groups(self.unroll)
        return lines

    def _groups(self, count: int) -> list[str]:
        group = self._row_group if self.rows == 1 else self._group
        return [line for u in range(count) for line in group(u)]

    def _pass(self, label: int, count: int, end: str) -> list[str]:
        """A loop over so many groups at a time until x is at the end."""
        return [
            f"{label}:",
            *self._groups(count),
            f"add %[x], #{self.x_group * count}",
            f"add %[w], #{self.w_group * count}",
            *_reached(end, f"bne {label}b"),
        ]

    @property
    def _loops(self) -> bool:
        return self.counted or self.groups > self.unroll

    @property
    def temporaries(self) -> int:
        """Registers that hold operands."""
        return max(4, self.columns + 1) if self.rows > 1 else self.columns + 3

    def _weights(self, u: int, half: int) -> list[str]:
        return [
            f"ldr %[t{c}], [%[w], #{u * self.w_group + half * self.w_half + 4 * c}]"
            for c in range(self.columns)
        ]

    def _group(self, u: int) -> list[str]:
        """Four products of each row and column: two of them, then the other two."""
        x = [f"t{k}" for k in range(self.columns, self.temporaries)]
        # Pairs meet the odd words as they are, and are unpacked to their evens in place.
        halves = (1, 0) if self.form == "pairs" else (0, 1)
        # A tile without a loop begins with products that nothing is added to.
        first = self.fresh and not self._loops and u == 0
        lines = []
        for position, half in enumerate(halves):
            unpack = []
            if self.form != "pairs" or position == 0:
                lines += self._weights(u, half)
            if self.form == "narrow" or (self.form == "pairs" and position == 1):
                rotate = ", ror #8" if half else ""
                unpack = [f"sxtb16 %[t{c}], %[t{c}]{rotate}" for c in range(self.columns)]
            for begin in range(0, self.rows, len(x)):
                rows = range(begin, min(begin + len(x), self.rows))
                for r in rows:
                    offset = u * self.x_group + half * self.x_half + r * self.x_row
                    lines.append(f"ldr %[{x[r - begin]}], [%[x], #{offset}]")
                lines += unpack
                unpack = []
                for r in rows:
                    for c in range(self.columns):
                        acc = f"%[a{r}{c}]"
                        factors = f"{acc}, %[{x[r - begin]}], %[t{c}]"
                        start = first and position == 0
                        lines.append(f"smuad {factors}" if start else f"smlad {factors}, {acc}")
        return lines

    def _row_group(self, u: int) -> list[str]:
        """One row: both of its words stay while the columns are unpacked."""
        first = self.columns
        even, odd, spare = (f"%[t{first + k}]" for k in range(3))
        lines = [
            f"ldr {even}, [%[x], #{u * self.x_group}]",
            f"ldr {odd}, [%[x], #{u * self.x_group + self.x_half}]",
        ]
        if self.form == "wide":
            for half, word in ((0, even), (1, odd)):
                lines += self._weights(u, half)
                lines += [f"smlad %[a0{c}], {word}, %[t{c}], %[a0{c}]" for c in range(self.columns)]
            return lines
        lines += self._weights(u, 0)
        for c in range(self.columns):
            acc, w = f"%[a0{c}]", f"%[t{c}]"
            if self.form == "pairs":
                lines += [
                    f"smlad {acc}, {odd}, {w}, {acc}",
                    f"sxtb16 {w}, {w}",
                    f"smlad {acc}, {even}, {w}, {acc}",
                ]
            else:
                lines += [
                    f"sxtb16 {spare}, {w}",
                    f"sxtb16 {w}, {w}, ror #8",
                    f"smlad {acc}, {even}, {spare}, {acc}",
                    f"smlad {acc}, {odd}, {w}, {acc}",
                ]
        return lines

    # ---- C ----

    @property
    def name(self) -> str:
        """The function's name: everything that its text depends on."""
        count = f"by{self.unroll}" if self.counted else f"n{self.groups}"
        count += "_any" if self.any_depth else ""
        return (
            f"mtvm_smlad_{'set' if self.fresh else 'add'}_{self.rows}x{self.columns}_{self.form}"
            f"_{count}_x{self.x_row}_{self.x_half}_{self.x_group}"
        )

    @property
    def _w_type(self) -> str:
        return "int8" if self.form == "narrow" else "int16"

    def source(self) -> str:
        """The function: accumulators by reference, row by row, then the operands."""
        accs = [f"a{r}{c}" for r in range(self.rows) for c in range(self.columns)]
        ends = ["whole"] if self.any_depth else []
        ends += ["limit"] if self._loops else []
        limit = ", ".join(f"[{end}] MTVM_TILE_LIMIT({end})" for end in ends)
        # Pointers that stay as they are may serve the next tile. It pays where the sums leave at
        # once; elsewhere GCC has better uses for two registers.
        kept = self.fresh and not self._loops
        limit = '[x] "r"(x), [w] "r"(w)' if kept else limit
        text = "".join(f'        "{line}\\n\\t"\n' for line in self.assembly())
        text = text.replace('"MOVE ', 'MTVM_TILE_MOVE " ')
        depth = "4 * groups" if self.counted else str(self.groups * 4)
        count = "groups" if self.counted else str(self.groups)
        kind = '"=&r"' if self.fresh else '"+r"'
        outs = [f"[{a}] {kind}(*{a})" for a in accs]
        scratch = [f"t{k}" for k in range(self.temporaries)]
        lines = [
            f"/* {'=' if self.fresh else '+='} {self.rows} rows by {self.columns} columns of "
            f"{depth} products each, two in an instruction; weights: {self.form}. */",
            f"MTVM_TILE void {self.name}(",
            *_wrapped([f"int32_t *{a}" for a in accs], "    ", ","),
            f"    const int16_t *x, const {self._w_type}_t *w"
            f"{', int32_t groups' if self.counted else ''})",
            "{",
            "#ifdef MTVM_TILE_ASSEMBLY",
            f"    uint32_t {', '.join(scratch)};",
        ]
        if self._loops:
            lines.append(f"    const int16_t *const limit = x + {count} * {self.x_group // 2};")
        if self.any_depth:
            lines.append(
                f"    const int16_t *const whole = x + {count} % {self.unroll} * "
                f"{self.x_group // 2};"
            )
        lines += [
            "    __asm__ volatile(",
            text.rstrip("\n"),
            "        : " + "\n".join(_wrapped(outs, "          ", ",")).lstrip(),
            *([] if kept else ['          [x] "+r"(x), [w] "+r"(w),']),
            "          " + ", ".join(f'[{t}] "=&r"({t})' for t in scratch),
            f"        : {limit}",
            '        : "cc", "memory");',
            "#else",
            f"    int32_t *const acc[{len(accs)}] = {{{', '.join(accs)}}};",
            *self._portable(count),
            "#endif",
            "}",
            "",
        ]
        return "\n".join(lines)

    def _portable(self, count: str) -> list[str]:
        """The same in C, for compilers that can't give a function all registers."""
        x = f"x + r * {self.x_row // 2} + g * {self.x_group // 2} + p"
        h = self.x_half // 2
        if self.form == "pairs":
            w = f"w[(g * {self.columns} + c) * 2 + p]"
            term = [f"sum += {w} * xg[{h}] + (int8_t){w} * xg[0];"]
        elif self.form == "wide":
            w = f"w[(g * {2 * self.columns} + c) * 2 + p"
            term = [f"sum += xg[0] * {w}] + xg[{h}] * {w} + {2 * self.columns}];"]
        else:
            w = f"w[(g * {self.columns} + c) * 4 + p * 2"
            term = [f"sum += xg[0] * {w}] + xg[{h}] * {w} + 1];"]
        return [
            f"    for (int32_t r = 0; r < {self.rows}; ++r) {{",
            f"        for (int32_t c = 0; c < {self.columns}; ++c) {{",
            f"            int32_t sum = {'0' if self.fresh else f'*acc[r * {self.columns} + c]'};",
            f"            for (int32_t g = 0; g < {count}; ++g) {{",
            "                for (int32_t p = 0; p < 2; ++p) {",
            f"                    const int16_t *const xg = {x};",
            *(f"                    {line}" for line in term),
            "                }",
            "            }",
            f"            *acc[r * {self.columns} + c] = sum;",
            "        }",
            "    }",
        ]

    # ---- meaning ----

    def intrinsic(self) -> TensorIntrin:
        """acc[r, c] += sum over the groups of x[r] * w[c], in the operands' form."""
        inner = self.groups // self.outer
        x = placeholder((self.rows, self.outer, inner, 2, 2), "int16", "x")
        shape = (self.columns, self.outer, inner, 2)
        w = placeholder(shape if self.form == "pairs" else (*shape, 2), self._w_type, "w")
        run, g = reduce_axis(self.outer, "run"), reduce_axis(inner, "g")
        pair, which = reduce_axis(2, "pair"), reduce_axis(2, "which")

        def element(r: Expr, c: Expr) -> Expr:
            def weight(*parity: Expr) -> Expr:
                last = (*parity, pair.var) if self.form == "wide" else (pair.var, *parity)
                return w[(c, run.var, g.var, *last)]

            data = x[r, run.var, g.var, which.var, pair.var].astype("int32")
            return te_sum(data * factor(self.form, weight, which.var), axis=[run, g, which, pair])

        out: Tensor = compute((self.rows, self.columns), element, "acc")
        scalars = (self.groups,) if self.counted else ()
        return declare(self.name, out, [x, w], self._call, self.source(), scalars, fresh=self.fresh)

    def _call(self, operands: list[COperand]) -> str:
        acc, x, w, *scalars = operands
        inner = self.groups // self.outer
        x_group = self.x_group // 2
        wanted_x = (self.x_row // 2, inner * x_group, x_group, self.x_half // 2, 1)
        if self.form == "narrow":
            wanted_w: tuple[int, ...] = (4, inner * self.w_group, self.w_group, 2, 1)
        else:
            w_group = self.w_group // 2
            last = (1,) if self.form == "pairs" else (self.w_half // 2, 1)
            wanted_w = (2, inner * w_group, w_group, *last)
        for operand, wanted, first in ((x, wanted_x, self.rows), (w, wanted_w, self.columns)):
            if not _same_strides(operand.strides, wanted, (first, self.outer, inner)):
                raise ScheduleError(
                    f"{self.name} reads strides {wanted}, the operand has {operand.strides}"
                )
        if len(acc.registers) != self.rows * self.columns:
            raise ScheduleError(f"{self.name} keeps its accumulators in registers")
        words = [*(f"&{r}" for r in acc.registers), x.text, w.text, *(o.text for o in scalars)]
        return f"{self.name}({', '.join(words)});"


def _reached(end: str, branch: str) -> list[str]:
    """A branch on whether x is at an end."""
    return [f"MOVE %[t0], %[{end}]", "cmp %[x], %[t0]", branch]


def _wrapped(words: list[str], indent: str, tail: str) -> list[str]:
    """The words with commas between, four in a line."""
    lines = [indent + ", ".join(words[k : k + 4]) + "," for k in range(0, len(words), 4)]
    lines[-1] = lines[-1][:-1] + tail
    return lines


def _same_strides(
    found: tuple[int, ...], wanted: tuple[int, ...], extents: tuple[int, ...]
) -> bool:
    """Strides of dimensions with one index do not matter."""
    pairs = list(zip(found, wanted, strict=True))
    relevant = [p for k, p in enumerate(pairs) if k >= len(extents) or extents[k] > 1]
    return all(a == b for a, b in relevant)
