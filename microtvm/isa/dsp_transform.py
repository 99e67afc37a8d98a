"""The transforms of Winograd's F(2x2, 3x3), and two of them as intrinsics of the DSP extension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from microtvm.errors import ScheduleError
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.tensor import Tensor, compute, equal, placeholder, select
from microtvm.tir.expr import Expr
from microtvm.util import Array

PATCH, KERNEL, STEP = 4, 3, 2
"""Sides of a patch, of the filters, and of what a patch gives."""

_FILTER = np.array([[1, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 1]], np.int64)

ENDS = np.array([2, 1, 1, 2])
"""What A multiplies the elements of M by, along one dimension, signs aside."""


def filters(weights: Array) -> Array:
    """int8 weights [column, 3, 3, channels] as int16 [column, 4, 4, channels]: G g G^T."""
    wide = np.einsum("rh,ohwc,sw->orsc", _FILTER, weights.astype(np.int64), _FILTER)
    stored: Array = wide.astype(np.int16)
    return stored


def filter_element(g: Callable[[int, int], Expr], r: Expr, s: Expr) -> Expr:
    """Element r, s of G g G^T, of int32 elements g(row, column)."""

    def along(line: Callable[[int], Expr], k: Expr) -> Expr:
        both = line(0) + line(2)
        middle = select(equal(k, 1), both + line(1), both - line(1))
        return select(equal(k, 0), line(0), select(equal(k, 3), line(2), middle))

    return along(lambda row: along(lambda column: g(row, column), s), r)


def patch_element(d: Callable[[int, int], Expr], r: Expr, s: Expr) -> Expr:
    """Element r, s of B^T d B, of int32 elements d(row, column)."""

    def along(line: Callable[[int], Expr], k: Expr) -> Expr:
        ends = select(equal(k, 2), line(2) - line(1), line(1) - line(3))
        return select(equal(k, 0), line(0) - line(2), select(equal(k, 1), line(1) + line(2), ends))

    return along(lambda row: along(lambda column: d(row, column), s), r)


def output_element(m: Callable[[int, int], Expr], p: Expr, q: Expr) -> Expr:
    """Element p, q of A^T m A, of int32 elements m(row, column)."""

    def along(line: Callable[[int], Expr], k: Expr) -> Expr:
        upper = line(0) * 2 + line(1) + line(2)
        return select(equal(k, 0), upper, line(1) - line(2) - line(3) * 2)

    return along(lambda column: along(lambda row: m(row, column), p), q)


def input_transform(patches: int, chunk: int) -> TensorIntrin:
    """y[patch, r, s, which, pair] int16 of x[patch, row, column, pair, which] int8.

    Patches follow each other two columns apart; a column's four rows lie `chunk` bytes apart, and
    columns follow each other. The words of y, a pair each, are written in the order [r, s, which,
    patch].
    """
    x = placeholder((patches, PATCH, PATCH, 2, 2), "int8", "x")

    def element(j: Expr, r: Expr, c: Expr, which: Expr, pair: Expr) -> Expr:
        def at(row: int, column: int) -> Expr:
            found: Expr = x[j, row, column, pair, which]
            return found.astype("int32")

        return patch_element(at, r, c).astype("int16")

    y: Tensor = compute((patches, PATCH, PATCH, 2, 2), element, "y")
    name = f"mtvm_winograd_input_{patches}_{chunk}"
    half = 2 * patches
    wanted_y = (2, 2 * half * PATCH, 2 * half, half, 1)
    wanted_x = (STEP * PATCH * chunk, chunk, PATCH * chunk, 2, 1)

    def call(operands: list[COperand]) -> str:
        for operand, wanted in zip(operands, (wanted_y, wanted_x), strict=True):
            # One patch is not next to another.
            skipped = patches == 1
            if operand.strides[skipped:] != wanted[skipped:]:
                raise ScheduleError(
                    f"{name} takes strides {wanted}, the operand has {operand.strides}"
                )
        return f"{name}({operands[0].text}, {operands[1].text});"

    text = _INPUT
    parts = {
        "NAME": name,
        "EVENS": _asm(_patches(patches, chunk, 0)),
        "ODDS": _asm(_patches(patches, chunk, 1)),
        "REGISTERS": ", ".join(f'[{r}] "=&r"({r})' for r in _REGISTERS),
        "DECLARED": ", ".join(_REGISTERS),
        "PATCHES": str(patches),
        "CHUNK": str(chunk),
        "HALF": str(half),
    }
    for key, value in parts.items():
        text = text.replace(key, value)
    return declare(name, y, [x], call, text)


_REGISTERS = [f"{column}{k}" for column in "abc" for k in range(4)]


def _patches(patches: int, chunk: int, which: int) -> list[str]:
    """Instructions that transform one pair of channels of all patches.

    A column of four words becomes B^T times it once, for the two patches that have it. Three
    columns are held, in all registers but the pointers: results are made in the place of what is
    read for the last time.
    """
    lines: list[str] = []
    rotate = ", ror #8" if which else ""

    def load(column: int, into: Sequence[str]) -> None:
        for k, register in enumerate(into):
            lines.append(f"ldr %[{register}], [%[x], #{(column * PATCH + k) * chunk}]")
        for register in into:
            lines.append(f"sxtb16 %[{register}], %[{register}]{rotate}")

    def op(name: str, to: str, a: str, b: str) -> None:
        lines.append(f"{name} %[{to}], %[{a}], %[{b}]")

    def store(register: str, patch: int, r: int, s: int) -> None:
        place = 4 * (((r * PATCH + s) * 2 + which) * patches + patch)
        lines.append(f"str %[{register}], [%[y], #{place}]")

    def transform(d: list[str], spare: str) -> tuple[list[str], str]:
        """All but the first element, which is there already; the registers, and the one left."""
        op("ssub16", d[3], d[1], d[3])
        op("sadd16", spare, d[1], d[2])
        op("ssub16", d[2], d[2], d[1])
        return [d[0], spare, d[2], d[3]], d[1]

    a, b, free = (list(_REGISTERS[k : k + 4]) for k in (0, 4, 8))
    columns = []
    for column, d in enumerate((a, b)):
        load(column, d)
        op("ssub16", d[0], d[0], d[2])
        done, free[0] = transform(d, free[0])
        columns.append(done)
    a, b = columns
    for patch in range(patches):
        for s in (0, 3):
            # The column that comes ends with one that is not read again.
            c, last = free, a if s == 0 else b
            load(2 * patch + (2 if s == 0 else 3), c)
            op("ssub16", c[0], c[0], c[2])
            op("ssub16", last[0], last[0], c[0])
            store(last[0], patch, 0, s)
            c, spare = transform(c, last[0])
            for r in range(1, 4):
                op("ssub16", last[r], last[r], c[r])
                store(last[r], patch, r, s)
            free = [spare, *last[1:]]
            if s == 0:
                for r in range(4):
                    op("sadd16", free[0], b[r], c[r])
                    op("ssub16", free[1], c[r], b[r])
                    store(free[0], patch, r, 1)
                    store(free[1], patch, r, 2)
                a = c
            else:
                b = c
    return lines


def _asm(lines: Sequence[str]) -> str:
    """Lines of C strings, four instructions each."""
    groups = ["\\n\\t".join(lines[k : k + 4]) for k in range(0, len(lines), 4)]
    return "\n".join(f'        "{group}\\n\\t"' for group in groups)


_INPUT = """\
/* Winograd F(2x2, 3x3), input: B^T d B of PATCHES 4x4 patches d that overlap by two columns, of
 * four channels: those at even places, then those at odd ones, two at a time. */
