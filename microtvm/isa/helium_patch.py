"""Tiles of Helium for sums over each channel's own window: all taps of an output in one VMLADAV.

A window's columns are brought side by side first: rows of an image are turned into bytes of columns
(`turn`). Then sixteen bytes, a patch, are four columns of four rows, or one column of sixteen, of
one channel; outputs that are near each other come from one patch and weights that are shifted: they
are stored once, with zeros before them, and read from other addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.errors import ScheduleError
from microtvm.isa.helium_tile import GUARD, LANES
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.tensor import Tensor, compute, placeholder, reduce_axis
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import Expr

ACCUMULATORS = ("r0", "r2", "r4", "r6", "r8", "r10", "r12")
"""Even ones; lr counts channels."""
VECTORS = 8


@dataclass(frozen=True)
class PatchTile:
    """`down` by `across` outputs of `channels` channels; a kernel of `kernel_h` by `kernel_w` taps.

    Columns hold `rows` rows: 4, of which a patch takes four columns, or 16, a patch.
    """

    rows: int
    down: int
    across: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    channels: int

    @property
    def patches(self) -> list[int]:
        """The first column of each patch."""
        wide = LANES // self.rows
        found: list[int] = []
        for j in range(self.across):
            if not found or j * self.stride_w + self.kernel_w > found[-1] + wide:
                found.append(j * self.stride_w)
        return found

    def _shift(self, i: int, j: int) -> tuple[int, int]:
        """The patch that output (i, j) comes from, and how many lanes its weights move."""
        patch = max(k for k, c in enumerate(self.patches) if c <= j * self.stride_w)
        column = j * self.stride_w - self.patches[patch]
        return patch, column * self.rows + i * self.stride_h

    @property
    def shifts(self) -> list[int]:
        """The different shifts, the largest last."""
        places = ((i, j) for i in range(self.down) for j in range(self.across))
        return sorted({self._shift(i, j)[1] for i, j in places})

    @property
    def fits(self) -> bool:
        """Whether the registers suffice and every window lies in a patch."""
        outputs, wide = self.down * self.across, LANES // self.rows
        lanes = self.shifts[-1] + (self.kernel_w - 1) * self.rows + self.kernel_h
        return (
            outputs <= len(ACCUMULATORS)
            and self.kernel_w <= wide
            and (self.down - 1) * self.stride_h + self.kernel_h == self.rows
            and lanes <= LANES
            and len(self.patches) + 1 + len(self.shifts) <= VECTORS
            # A patch of one column is read through a pointer, of which there is one.
            and (self.rows < LANES or len(self.patches) == 1)
        )

    @property
    def reach(self) -> int:
        """Columns that the tile reads."""
        return self.patches[-1] + LANES // self.rows

    @property
    def weight_columns(self) -> int:
        """Columns of taps to store, so that sixteen bytes of a channel are its own, or zeros."""
        columns = self.kernel_w
        while self.shifts[-1] + (columns - 1) * self.rows + self.kernel_h < LANES:
            columns += 1
        return columns

    @property
    def pitch(self) -> int:
        """Bytes from one channel's weights to the next one's."""
        return self.shifts[-1] + (self.weight_columns - 1) * self.rows + self.kernel_h

    @property
    def cost(self) -> int:
        """Instructions for each channel."""
        return len(self.patches) + len(self.shifts) + self.down * self.across + 2

    @property
    def name(self) -> str:
        """The function's name: everything that its text depends on."""
        return (
            f"mtvm_vmladav_{self.down}x{self.across}_patch_{self.rows}"
            f"_{self.kernel_h}x{self.kernel_w}_{self.stride_h}x{self.stride_w}"
        )

    def assembly(self) -> list[str]:
        """The instructions, on acc, x, w and n; addresses of patches wait in q7 and down."""
        addresses = [f"q{VECTORS - 1 - k}" for k in range(len(self.patches))]
        lines: list[str] = []
        if self.rows < LANES:
            first = addresses[0]
            lines += ["mov lr, #0", f"vidup.u32 {first}, lr, #1"]
            lines += [f"vmul.i32 {first}, {first}, %[pitch]", f"vadd.i32 {first}, {first}, %[x]"]
            for k, column in enumerate(self.patches[1:], 1):
                lines += [f"mov lr, #{column}", "mul lr, lr, %[pitch]"]
                lines.append(f"vadd.i32 {addresses[k]}, {first}, lr")
        lines += ["dls lr, %[n]", "1:"]
        weights = {s: f"q{1 + k}" for k, s in enumerate(self.shifts)}
        loads = []
        for s in self.shifts:
            last = s == self.shifts[-1]
            place = f"[%[w]], #{self.pitch}" if last else f"[%[w], #{self.shifts[-1] - s}]"
            loads.append(f"vldrb.8 {weights[s]}, {place}")
        outputs = [(i, j) for i in range(self.down) for j in range(self.across)]
        for k, address in enumerate(addresses):
            load = f"vldrw.u32 q0, [{address}, #4]!"
            lines.append(load if self.rows < LANES else "vldrb.8 q0, [%[x]], #16")
            for acc, (i, j) in enumerate(outputs):
                patch, shift = self._shift(i, j)
                if patch != k:
                    continue
                wanted = f"vldrb.8 {weights[shift]}"
                lines += [text for text in loads if text.startswith(wanted)]
                loads = [text for text in loads if not text.startswith(wanted)]
                lines.append(f"vmladav.s8 {ACCUMULATORS[acc]}, q0, {weights[shift]}")
        used = ACCUMULATORS[: len(outputs)]
        store = f"stm %[acc]!, {{{', '.join(used)}}}" if len(used) > 1 else "str r0, [%[acc]], #4"
        return [*lines, store, "le lr, 1b"]

    def source(self) -> str:
        """The function: accumulators, data, weights, channels, and bytes from column to column."""
        text = self.assembly()
        numbers = ['[n] "r"(n)']
        numbers += ['[pitch] "r"(pitch)'] if self.rows < LANES else []
        x = '[x] "r"((uintptr_t)x - 4u)' if self.rows < LANES else ""
        updated = ['[acc] "+r"(acc)', '[w] "+r"(w)', *([] if x else ['[x] "+r"(x)'])]
        used = ACCUMULATORS[: self.down * self.across]
        clobbers = [*used, "lr", *(f"q{k}" for k in range(VECTORS)), "cc", "memory"]
        return "\n".join(
            [
                f"#ifdef {GUARD}",
                f"/* Sums over windows of {self.kernel_h} by {self.kernel_w}, of n channels, "
                f"{self.down} by {self.across} outputs of each. */",
                f"MTVM_HELIUM_TILE void {self.name}(int32_t *acc, const int8_t *x, "
                f"const int8_t *w, int32_t n{', int32_t pitch' if x else ''})",
                "{",
                f"    w -= {self.shifts[-1]};",
                "    __asm__ volatile(",
                *(f'        "{line}\\n\\t"' for line in text),
                f"        : {', '.join(updated)}",
                f"        : {', '.join([*numbers, *([x] if x else [])])}",
                "        : " + ", ".join(f'"{c}"' for c in clobbers) + ");",
                "}",
                "#endif",
                "",
            ]
        )

    def intrinsic(self) -> TensorIntrin:
        """acc[c, i, j] = sum over taps of x[c, column, row] * w[c, tap]."""
        kh, kw = reduce_axis(self.kernel_h, "kh"), reduce_axis(self.kernel_w, "kw")
        columns = (self.across - 1) * self.stride_w + self.kernel_w
        x = placeholder((self.channels, columns, self.rows), "int8", "x")
        w = placeholder((self.channels, self.kernel_h, self.kernel_w), "int8", "w")

        def product(c: Expr, i: Expr, j: Expr) -> Expr:
            pixel = x[c, j * self.stride_w + kw.var, i * self.stride_h + kh.var]
            return te_sum(pixel.astype("int32") * w[c, kh.var, kw.var].astype("int32"), [kh, kw])

        out: Tensor = compute((self.channels, self.down, self.across), product, "acc")
        assert out.op is not None
        return declare(
            self.name, out, [x, w], self._call, self.source(),
            fresh=True, lengths=[out.op.axis[0]], guard=GUARD,
        )  # fmt: skip

    def _call(self, operands: list[COperand]) -> str:
        acc, x, w, count = operands
        column = x.strides[1]
        wanted = (
            (
                acc,
                (self.down * self.across, self.across, 1),
                (self.channels, self.down, self.across),
            ),
            (x, (self.rows, column, 1), (self.channels, 1, self.rows)),
            (w, (self.pitch, 1, self.rows), (self.channels, self.kernel_h, self.kernel_w)),
        )
        for operand, steps, extents in wanted:
            pairs = zip(operand.strides, steps, extents, strict=True)
            if operand.registers or any(f != s for f, s, n in pairs if n > 1):
                raise ScheduleError(
                    f"{self.name} reads steps of {steps}, the operand has {operand.strides}"
                )
        words = [acc.text, x.text, w.text, count.text]
        return f"{self.name}({', '.join([*words, *([str(column)] if self.rows < LANES else [])])});"


