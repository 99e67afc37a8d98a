"""Register tiles of Helium: VMLADAVA adds sixteen products of bytes to one accumulator.

A tile is eight accumulators, two rows by four columns or one by eight, in the even registers, where
VMLADAVA wants them; pointers and the loop's end take the odd ones. Data is read where it lies, rows
of bytes; weights are packed in the order in which the tile reads them, sixteen bytes of each column
in turn.

The tile is assembly: GCC 12 moves accumulators in and out of even registers around each intrinsic,
at twice the instructions. Loads and products alternate, because each keeps its own pipe busy for
two cycles.
"""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.errors import ScheduleError
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.tensor import Tensor, compute, placeholder, reduce_axis
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import Expr, IntImm

LANES = 16
"""Bytes of a vector: products of one VMLADAVA."""

ACCUMULATORS = ("r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr")
NEAREST = 127
"""The largest immediate offset of VLDRB, in bytes."""
FARTHEST = 4095
"""The largest immediate of ADD and SUB."""
GUARD = "MTVM_HELIUM"


@dataclass(frozen=True)
class Tile:
    """The sum of `runs` runs of `steps` vectors each: the data of a row, `x_run` bytes from run to
    run, by as many weights.

    With `by_columns` all of it is written out, and the tile goes through `count` groups of columns;
    else it takes one group, and goes through `count` runs. The last vector may have fewer bytes
    than sixteen, `tail`, where there is one run that is written out: others are not read.
    """

    rows: int
    columns: int
    runs: int
    steps: int
    x_run: int
    count: int
    by_columns: bool
    tail: int = 0

    def __post_init__(self) -> None:
        assert self.rows * self.columns == len(ACCUMULATORS)
        assert self.rows in (1, 2)

    @property
    def fits(self) -> bool:
        """Whether its distances can be encoded."""
        return 0 <= self._skip <= FARTHEST and self._back <= FARTHEST

    @property
    def _written(self) -> int:
        """Runs written out."""
        return self.runs if self.by_columns else 1

    @property
    def _skip(self) -> int:
        """From a run's end to the next one."""
        return self.x_run - LANES * self.steps if self.runs > 1 else 0

    @property
    def _back(self) -> int:
        """From the end of the last run that is written out to the first."""
        return (self.runs - 1) * self.x_run + LANES * self.steps if self._moves else 0

    @property
    def _moves(self) -> bool:
        """Whether the data's pointers move at all."""
        near = self._written == 1 and LANES * (self.steps - 1) <= NEAREST
        return not (self.by_columns and near)

    @property
    def name(self) -> str:
        """The function's name: everything that its text depends on."""
        loop = "columns" if self.by_columns else "runs"
        far = f"_{self._skip}" if self._skip else ""
        runs = f"{self._written}x" if self._written > 1 else ""
        tail = f"_tail{self.tail}" if self.tail else ""
        return f"mtvm_vmladava_{self.rows}x{self.columns}_{loop}_{runs}{self.steps}{far}{tail}"

    def assembly(self) -> list[str]:
        """The instructions, on accumulators' pointers a<r>, data x<r>, weights w, and `end`."""
        lines: list[str] = []
        if not self.by_columns:
            lines += [f"mov {a}, #0" for a in ACCUMULATORS]
        if self.tail:
            lines += [f"mov lr, #{self.tail}", "vctp.8 lr"]
        lines.append("1:")
        for run in range(self._written):
            for step in range(self.steps):
                first = self.by_columns and run == step == 0
                lines += self._step(run * self.steps + step, first=first)
            last = run + 1 == self._written
            if self._skip and not (last and self.by_columns):
                lines += [f"addw %[x{r}], %[x{r}], #{self._skip}" for r in range(self.rows)]
        if not self.by_columns:
            return [*lines, "subs %[end], #1", "bne 1b", *self._stores("")]
        if self._moves:
            lines += [f"subw %[x{r}], %[x{r}], #{self._back}" for r in range(self.rows)]
        return [*lines, *self._stores("!"), "cmp %[w], %[end]", "bne 1b"]

    def _step(self, position: int, *, first: bool) -> list[str]:
        """Sixteen products for each accumulator; the `first` ones start it."""
        product = "vmladav" if first else "vmladava"
        data = [f"q{4 + 2 * (position % 2) + r}" for r in range(self.rows)]
        loads = [self._load_data(position, r, data[r]) for r in range(self.rows)]
        lines: list[str] = []
        waiting: list[str] = []
        if self.tail and position + 1 == self.steps:
            lines = [f"vps{'t' * self.rows}", *loads]
            loads = []
        for c in range(self.columns):
            weights = f"q{c % 4}"
            lines.append(f"vldrb.8 {weights}, [%[w]], #{LANES}")
            if loads:
                lines.append(loads.pop(0))
            if waiting:
                lines.append(waiting.pop(0))
            for r in range(self.rows):
                acc = ACCUMULATORS[r * self.columns + c]
                waiting.append(f"{product}.s8 {acc}, {weights}, {data[r]}")
            if not loads:
                lines.append(waiting.pop(0))
        return lines + waiting

    def _load_data(self, position: int, row: int, register: str) -> str:
        load = "vldrbt.8" if self.tail and position + 1 == self.steps else "vldrb.8"
        if self._moves:
            return f"{load} {register}, [%[x{row}]], #{LANES}"
        return f"{load} {register}, [%[x{row}], #{position * LANES}]"

    def _stores(self, back: str) -> list[str]:
        groups = [ACCUMULATORS[r * self.columns : (r + 1) * self.columns] for r in range(self.rows)]
        return [f"stm %[a{r}]{back}, {{{', '.join(g)}}}" for r, g in enumerate(groups)]

    def source(self) -> str:
        """The function: accumulators and data as rows, then weights, then `count`."""
        rows = range(self.rows)
        what = (
            f"count groups of {self.columns} columns, {self._written * self.steps * LANES}"
            if self.by_columns
            else f"{self.columns} columns, count runs of {self.steps * LANES}"
        )
        steps = self.columns * self.steps * self._written * LANES
        end = (
            f"    const int8_t *const end = w + count * {steps};"
            if self.by_columns
            else "    int32_t end = count;"
        )
        updated = [*(f'[a{r}] "+r"(a{r})' for r in rows), *(f'[x{r}] "+r"(x{r})' for r in rows)]
        updated += ['[w] "+r"(w)', *([] if self.by_columns else ['[end] "+r"(end)'])]
        clobbers = [*ACCUMULATORS, *(f"q{k}" for k in range(8)), "cc", "memory"]
        return "\n".join(
            [
                f"#ifdef {GUARD}",
                f"/* Accumulators of {self.rows} rows by {what} products each. */",
                f"MTVM_HELIUM_TILE void {self.name}(int32_t *a0, const int8_t *x0, "
                f"const int8_t *w, int32_t count"
                f"{', int32_t a_row, int32_t x_row' if self.rows > 1 else ''})",
                "{",
                *(f"    int32_t *a{r} = a0 + {r} * a_row;" for r in rows if r),
                *(f"    const int8_t *x{r} = x0 + {r} * x_row;" for r in rows if r),
                end,
                "    __asm__ volatile(",
                *(f'        "{line}\\n\\t"' for line in self.assembly()),
                f"        : {', '.join(updated)}",
                "        : " + ('[end] "r"(end)' if self.by_columns else ""),
                "        : " + ", ".join(f'"{c}"' for c in clobbers) + ");",
                "}",
                "#endif",
                "",
            ]
        )

    @property
    def depth(self) -> int:
        """Products of one run."""
        return self.steps * LANES - (LANES - self.tail if self.tail else 0)

    def intrinsic(self) -> TensorIntrin:
        """acc[r, group, c] = sum over runs and k of x[r, run, k] * w[group, run, .., c, ..]."""
        groups = self.count if self.by_columns else 1
        run, k = reduce_axis(self.runs, "run"), reduce_axis(self.depth, "k")
        x = placeholder((self.rows, self.runs, self.depth), "int8", "x")
        w = placeholder((groups, self.runs, self.steps, self.columns, LANES), "int8", "w")
        step, lane = (k.var // LANES, k.var % LANES) if self.steps > 1 else (IntImm(0), k.var)

        def product(r: Expr, group: Expr, c: Expr) -> Expr:
            left = x[r, run.var, k.var].astype("int32")
            right = w[group, run.var, step, c, lane].astype("int32")
            return te_sum(left * right, axis=[run, k])

        out: Tensor = compute((self.rows, groups, self.columns), product, "acc")
        assert out.op is not None
        told = out.op.axis[1] if self.by_columns else run
        return declare(
            self.name, out, [x, w], self._call, self.source(),
            fresh=True, lengths=[told], guard=GUARD,
        )  # fmt: skip

    def _call(self, operands: list[COperand]) -> str:
        acc, x, w, count = operands
        groups = self.count if self.by_columns else 1
        step = self.columns * LANES
        run = self.steps * step
        wanted_w = (self.runs * run, run, step, LANES, 1)
        self._expect("w", w, wanted_w, (groups, self.runs, self.steps, self.columns, self.depth))
        self._expect("x", x, (x.strides[0], self.x_run, 1), (1, self.runs, self.depth))
        self._expect("acc", acc, (acc.strides[0], self.columns, 1), (1, groups, self.columns))
        words = [acc.text, x.text, w.text, count.text]
        if self.rows > 1:
            words += [str(acc.strides[0]), str(x.strides[0])]
        return f"{self.name}({', '.join(words)});"

    def _expect(
        self, what: str, operand: COperand, wanted: tuple[int, ...], extents: tuple[int, ...]
    ) -> None:
        """Strides of dimensions with one index do not matter."""
        pairs = zip(operand.strides, wanted, extents, strict=True)
        if operand.registers or any(found != want for found, want, n in pairs if n > 1):
            raise ScheduleError(
                f"{self.name} reads {what} in steps of {wanted}, the operand has {operand.strides}"
            )
