"""Intrinsics against exact rational arithmetic, in Python and compiled to C."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from microtvm.errors import IRError
from microtvm.tir.c_helper import C_HELPERS
from microtvm.tir.expr import Expr, FloatImm, IntImm, Read, Var, cast
from microtvm.tir.interpret import interpret
from microtvm.tir.intrinsic import FUNCTIONS, call, scalar_function
from microtvm.tir.stmt import Buffer, For, Program, Store
from tests.codegen.c_library import CLibrary

LOW, HIGH = -(1 << 31), (1 << 31) - 1
HALF = Fraction(1, 2)


def half_up(value: Fraction) -> int:
    return math.floor(value + HALF)


def half_away(value: Fraction) -> int:
    return math.floor(value + HALF) if value >= 0 else -math.floor(-value + HALF)


def two_roundings(value: int, mult: int, exponent: int) -> int:
    high = half_up(Fraction(value * 2 ** max(exponent, 0) * mult, 2**31))
    return half_away(Fraction(high, 2 ** max(-exponent, 0)))


EXACT: dict[str, Callable[..., int]] = {
    "clz": lambda x: 32 - len(f"{x % 2**32:b}".lstrip("0")),
    "srdhm": lambda a, b: min(half_up(Fraction(a * b, 2**31)), HIGH),
    "rdbp": lambda x, s: half_away(Fraction(x, 2**s)),
    "requantize": two_roundings,
    "requantize_right": two_roundings,
    "requantize_narrow": lambda x, m, s, zero: two_roundings(x, m, -1 - s) + zero,
    "requantize_up": lambda x, m, s, zero: (
        half_up(Fraction(half_up(Fraction(x * m, 2**31)), 2 ** (s + 1))) + zero
    ),
    "requantize_floor": lambda x, m, s, zero: half_up(Fraction(x * m, 2 ** (32 + s))) + zero,
    "requantize_narrow_doubled": lambda x, m, s, zero: (
        half_away(Fraction(half_up(Fraction(x * m, 2**32)), 2 ** (s + 1))) + zero
    ),
    "requantize_up_doubled": lambda x, m, s, zero: (
        half_up(Fraction(half_up(Fraction(x * m, 2**32)), 2 ** (s + 1))) + zero
    ),
    "requantize_floor_doubled": lambda x, m, s, zero: (
        half_up(Fraction(x * m, 2 ** (33 + s))) + zero
    ),
    "saturate8": lambda x: sorted((-128, x, 127))[1],
    "saturate8_shift": lambda x, s: sorted((-128, math.floor(Fraction(x, 2**s)), 127))[1],
    "requantize_once": lambda x, m, e: half_away(x * m * Fraction(2) ** (e - 31)),
}
"""Each integer intrinsic by its definition, with the rounding written as such."""


def word(rng: random.Random, low: int = LOW, high: int = HIGH) -> int:
    """A value from low to high: an end, near zero, near a power of two, or of any magnitude."""
    kind = rng.randrange(5)
    if kind == 0:
        value = rng.choice((low, low + 1, high - 1, high, 0, 1, -1))
    elif kind == 1:
        value = rng.choice((1, -1)) * (1 << rng.randrange(31)) + rng.randint(-1, 1)
    else:
        value = rng.randint(low, high) >> rng.randrange(31)
    return max(low, min(high, value))


def multiplier(rng: random.Random) -> int:
    """Normalised, as a quantised model has it, or any; powers of two make exact ties."""
    kind = rng.randrange(4)
    if kind == 0:
        return 1 << 30
    return rng.randint(1 << 30, HIGH) if kind < 3 else word(rng, 0)


def arguments(name: str, rng: random.Random) -> tuple[int, ...]:
    """Random valid arguments of an intrinsic, ties among them."""
    if name == "clz":
        return (word(rng),)
    if name == "saturate8":
        return (rng.choice((word(rng), rng.randint(-140, 140))),)
    if name == "saturate8_shift":
        shift = rng.randint(0, 31)
        near = (rng.randint(-140, 140) << shift) + rng.randint(-1, 1)
        return rng.choice((word(rng), max(LOW, min(HIGH, near)))), shift
    if name == "srdhm":
        return word(rng), rng.choice((multiplier(rng), word(rng)))
    if name == "rdbp":
        shift = rng.randint(0, 31)
        tie = (2 * rng.randint(-99, 99) + 1) << max(shift - 1, 0)
        return rng.choice((word(rng), max(LOW, min(HIGH, tie)))), shift
    mult = multiplier(rng)
    if name == "requantize_right":
        return word(rng), mult, rng.randint(-31, 0)
    if name.startswith(("requantize_narrow", "requantize_up", "requantize_floor")):
        zero = rng.choice((0, -128, 127, rng.randint(-256, 256)))
        if name.endswith("_doubled"):
            return word(rng), mult, rng.randint(0, 21), zero
        return word(rng, -(1 << 30), (1 << 30) - 1), mult, rng.randint(0, 21), zero
    exponent = rng.choice((rng.randint(-12, 2), rng.randint(-31, 30)))
    left = max(exponent, 0)
    value = word(rng, LOW >> left, HIGH >> left)
    if name == "requantize_once" and not LOW <= EXACT[name](value, mult, exponent) <= HIGH:
        value //= 4
    return value, mult, exponent


INTEGER = sorted(name for name, f in FUNCTIONS.items() if "int32" in f.args[0])


def test_every_integer_intrinsic_has_an_exact_definition_here() -> None:
    assert sorted(EXACT) == INTEGER


@pytest.mark.parametrize("name", INTEGER)
def test_meaning_is_exact(name: str) -> None:
    rng = random.Random(name)
    for _ in range(3000):
        values = arguments(name, rng)
        assert scalar_function(name).evaluate(*values) == EXACT[name](*values), values


def program(name: str, cases: list[tuple[int, ...]], constants: tuple[int, ...] = ()) -> Program:
    """y[i] = name(columns of the cases..., constants...)"""
    arity = len(cases[0]) - len(constants)
    columns = [np.array(column, np.int32) for column in zip(*cases, strict=True)]
    buffers = [Buffer(f"x{k}", (len(cases),), "int32", "const", columns[k]) for k in range(arity)]
    i, y = Var("i"), Buffer("y", (len(cases),), "int32")
    args: list[Expr] = [Read(b, (i,)) for b in buffers]
    value = call(name, *args, *constants)
    body = For(i, IntImm(0), IntImm(len(cases)), Store(y, (i,), value))
    return Program(name, (*buffers, y), body, (), (y,))


LONG_PRODUCT = ("-U__ARM_ARCH_ISA_THUMB",)
NO_LONG_PRODUCT = ("-D__ARM_ARCH_ISA_THUMB=1",)
"""A Cortex-M0's macro, under which helpers multiply in halves."""
NO_COUNT = ("-D__riscv",)
"""RISC-V's macro, under which leading zeros are counted without the compiler."""