def turn(rows: int, length: int) -> TensorIntrin:
    """t[f, r] = x[r, f] for 4 or 16 rows of `length` bytes, a multiple of sixteen."""
    x = placeholder((rows, length), "int8", "x")
    out: Tensor = compute((length, rows), lambda f, r: x[r, f].astype("int8"), "t")
    assert out.op is not None
    name = f"mtvm_turn_{rows}"

    def call(operands: list[COperand]) -> str:
        t, x, count = operands
        if t.strides != (rows, 1) or x.strides[1] != 1 or t.registers or x.registers:
            raise ScheduleError(f"{name} turns rows of bytes, the operand is of {x.strides}")
        return f"{name}({t.text}, {x.text}, {count.text}, {x.strides[0]});"

    return declare(name, out, [x], call, _TURN[rows], lengths=[out.op.axis[0]], guard=GUARD)


_TURN = {
    4: f"""\
#ifdef {GUARD}
/* Four rows of n bytes, by columns. */
MTVM_HELIUM_TILE void mtvm_turn_4(int8_t *t, const int8_t *x0, int32_t n, int32_t row)
{{
    const int8_t *x1 = x0 + row;
    const int8_t *x2 = x1 + row;
    const int8_t *x3 = x2 + row;
    __asm__ volatile(
        "dls lr, %[n]\\n\\t"
        "1:\\n\\t"
        "vldrb.8 q0, [%[x0]], #16\\n\\t"
        "vldrb.8 q1, [%[x1]], #16\\n\\t"
        "vldrb.8 q2, [%[x2]], #16\\n\\t"
        "vldrb.8 q3, [%[x3]], #16\\n\\t"
        "vst40.8 {{q0, q1, q2, q3}}, [%[t]]\\n\\t"
        "vst41.8 {{q0, q1, q2, q3}}, [%[t]]\\n\\t"
        "vst42.8 {{q0, q1, q2, q3}}, [%[t]]\\n\\t"
        "vst43.8 {{q0, q1, q2, q3}}, [%[t]]!\\n\\t"
        "le lr, 1b\\n\\t"
        : [t] "+r"(t), [x0] "+r"(x0), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3)
        : [n] "r"(n >> 4)
        : "lr", "q0", "q1", "q2", "q3", "memory");
}}
#endif
""",
    16: f"""\
#ifdef {GUARD}
/* Sixteen rows of n bytes, by columns. */
MTVM_HELIUM_TILE void mtvm_turn_16(int8_t *t, const int8_t *x, int32_t n, int32_t row)
{{
    for (int32_t f = 0; f < n; f += 16) {{
        const int8_t *from = x + f;
        int8_t *to = t + 16 * f;
        __asm__ volatile(
            "mov lr, #0\\n\\t"
            "vidup.u8 q1, lr, #8\\n\\t"
            "vshl.i8 q1, q1, #1\\n\\t"
            "mov lr, #16\\n\\t"
            "dls lr, lr\\n\\t"
            "1:\\n\\t"
            "vldrb.8 q0, [%[from]]\\n\\t"
            "add %[from], %[row]\\n\\t"
            "vstrb.8 q0, [%[to], q1]\\n\\t"
            "add %[to], #1\\n\\t"
            "le lr, 1b\\n\\t"
            : [from] "+r"(from), [to] "+r"(to)
            : [row] "r"(row)
            : "lr", "q0", "q1", "cc", "memory");
    }}
}}
#endif
""",
}
