"""Register tiles of the Thumb-2 base set: one MLA for each product of two bytes.

Both operands stay int8 in memory, where LDRSB extends them for nothing, so that a product costs one
MLA and its share of the loads, (rows + columns) / (rows * columns). Eight accumulators, two
pointers and four temporaries are all the registers that Thumb code has; GCC spills some of them,
therefore the tile is assembly. The ends of its loops wait on the stack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from microtvm.isa.product_schedule import Family, without_knobs
from microtvm.isa.product_tile import EncodedTile, statement

MAX_OFFSET = 4095
"""The largest immediate of LDRSB and ADDW."""

ACCUMULATORS = 8
"""What fourteen registers leave beside two pointers and four temporaries."""

PASS = 9
"""Products of each accumulator that one pass of the innermost loop holds, at most."""


@dataclass(frozen=True)
class MlaTile(EncodedTile):
    """Eight accumulators at most, all in registers that Thumb code has."""

    dtype: ClassVar[str] = "int8"
    acc_dtype: ClassVar[str] = "int32"
    portable: ClassVar[str] = "MTVM_TILE_THUMB2"
    longest: ClassVar[int] = PASS
    instruction: ClassVar[str] = "mla"

    @property
    def joined(self) -> int:
        """Short runs that one pass holds together."""
        if self.runs == 1 or self.unroll < self.run:
            return 1
        return max(n for n in range(1, max(1, PASS // self.run) + 1) if self.runs % n == 0)

    @property
    def fits(self) -> bool:
        """Whether all offsets can be encoded and the accumulators held."""
        x = (self.rows - 1) * self.x_row + (self.joined - 1) * self.x_run + self.unroll
        advance = 0 if self.runs == 1 else max(self.joined * self.x_run, self.x_run - self.run)
        return (
            max(x, advance, self.joined * self.unroll * self.columns) <= MAX_OFFSET
            and (self.runs == 1 or self.x_run >= self.run)
            and self.rows * self.columns <= ACCUMULATORS
            and min(self.rows, self.columns) <= 3
        )

    def body(self) -> list[str]:
        accs = [f"a{r}{c}" for r in range(self.rows) for c in range(self.columns)]
        lines = [f"    int32_t {', '.join(accs)}, t0, t1, t2, t3;"]
        outputs = [f'[{a}] "=&r"({a})' for a in accs]
        outputs += [f'[t{k}] "=&r"(t{k})' for k in range(4)] + ['[x] "+r"(x)', '[w] "+r"(w)']
        inputs: list[str] = []
        if self.walks:
            moves = self.runs > 1
            kind = "const int8_t *x_end" if moves else "const int8_t *const x_end"
            lines.append(f"    {kind} = x + {self.number('run')};")
            (outputs if moves else inputs).append(f'[x_end] "{"+" if moves else ""}m"(x_end)')
        if self.runs > self.joined:
            lines.append(f"    const int8_t *const w_end = w + {self.depth} * {self.columns};")
            inputs.append('[w_end] "m"(w_end)')
        zeros = [f"mov %[{a}], #0" for a in accs]
        lines += statement(zeros + self._assembly(), outputs, inputs, '"cc", "memory"')
        return lines + [f"    acc[{k}] = {a};" for k, a in enumerate(accs)]

    def _assembly(self) -> list[str]:
        step = self.joined * self.unroll
        lines = ["1:"]
        for k in range(step):
            lines += self._products(k)
        lines.append(f"add %[w], #{step * self.columns}")
        if self.walks:
            lines += [f"add %[x], #{step}", "ldr %[t0], %[x_end]", "cmp %[x], %[t0]", "bne 1b"]
            if self.runs > 1:
                # On to the next run: its end moves by x_run, x by what it has not covered of that.
                lines += [f"add %[t0], #{self.x_run}", "str %[t0], %[x_end]"]
                lines += [f"add %[x], #{self.x_run - self.run}"] if self.x_run != self.run else []
        elif self.runs > self.joined:
            lines.append(f"add %[x], #{self.joined * self.x_run}")
        if self.runs > self.joined:
            lines += ["ldr %[t0], %[w_end]", "cmp %[w], %[t0]", "bne 1b"]
        return lines

    def _products(self, k: int) -> list[str]:
        """One product of every accumulator: one side is loaded whole, the other in parts."""
        start = k // self.run * self.x_run + k % self.run if self.joined > 1 else k
        x = [f"[%[x], #{start + r * self.x_row}]" for r in range(self.rows)]
        w = [f"[%[w], #{k * self.columns + c}]" for c in range(self.columns)]
        held, passing = (x, w) if self.rows <= self.columns else (w, x)
        lines = [f"ldrsb %[t{n}], {place}" for n, place in enumerate(held)]
        free = [f"t{n}" for n in range(len(held), 4)]
        for first in range(0, len(passing), len(free)):
            part = passing[first : first + len(free)]
            lines += [f"ldrsb %[{t}], {place}" for t, place in zip(free, part, strict=False)]
            for n, t in zip(range(len(part)), free, strict=False):
                for h in range(len(held)):
                    r, c = (h, first + n) if held is x else (first + n, h)
                    lines.append(f"mla %[a{r}{c}], %[t{h}], %[{t}], %[a{r}{c}]")
        return lines


FAMILY = Family(
    make=without_knobs(MlaTile),
    shapes=[
        (r, c)
        for r in range(1, ACCUMULATORS + 1)
        for c in range(1, ACCUMULATORS // r + 1)
        if min(r, c) <= 3
    ],
    dtype="int8",
    acc_dtype="int32",
    product=1,
    row=1,
    column=1,
    call=5,
)

TEMPLATES = FAMILY.templates("mla", frozenset({"mla"}), {"accumulators": (ACCUMULATORS, 4, 6)})
