"""Expressions: interpreter and compiled C agree exactly; no undefined behaviour, no warnings."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from microtvm.tir.expr import IntImm, Var
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Buffer, For, Program, Store
from microtvm.util import Array
from tests.codegen.c_library import CROSS, CLibrary, check_warnings
from tests.codegen.random_expr import INTEGERS, RandomExpr

EXTENT = 40
DTYPES = (*INTEGERS, "bool", "float32")


def random_array(rng: np.random.Generator, dtype: str) -> Array:
    """Values of all magnitudes, the extreme ones among them."""
    if dtype == "bool":
        return rng.integers(0, 2, EXTENT).astype(bool)
    if dtype == "float32":
        values = rng.normal(size=EXTENT) * 10.0 ** rng.integers(-12, 12, EXTENT)
        values[:6] = [0.0, -0.0, 0.5, -2.5, 3.0e38, 1e-40]
        return rng.permutation(values.astype(np.float32))
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, EXTENT, dtype=dtype, endpoint=True)
    values >>= rng.integers(0, info.bits, EXTENT).astype(dtype)
    values[:4] = [info.min, info.max, 0, 1]
    return rng.permutation(values)


def random_program(seed: int) -> tuple[Program, dict[Buffer, Array]]:
    """y[i] = a random expression of the elements of arrays of all dtypes."""
    rng = random.Random(seed)
    inputs = [Buffer(f"x_{dtype}", (EXTENT,), dtype) for dtype in DTYPES]
    i = Var("i")
    dtype = rng.choice(DTYPES)
    value = RandomExpr(rng, inputs, i, EXTENT).any(dtype, rng.randrange(1, 6))
    y = Buffer("y", (EXTENT,), dtype)
    body = For(i, IntImm(0), IntImm(EXTENT), Store(y, (i,), value))
    numbers = np.random.default_rng(seed)
    arrays = {b: random_array(numbers, b.dtype) for b in inputs}
    return Program(f"random_{seed}", (*inputs, y), body, (), (y,)), arrays


@pytest.mark.parametrize("block", range(3))
def test_compiled_c_agrees_with_the_interpreter(
    block: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cases = [random_program(seed) for seed in range(100 * block, 100 * block + 100)]
    library = CLibrary([program for program, _ in cases], tmp_path, "-ffp-contract=off")
    for i, (program, arrays) in enumerate(cases):
        (wanted,) = interpret(program, arrays).values()
        (found,) = library.run(i, arrays).values()
        np.testing.assert_array_equal(found, wanted, program.name)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))
    assert "runtime error" not in capfd.readouterr().err


@pytest.mark.parametrize("compiler", CROSS)
def test_expressions_compile_without_warnings(compiler: str, tmp_path: Path) -> None:
    check_warnings([random_program(seed)[0] for seed in range(100)], tmp_path, compiler)