MTVM_CALLED void NAME(int16_t *y, const int8_t *x)
{
#ifdef MTVM_TILE_ASSEMBLY
    uint32_t DECLARED;
    __asm__ volatile(
EVENS
        : REGISTERS
        : [x] "r"(x), [y] "r"(y)
        : "memory");
    __asm__ volatile(
ODDS
        : REGISTERS
        : [x] "r"(x), [y] "r"(y)
        : "memory");
#else
    for (int32_t i = 0; i < PATCHES * 4; ++i) {
        const int8_t *const d = x + i / 4 * (8 * CHUNK) + i % 4;
        for (int32_t s = 0; s < 4; ++s) {
            const int8_t *const m = d + (s == 0 ? 0 : s == 2 ? 2 : 1) * (4 * CHUNK);
            const int8_t *const n = d + (s == 2 ? 1 : s == 3 ? 3 : 2) * (4 * CHUNK);
            int32_t v[4];
            for (int32_t r = 0; r < 4; ++r) {
                v[r] = m[r * CHUNK] + (s == 1 ? n[r * CHUNK] : -n[r * CHUNK]);
            }
            int16_t *const out = y + s * (2 * HALF) + i % 2 * HALF + i / 4 * 2 + i % 4 / 2;
            out[0] = (int16_t)(v[0] - v[2]);
            out[8 * HALF] = (int16_t)(v[1] + v[2]);
            out[16 * HALF] = (int16_t)(v[2] - v[1]);
            out[24 * HALF] = (int16_t)(v[1] - v[3]);
        }
    }
#endif
}
"""


def filter_transform(step: int) -> TensorIntrin:
    """y[r, s, which, pair] int16 of x[row, column, pair, which] int8, a filter's nine words.

    Elements r, s of y lie `step` halfwords apart, the words of odd places behind those of even
    ones as the tiles take them.
    """
    x = placeholder((KERNEL, KERNEL, 2, 2), "int8", "x")

    def element(r: Expr, s: Expr, which: Expr, pair: Expr) -> Expr:
        def at(row: int, column: int) -> Expr:
            found: Expr = x[row, column, pair, which]
            return found.astype("int32")

        return filter_element(at, r, s).astype("int16")

    y: Tensor = compute((PATCH, PATCH, 2, 2), element, "y")
    name = f"mtvm_winograd_filter_{step}"

    def call(operands: list[COperand]) -> str:
        out, data = operands
        half = out.strides[2]
        if out.strides != (PATCH * step, step, half, 1) or data.strides != (12, 4, 2, 1):
            raise ScheduleError(
                f"{name} reads words and writes them {step} apart, "
                f"the operands have {data.strides} and {out.strides}"
            )
        return f"{name}({out.text}, {half}, {data.text});"

    text = _FILTERS
    parts = {
        "NAME": name,
        "EVENS": _asm(_filter(step, 0)),
        "ODDS": _asm(_filter(step, 1)),
        "STEP": str(step),
    }
    for key, value in parts.items():
        text = text.replace(key, value)
    return declare(name, y, [x], call, text)


def _filter(step: int, which: int) -> list[str]:
    """Instructions that transform two channels of a filter."""
    lines: list[str] = []
    rotate = ", ror #8" if which else ""

    def load(row: int, into: Sequence[str]) -> None:
        for k, register in enumerate(into):
            lines.append(f"ldr %[{register}], [%[x], #{4 * (KERNEL * row + k)}]")
        for register in into:
            lines.append(f"sxtb16 %[{register}], %[{register}]{rotate}")

    def op(name: str, to: str, a: str, b: str) -> None:
        lines.append(f"{name} %[{to}], %[{a}], %[{b}]")

    def row(r: int, g: Sequence[str]) -> None:
        """A row of three to one of four, stored."""
        op("sadd16", "t0", g[0], g[2])
        op("sadd16", "t1", "t0", g[1])
        op("ssub16", "t0", "t0", g[1])
        for s, register in enumerate((g[0], "t1", "t0", g[2])):
            lines.append(f"str %[{register}], [%[y], #{2 * step * (r * PATCH + s)}]")

    a, b, c = (["a0", "a1", "a2"], ["b0", "b1", "b2"], ["c0", "c1", "c2"])
    load(0, a)
    row(0, a)
    load(2, c)
    row(3, c)
    load(1, b)
    for k in range(KERNEL):
        op("sadd16", a[k], a[k], c[k])
        op("sadd16", c[k], a[k], b[k])
        op("ssub16", b[k], a[k], b[k])
    row(1, c)
    row(2, b)
    return lines


_FILTERS = """\
/* Winograd F(2x2, 3x3), filter: G g G^T of four channels: those at even places, then those at odd
 * ones, two at a time. */