@pytest.mark.parametrize(
    ("name", "core"),
    [*((n, c) for n in INTEGER for c in (LONG_PRODUCT, NO_LONG_PRODUCT)), ("clz", NO_COUNT)],
)
def test_c_is_exact(
    name: str, core: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(name)
    cases = [arguments(name, rng) for _ in range(20000)]
    wanted = [EXACT[name](*values) for values in cases]
    programs = [program(name, cases)]
    expected = [wanted]
    if len(cases[0]) > 1:
        # The same with the last argument constant: the shorter forms that bounds allow.
        for last in sorted({values[-1] for values in cases}, key=abs)[:12]:
            chosen = [i for i, values in enumerate(cases) if values[-1] == last]
            programs.append(program(name, [cases[i] for i in chosen], (last,)))
            expected.append([wanted[i] for i in chosen])
    library = CLibrary(programs, tmp_path, *core)
    for i, values in enumerate(expected):
        (found,) = library.run(i, {}).values()
        np.testing.assert_array_equal(found, values)
    assert "runtime error" not in capfd.readouterr().err


@pytest.mark.parametrize("name", INTEGER)
def test_bounds_hold(name: str) -> None:
    rng = random.Random(name)
    function = scalar_function(name)
    for _ in range(300):
        cases = [arguments(name, rng) for _ in range(4)]
        ranges = [(min(column), max(column)) for column in zip(*cases, strict=True)]
        bounds = function.bounds(*ranges)
        assert bounds is not None
        for values in cases:
            assert bounds[0] <= EXACT[name](*values) <= bounds[1], (values, ranges)


def test_bounds_are_tight() -> None:
    assert scalar_function("requantize").bounds((-1000, 1000), (1 << 30, 1 << 30), (-3, -3)) == (
        -63,
        63,
    )
    assert scalar_function("clz").bounds((1, 255)) == (24, 31)


FLOATS = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.5,
    -2.5,
    0.49999997,
    8388609.0,
    -3.7,
    1e30,
    88.0,
    -104.0,
    1e-40,
    0.1,
]


