"""Register tiles of Helium's float vectors: four output channels in one VFMA.

An accumulator is a vector of four columns of one row; an instruction multiplies a vector of weights
by one element of a row, which comes from a core register. LDRD loads two depths of a row, a
low-overhead loop counts the passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from microtvm.isa.product_schedule import Family, without_knobs
from microtvm.isa.product_tile import ProductTile, statement

LANES = 4
VECTORS = 8
PASS = 4
"""Depths in one pass, at most."""


@dataclass(frozen=True)
class HeliumFloatTile(ProductTile):
    """One text serves every layer."""

    dtype: ClassVar[str] = "float32"
    acc_dtype: ClassVar[str] = "float32"
    portable: ClassVar[str] = "MTVM_TILE_MVE_FLOAT"
    longest: ClassVar[int] = PASS

    @property
    def vectors(self) -> int:
        """Vectors in a row of the tile."""
        return self.columns // LANES

    @property
    def holds_pairs(self) -> bool:
        """Whether the weights of two depths fit beside the accumulators."""
        return (self.rows + 2) * self.vectors <= VECTORS

    @property
    def fits(self) -> bool:
        """Whether vectors and core registers hold it."""
        return self.columns % LANES == 0 and (
            (self.holds_pairs and self.rows <= 6)
            or ((self.rows + 1) * self.vectors <= VECTORS and self.rows <= 3)
        )

    @property
    def name(self) -> str:
        return f"mtvm_vfma_mve_{self.rows}x{self.columns}_by{self.unroll}"

    def body(self) -> list[str]:
        rows = range(self.rows)
        lines = [
            f"    const int32_t passes = run / {self.unroll};",
            "    const int32_t skip = 4 * (x_run - run);",
            f"    int32_t {', '.join(f't{n}' for n in range(self._temporaries))};",
        ]
        lines += self.row_pointers("float")
        outputs = ['[w] "+r"(w)', '[runs] "+m"(runs)']
        outputs += [f'[x{r}] "+r"(x{r})' for r in rows]
        outputs += [f'[t{n}] "=&r"(t{n})' for n in range(self._temporaries)]
        inputs = ['[passes] "m"(passes)', '[skip] "m"(skip)', '[acc] "m"(acc)']
        used = ", ".join(f'"s{n}"' for n in range(4 * VECTORS))
        clobbers = f'"cc", "memory", "lr",\n          {used}'
        return lines + statement(self._assembly(), outputs, inputs, clobbers)

    @property
    def _temporaries(self) -> int:
        """Registers for elements of the rows: two depths of two rows, or of all."""
        return 2 * (min(self.rows, 2) if self.holds_pairs else self.rows)

    def _assembly(self) -> list[str]:
        size = self.rows * self.vectors
        lines = [f"vmov.i32 q{n}, #0" for n in range(size)]
        lines += ["1:", "ldr lr, %[passes]", "dls lr, lr", "2:"]
        for k in range(0, self.unroll, 2):
            lines += self._pair(min(2, self.unroll - k))
        lines += ["le lr, 2b", "ldr %[t0], %[skip]"]
        lines += [f"add %[x{r}], %[t0]" for r in range(self.rows)]
        lines += ["ldr %[t0], %[runs]", "subs %[t0], #1", "str %[t0], %[runs]", "bne 1b"]
        lines.append("ldr %[t0], %[acc]")
        return lines + [f"vstrw.32 q{n}, [%[t0], #{16 * n}]" for n in range(size)]

    def _load(self, row: int, t: int, depths: int) -> str:
        if depths == 1:
            return f"ldr %[t{t}], [%[x{row}]], #4"
        return f"ldrd %[t{t}], %[t{t + 1}], [%[x{row}]], #8"

    def _weights(self, q: int) -> list[str]:
        return [f"vldrw.u32 q{q + v}, [%[w]], #16" for v in range(self.vectors)]

    def _pair(self, depths: int) -> list[str]:
        """The products of one or two depths; two in a row never meet one accumulator."""
        size = self.rows * self.vectors
        lines: list[str] = []
        if not self.holds_pairs:
            lines += [self._load(r, 2 * r, depths) for r in range(self.rows)]
            for d in range(depths):
                lines += self._weights(size)
                lines += self._products(range(self.rows), 0, d, size)
            return lines
        for d in range(depths):
            lines += self._weights(size + d * self.vectors)
        for first in range(0, self.rows, 2):
            rows = range(first, min(first + 2, self.rows))
            lines += [self._load(r, 2 * (r - first), depths) for r in rows]
            for d in range(depths):
                lines += self._products(rows, first, d, size + d * self.vectors)
        return lines

    def _products(self, rows: range, first: int, d: int, w: int) -> list[str]:
        return [
            f"vfma.f32 q{r * self.vectors + v}, q{w + v}, %[t{2 * (r - first) + d}]"
            for r in rows
            for v in range(self.vectors)
        ]


FAMILY = Family(
    make=without_knobs(HeliumFloatTile),
    shapes=[
        (r, c)
        for r in range(1, 7)
        for c in range(LANES, LANES * VECTORS, LANES)
        if HeliumFloatTile(r, c, 1, 1, 1, 1).fits
    ],
    dtype="float32",
    acc_dtype="float32",
    product=0.25,
    row=0.5,
    column=0.25,
    call=1,
)

TEMPLATES = FAMILY.templates("helium_float", frozenset({"mve-float"}), {"accumulators": (24, 16)})