MTVM_CALLED void NAME(int16_t *y, int32_t half, const int8_t *x)
{
#ifdef MTVM_TILE_ASSEMBLY
    uint32_t a0, a1, a2, b0, b1, b2, c0, c1, c2, t0, t1;
    __asm__ volatile(
EVENS
        : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [b0] "=&r"(b0), [b1] "=&r"(b1),
          [b2] "=&r"(b2), [c0] "=&r"(c0), [c1] "=&r"(c1), [c2] "=&r"(c2), [t0] "=&r"(t0),
          [t1] "=&r"(t1)
        : [x] "r"(x), [y] "r"(y)
        : "memory");
    y += half;
    __asm__ volatile(
ODDS
        : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [b0] "=&r"(b0), [b1] "=&r"(b1),
          [b2] "=&r"(b2), [c0] "=&r"(c0), [c1] "=&r"(c1), [c2] "=&r"(c2), [t0] "=&r"(t0),
          [t1] "=&r"(t1)
        : [x] "r"(x), [y] "r"(y)
        : "memory");
#else
    for (int32_t k = 0; k < 4; ++k) {
        int32_t g[12];
        for (int32_t j = 0; j < 3; ++j) {
            const int32_t both = x[4 * j + k] + x[24 + 4 * j + k];
            g[j] = x[4 * j + k];
            g[3 + j] = both + x[12 + 4 * j + k];
            g[6 + j] = both - x[12 + 4 * j + k];
            g[9 + j] = x[24 + 4 * j + k];
        }
        int16_t *const out = y + k % 2 * half + k / 2;
        for (int32_t r = 0; r < 4; ++r) {
            const int32_t both = g[3 * r] + g[3 * r + 2];
            out[4 * r * STEP] = (int16_t)g[3 * r];
            out[(4 * r + 1) * STEP] = (int16_t)(both + g[3 * r + 1]);
            out[(4 * r + 2) * STEP] = (int16_t)(both - g[3 * r + 1]);
            out[(4 * r + 3) * STEP] = (int16_t)g[3 * r + 2];
        }
    }
#endif
}
"""


def output_transform(step: int) -> TensorIntrin:
    """y[p, q] int32 of m[r, s], whose elements lie `step` apart."""
    m = placeholder((PATCH, PATCH), "int32", "m")

    def element(p: Expr, q: Expr) -> Expr:
        return output_element(lambda r, s: m[r, s], p, q)

    y: Tensor = compute((STEP, STEP), element, "y")
    name = f"mtvm_winograd_output_{step}"

    def call(operands: list[COperand]) -> str:
        out, data = operands
        if data.strides != (PATCH * step, step) or len(out.registers) != STEP * STEP:
            raise ScheduleError(
                f"{name} takes strides {(PATCH * step, step)} and gives registers, "
                f"the operand has {data.strides}"
            )
        return f"{name}({', '.join(f'&{r}' for r in out.registers)}, {data.text});"

    text = _OUTPUT.replace("NAME", name).replace("ASSEMBLY_LINES", _asm(_outputs(step)))
    return declare(name, y, [m], call, text.replace("STEP", str(step)))


def _outputs(step: int) -> list[str]:
    """Instructions for a patch: column by column, as soon as one is loaded."""
    lines: list[str] = []
    for s in range(PATCH):
        for r in range(PATCH):
            lines.append(f"ldr %[t{r}], [%[m], #{4 * step * (r * PATCH + s)}]")
        # The first column goes to the first outputs, the second to all: it begins the others.
        upper, lower = {0: ("y00", "y10"), 1: ("y01", "y11")}.get(s, ("t1", "t2"))
        lines += [
            "add %[t0], %[t1], %[t0], lsl #1",
            "sub %[t3], %[t1], %[t3], lsl #1",
            f"sub %[{lower}], %[t3], %[t2]" if lower != "t2" else "sub %[t3], %[t3], %[t2]",
            f"add %[{upper}], %[t0], %[t2]",
        ]
        if lower == "t2":
            lower = "t3"
        for p, part in enumerate((upper, lower)):
            if s == 1:
                lines.append(f"add %[y{p}0], %[{part}], %[y{p}0], lsl #1")
            if s == 2:
                lines.append(f"add %[y{p}0], %[y{p}0], %[{part}]")
                lines.append(f"sub %[y{p}1], %[y{p}1], %[{part}]")
            if s == 3:
                lines.append(f"sub %[y{p}1], %[y{p}1], %[{part}], lsl #1")
    return lines


_OUTPUT = """\
/* Winograd F(2x2, 3x3), output: A^T m A. */
MTVM_TILE void NAME(int32_t *y00, int32_t *y01, int32_t *y10, int32_t *y11, const int32_t *m)
{
#ifdef MTVM_TILE_ASSEMBLY
    uint32_t t0, t1, t2, t3;
    __asm__ volatile(
ASSEMBLY_LINES
        : [y00] "=&r"(*y00), [y01] "=&r"(*y01), [y10] "=&r"(*y10), [y11] "=&r"(*y11),
          [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3)
        : [m] "r"(m)
        : "memory");
#else
    int32_t upper[4], lower[4];
    for (int32_t s = 0; s < 4; ++s) {
        const int32_t *const c = m + s * STEP;
        upper[s] = 2 * c[0] + c[4 * STEP] + c[8 * STEP];
        lower[s] = c[4 * STEP] - c[8 * STEP] - 2 * c[12 * STEP];
    }
    *y00 = 2 * upper[0] + upper[1] + upper[2];
    *y01 = upper[1] - upper[2] - 2 * upper[3];
    *y10 = 2 * lower[0] + lower[1] + lower[2];
    *y11 = lower[1] - lower[2] - 2 * lower[3];
#endif
}
"""
