"""What register tiles of matrix products share: how their operands lie, what they mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from microtvm.errors import ScheduleError
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.layout import strides_of
from microtvm.te.tensor import Tensor, compute, placeholder, reduce_axis
from microtvm.te.tensor import sum as te_sum
from microtvm.tir.expr import Expr


@dataclass(frozen=True)
class ProductTile(ABC):
    """acc[r, c] = sum over k of x[r, k] * w[k, c]; the whole sum.

    What a row reads of x lies in `runs` pieces of `run` elements, `x_run` elements apart; rows are
    `x_row` apart. Weights are packed in the order in which they are read: [runs][run][columns].
    """

    rows: int
    columns: int
    run: int
    runs: int
    x_row: int
    x_run: int

    dtype: ClassVar[str]
    """Of both operands."""
    acc_dtype: ClassVar[str]
    portable: ClassVar[str]
    """The preprocessor's condition for the tile in the core's own instructions."""
    longest: ClassVar[int]
    """Depths that one pass of the innermost loop holds, at most."""
    shared: ClassVar[bool] = False
    """Whether kernels may become one that differ in the tile's distances, which are all operands.

    They are the values of `scalars` then, and their kernel gets them as arguments.
    """

    @property
    @abstractmethod
    def fits(self) -> bool:
        """Whether the core can hold the tile and encode its offsets."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The function's name: everything that its text depends on."""

    @property
    def unroll(self) -> int:
        """Depths in one pass, which `run` is a multiple of."""
        return max(u for u in range(1, self.longest + 1) if self.run % u == 0)

    @property
    def scalars(self) -> tuple[tuple[str, int], ...]:
        """Operands that are numbers, so that one text serves tiles which differ in them: all."""
        return tuple((n, getattr(self, n)) for n in ("x_row", "run", "runs", "x_run"))

    @abstractmethod
    def body(self) -> list[str]:
        """The function's text in the core's own instructions: acc, x and w are its pointers."""

    def number(self, name: str) -> str:
        """A field in C: an operand's name, or its value."""
        return name if name in dict(self.scalars) else str(getattr(self, name))

    def row_pointers(self, c_type: str) -> list[str]:
        """C that declares where each row begins: x0, x1 and so on."""
        places = ("x", *(f"x + {r} * x_row" for r in range(1, self.rows)))
        return [f"    const {c_type} *x{r} = {place};" for r, place in enumerate(places)]

    @property
    def depth(self) -> str:
        """The number of products of an accumulator, in C."""
        run, runs = self.number("run"), self.number("runs")
        return f"{runs} * {run}" if not (runs + run).isdigit() else str(self.runs * self.run)

    def source(self) -> str:
        """The C function: accumulators row-major in memory, then the operands."""
        c_acc, c_type = (
            ("float", "float") if self.dtype == "float32" else ("int32_t", f"{self.dtype}_t")
        )
        numbers = "".join(f", int32_t {name}" for name, _ in self.scalars)
        lines = [
            f"/* {self.rows} rows by {self.columns} columns of {self.depth} products each. */",
            f"MTVM_TILE_CALLED void {self.name}({c_acc} *restrict acc, const {c_type} *restrict x,",
            f"    const {c_type} *restrict w{numbers})",
            "{",
            f"#ifdef {self.portable}",
            *self.body(),
            "#else",
            *self._portable(c_acc),
            "#endif",
            "}",
            "",
        ]
        return "\n".join(lines)

    def _portable(self, c_acc: str) -> list[str]:
        """The same in C."""
        run, runs = self.number("run"), self.number("runs")
        row = self.number("x_row") if self.rows > 1 else "0"
        apart = self.number("x_run") if runs != "1" else "0"
        place = f"r * {row} + n * {apart} + k"
        zero = "0.0f" if c_acc == "float" else "0"
        return [
            f"    for (int32_t r = 0; r < {self.rows}; ++r) {{",
            f"        for (int32_t c = 0; c < {self.columns}; ++c) {{",
            f"            {c_acc} sum = {zero};",
            f"            for (int32_t n = 0; n < {runs}; ++n) {{",
            f"                for (int32_t k = 0; k < {run}; ++k) {{",
            f"                    sum += x[{place}] * w[(n * {run} + k) * {self.columns} + c];",
            "                }",
            "            }",
            f"            acc[r * {self.columns} + c] = sum;",
            "        }",
            "    }",
        ]

    def intrinsic(self, inner: tuple[int, ...]) -> TensorIntrin:
        """The tile's meaning, declared in the operands' own order.

        `inner` are the loops that make a run, outermost first.
        """
        loops = (self.runs, *inner)
        x = placeholder((self.rows, *loops), self.dtype, "x")
        w = placeholder((*loops, self.columns), self.dtype, "w")
        axes = [reduce_axis(n, f"k{d}") for d, n in enumerate(loops)]
        ks = tuple(a.var for a in axes)

        def product(r: Expr, c: Expr) -> Expr:
            a, b = x[(r, *ks)], w[(*ks, c)]
            if self.acc_dtype != self.dtype:
                a, b = a.astype(self.acc_dtype), b.astype(self.acc_dtype)
            return te_sum(a * b, axis=axes)

        out: Tensor = compute((self.rows, self.columns), product, "acc")
        steps = strides_of(inner)
        wanted_x = (self.x_row, self.x_run, *steps)
        wanted_w = (self.run * self.columns, *(n * self.columns for n in steps), 1)

        def call(operands: list[COperand]) -> str:
            acc, data, weights, *numbers = operands
            if acc.registers:
                raise ScheduleError(f"{self.name} writes a tile in memory")
            self._check(acc, (self.columns, 1), (self.rows, self.columns))
            self._check(data, wanted_x, (self.rows, *loops))
            self._check(weights, wanted_w, (*loops, self.columns))
            return f"{self.name}({', '.join(o.text for o in (acc, data, weights, *numbers))});"

        values = [value for _, value in self.scalars]
        text = self.source()
        return declare(self.name, out, [x, w], call, text, values, fresh=True, told=self.shared)

    def _check(self, found: COperand, wanted: tuple[int, ...], extents: tuple[int, ...]) -> None:
        """ScheduleError where strides differ; those of dimensions with one index do not matter."""
        if any(n > 1 and a != b for a, b, n in zip(found.strides, wanted, extents, strict=True)):
            raise ScheduleError(
                f"{self.name} takes strides {wanted}, the operand has {found.strides}"
            )


