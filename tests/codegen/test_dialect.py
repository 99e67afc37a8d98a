"""Where constants are in flash and an int has 16 bits: the text of kernels, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.codegen.c_expr import exact
from microtvm.codegen.c_kernel import kernel
from microtvm.codegen.c_support import helper_source
from microtvm.codegen.dialect import NEAR_ARRAY_BYTES, NEAR_BYTES, PLAIN, Dialect, check_dialect
from microtvm.errors import ModelError
from microtvm.lower.kernel import Kernel
from microtvm.passes.fuse import Group
from microtvm.target import list_cpus, load_cpu
from microtvm.tir.expr import Expr, IntImm, Var, cast
from microtvm.tir.stmt import Buffer, Program
from tests.tir.build import loop, read, store

AVR = Dialect.of(load_cpu("atmega2560"))
X, Z, U, V = (Buffer(name, (64,), "int8") for name in "xzuv")
WIDE = Buffer("wide", (64,), "int16")
ODD = Buffer("odd", (64,), "uint16")
Y = Buffer("y", (64,), "int32")
I = Var("i")  # noqa: E741


def text(value: Expr, *params: Buffer, dialect: Dialect = AVR) -> str:
    """The line that stores a value to y[i]."""
    program = Program("p", (*params, Y), loop(I, 64, store(Y, (I,), value)), (), (Y,))
    printed = kernel(program, "p", dialect=dialect).text
    (line,) = [part.strip() for part in printed.splitlines() if part.strip().startswith("y[")]
    return line.removeprefix("y[i] = ").removesuffix(";")


def wide(buffer: Buffer) -> Expr:
    return cast("int32", read(buffer, I))


def test_only_one_core_needs_a_dialect() -> None:
    assert {name for name in list_cpus() if Dialect.of(load_cpu(name)) != PLAIN} == {"atmega2560"}
    assert AVR.flash_reads
    assert AVR.short_int


@pytest.mark.parametrize(
    ("value", "params", "plain", "short"),
    [
        # A product of bytes fits an int of 16 bits, and so does what is not far from one.
        (wide(X) * wide(Z), (X, Z), "x[i] * z[i]", "x[i] * z[i]"),
        (wide(X) * 200 + 100, (X,), "x[i] * 200 + 100", "x[i] * 200 + 100"),
        # The sum of two does not.
        (
            wide(X) * wide(Z) + wide(U) * wide(V),
            (X, Z, U, V),
            "x[i] * z[i] + u[i] * v[i]",
            "(int32_t)(x[i] * z[i]) + u[i] * v[i]",
        ),
        (wide(WIDE) * wide(X), (WIDE, X), "wide[i] * x[i]", "(int32_t)wide[i] * x[i]"),
        (wide(WIDE) + 1, (WIDE,), "wide[i] + 1", "(int32_t)wide[i] + 1"),
        (IntImm(0) - wide(WIDE), (WIDE,), "-wide[i]", "-((int32_t)wide[i])"),
        (wide(X) * 300, (X,), "x[i] * 300", "(int32_t)x[i] * 300"),
        # A constant of more bits makes the operation long by itself.
        (wide(X) * 40000, (X,), "x[i] * 40000", "x[i] * 40000"),
        (wide(X) << 9, (X,), "x[i] * 512", "(int32_t)x[i] * 512"),
        (wide(X) >> 20, (X,), "x[i] >> 20", "(int32_t)x[i] >> 20"),
        (wide(X) >> 3, (X,), "x[i] >> 3", "x[i] >> 3"),
        (wide(X) // 65536, (X,), "x[i] >> 16", "(int32_t)x[i] >> 16"),
        # An unsigned short is not promoted to a signed int.
        (wide(ODD) - 5, (ODD,), "odd[i] - 5", "(int32_t)odd[i] - 5"),
    ],
)
def test_what_does_not_fit_an_int_is_converted(
    value: Expr, params: tuple[Buffer, ...], plain: str, short: str
) -> None:
    assert text(value, *params, dialect=PLAIN) == plain
    assert text(value, *params) == short


def test_loops_and_locals_are_short_where_they_fit() -> None:
    near = loop(I, 64, store(Y, (I,), wide(X) * wide(X)))
    printed = kernel(Program("p", (X, Y), near, (), (Y,)), "p", dialect=AVR).text
    assert "for (int16_t i = 0; i < 64; ++i)" in printed
    assert "const int16_t t0 = x[i];" in printed
    far = Buffer("far", (40000,), "int8")
    body = loop(I, 40000, store(far, (I,), read(X, I // 1000)))
    printed = kernel(Program("q", (X, far), body, (), (far,)), "q", dialect=AVR).text
    assert "for (int32_t i = 0; i < 40000; ++i)" in printed


@pytest.mark.parametrize(
    ("dtype", "macro"),
    [
        ("int8", "MTVM_READ_INT8"),
        ("int16", "MTVM_READ_INT16"),
        ("int32", "MTVM_READ_INT32"),
        ("int64", "MTVM_READ_INT64"),
        ("uint8", "MTVM_READ_UINT8"),
        ("float32", "MTVM_READ_FLOAT"),
    ],
)
def test_constants_are_read_by_macros(dtype: str, macro: str) -> None:
    w = Buffer("w", (64,), dtype, "const", np.zeros(64, dtype))
    y = Buffer("y", (64,), dtype)
    reverse = loop(I, 64, store(y, (I,), read(w, 63 - I)))
    printed = kernel(Program("p", (w, y), reverse, (), (y,)), "p", dialect=AVR).text
    assert f"{macro}(&w[" in printed
    whole = loop(I, 64, store(y, (I,), read(w, I)))
    program = Program("p", (w, y), whole, (), (y,))
    assert "MTVM_COPY_FLASH(y, w, " in kernel(program, "p", dialect=AVR).text
    assert "MTVM_" not in kernel(program, "p").text


def test_helpers_that_count_on_32_bits_are_others() -> None:
    assert "__builtin_clz(" in helper_source("mtvm_clz")
    assert "__builtin_clz" not in helper_source("mtvm_clz", AVR)
    assert helper_source("mtvm_rdbp") == helper_source("mtvm_rdbp", AVR)


def one(program: Program) -> list[Kernel]:
    return [Kernel(Group("n0_op", (), (), ()), program, (), 0)]


def constant_of(*sizes: int) -> Program:
    """A program with constants of so many bytes, no two alike."""
    params = tuple(
        Buffer(f"w{k}", (n,), "int8", "const", np.full(n, k, np.int8)) for k, n in enumerate(sizes)
    )
    return Program("p", (*params, Y), store(Y, (0,), 0), (), (Y,))


def test_constants_beyond_reach_are_refused() -> None:
    check_dialect(AVR, one(constant_of(NEAR_ARRAY_BYTES, NEAR_BYTES - NEAR_ARRAY_BYTES)), "avr")
    check_dialect(PLAIN, one(constant_of(100_000)), "any")
    with pytest.raises(ModelError, match="constants take 63,489 bytes, of avr's flash"):
        check_dialect(AVR, one(constant_of(NEAR_ARRAY_BYTES, NEAR_BYTES + 1 - 32767)), "avr")
    with pytest.raises(ModelError, match="operator n0_op has 32,768 bytes, on avr an array has"):
        check_dialect(AVR, one(constant_of(NEAR_ARRAY_BYTES + 1)), "avr")


def test_equal_constants_count_once() -> None:
    check_dialect(AVR, [*one(constant_of(30_000)), *one(constant_of(30_000))] * 2, "avr")


def test_double_precision_is_refused() -> None:
    x = Buffer("x", (1,), "float32")
    y = Buffer("y", (1,), "float32")
    exact = cast("float32", cast("float64", read(x, 0)) * cast("float64", read(x, 0)))
    program = Program("p", (x, y), store(y, (0,), exact), (), (y,))
    with pytest.raises(ModelError, match="n0_op is rounded in double precision") as caught:
        check_dialect(AVR, one(program), "avr")
    assert "choose another board" in caught.value.hint
    check_dialect(PLAIN, one(program), "any")


@pytest.mark.parametrize("a", [(0, 255), (-255, 0), (-128, 127), (-3, -2), (5, 5)])
@pytest.mark.parametrize("b", [(0, 255), (-255, 0), (-7, 9), (-4, -1)])
def test_range_of_a_product_holds_every_product(a: tuple[int, int], b: tuple[int, int]) -> None:
    """Of signed operands too: a range that is too small leaves out the widening of an int."""
    products = [x * y for x in range(a[0], a[1] + 1) for y in range(b[0], b[1] + 1)]
    assert exact("*", a, b) == (min(products), max(products))