def test_float_intrinsics_agree(tmp_path: Path) -> None:
    x = Buffer("x", (len(FLOATS),), "float32")
    data = np.array(FLOATS, np.float32)
    names = sorted(name for name, f in FUNCTIONS.items() if "float32" in f.args[0])
    assert names == ["abs", "exp", "floor", "round_away", "sqrt", "tanh"]
    i = Var("i")
    programs = []
    for name in names:
        y = Buffer("y", x.shape, "float32")
        body = For(i, IntImm(0), IntImm(len(FLOATS)), Store(y, (i,), call(name, Read(x, (i,)))))
        programs.append(Program(name, (x, y), body, (), (y,)))
    library = CLibrary(programs, tmp_path)
    for number, (name, each) in enumerate(zip(names, programs, strict=True)):
        (wanted,) = interpret(each, {x: data}).values()
        (found,) = library.run(number, {x: data}).values()
        if name in ("exp", "tanh"):
            np.testing.assert_array_max_ulp(found, wanted, 2)
        else:
            np.testing.assert_array_equal(found, wanted)
            np.testing.assert_array_equal(
                np.signbit(found[~np.isnan(found)]), np.signbit(wanted[~np.isnan(wanted)])
            )


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (0.5, 1.0),
        (-0.5, -1.0),
        (2.5, 3.0),
        (0.49999999999999994, 0.0),
        (-1.4, -1.0),
        (2.0**60, 2.0**60),
    ],
)
def test_round_away_takes_halves_away_from_zero(value: float, rounded: float) -> None:
    assert scalar_function("round_away").evaluate(value) == rounded


def test_constant_arguments_are_evaluated() -> None:
    assert call("rdbp", 5, 1) is IntImm(3)
    assert call("exp", FloatImm(1000.0)) is FloatImm(math.inf)
    assert call("sqrt", FloatImm(2.0)) is FloatImm(float(np.sqrt(np.float32(2))))
    assert call("clz", IntImm(0, "uint32")) is IntImm(32)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("rdbp", (1, 32), "rdbp shifts by 32; 0 to 31 was expected"),
        ("rdbp", (1, -1), "rdbp shifts by -1"),
        ("requantize", (1, -1, 0), "requantize by the multiplier -1; it must not be negative"),
        ("requantize", (1, 1, 31), "requantize with the exponent 31; -31 to 30 was expected"),
        ("requantize", (1 << 30, 1, 2), "1073741824 << 2 is 4294967296, which does not fit int32"),
        ("requantize_right", (1, 1, 1), "requantize_right with the exponent 1; -31 to 0 was exp"),
        (
            "requantize_narrow",
            (1 << 30, 1, 0, 0),
            "requantize_narrow of 1073741824, which has more",
        ),
        (
            "requantize_up",
            (1, 1, 22, 0),
            "requantize_up with the exponent 22; 0 to 21 was expected",
        ),
        ("requantize_up_doubled", (1, 1, 22, 0), "requantize_up_doubled with the exponent 22"),
        ("requantize_floor", (1, 1, 0, 257), "requantize_floor plus 257; -256 to 256 was expected"),
        ("requantize_once", (HIGH, HIGH, 1), "requantize_once of 2147483647 is .* not fit int32"),
        ("saturate8_shift", (1, 32), "saturate8_shift shifts by 32; 0 to 31 was expected"),
        ("saturate8_shift", (1, -1), "saturate8_shift shifts by -1"),
        ("rdbp", (1,), "rdbp takes 2 arguments, not 1"),
        ("sqrt", (1,), "argument 0 of sqrt is int32; float32 or float64 was expected"),
        ("cosh", (1,), "no intrinsic is named 'cosh'; known: clz, srdhm"),
    ],
)
def test_what_is_outside_the_domain_raises(
    name: str, values: tuple[int, ...], message: str
) -> None:
    with pytest.raises(IRError, match=message):
        call(name, *values)


def test_an_argument_of_another_integer_type_is_refused() -> None:
    with pytest.raises(IRError, match="argument 0 of rdbp is int64; int32 was expected"):
        call("rdbp", cast("int64", Var("x")), 1)


def test_helpers_are_listed_after_what_they_need() -> None:
    for name, (needed, text) in C_HELPERS.items():
        assert f" {name}(" in text
        assert set(needed) <= set(C_HELPERS)