class EncodedTile(ProductTile):
    """Distances are part of the instructions. Of a single run the length is an operand.

    One text then serves every depth, and every layer where there is one row.
    """

    instruction: ClassVar[str]
    """Of the name."""

    @property
    def walks(self) -> bool:
        """Whether a run takes more than one pass, or may."""
        return self.runs == 1 or self.unroll < self.run

    @property
    def name(self) -> str:
        tile = f"mtvm_{self.instruction}_{self.rows}x{self.columns}"
        apart = f"_x{self.x_row}" if self.rows > 1 else ""
        if self.runs == 1:
            return f"{tile}_by{self.unroll}{apart}"
        return f"{tile}_n{self.runs}_{self.run}_{self.x_run}{apart}"

    @property
    def scalars(self) -> tuple[tuple[str, int], ...]:
        return (("run", self.run),) if self.runs == 1 else ()


def statement(lines: list[str], outputs: list[str], inputs: list[str], clobbers: str) -> list[str]:
    """An assembly statement in C: a line for each instruction, four operands on a line."""

    def wrapped(operands: list[str]) -> str:
        rows = [", ".join(operands[k : k + 4]) for k in range(0, len(operands), 4)]
        return ",\n          ".join(rows)

    return [
        "    __asm__ volatile(",
        *(f'        "{line}\\n\\t"' for line in lines),
        f"        : {wrapped(outputs)}",
        f"        : {wrapped(inputs)}",
        f"        : {clobbers});",
    ]
