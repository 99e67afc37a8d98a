"""Pure intrinsic functions of scalars: what a `Call` means, exactly, and which C function it is.

`srdhm` and `rdbp` are gemmlowp's SaturatingRoundingDoublingHighMul (rounding half up, as TensorFlow
Lite's reference kernels have it) and RoundingDivideByPOT. A multiplier is `mult * 2**(exponent -
31)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from microtvm.errors import IRError
from microtvm.tir.dtype import dtype_range, round_to
from microtvm.tir.expr import Call, Expr, FloatImm, IntImm, Operand, as_expr, const
from microtvm.tir.saturate import saturate8, saturate8_shift, saturate_variant

Interval = tuple[int, int]
"""Smallest and largest value, both included."""

INT32 = dtype_range("int32")
EXPONENT: Interval = (-31, 30)
"""Exponents that `requantize` takes."""


@dataclass(frozen=True)
class ScalarFunction:
    """One intrinsic.

    `args` has the dtypes that each argument may have; all arguments that may have several have the
    same. `result` is the result's dtype, '' for that of the first argument. `evaluate` is the exact
    meaning on Python numbers; it raises IRError outside its domain. A float result is rounded to
    the dtype by the caller. `bounds` maps the intervals of integer arguments to the result's; None
    where there is nothing to say. `c_names` has the C function for each dtype of the first
    argument. `c_variant` may name a shorter one that is right for arguments in the given intervals.
    """

    name: str
    args: tuple[tuple[str, ...], ...]
    result: str
    evaluate: Callable[..., int | float]
    bounds: Callable[..., Interval | None]
    c_names: dict[str, str]
    c_variant: Callable[..., str | None]
    c_args: tuple[str, ...] = ()
    """Dtypes of the C function's parameters, where they are not the arguments' own."""

    def c_name(self, dtype: str, ranges: tuple[Interval | None, ...]) -> str:
        """The C function to call for a first argument of `dtype` and arguments within `ranges`."""
        return self.c_variant(*ranges) or self.c_names[dtype]


def _saturate(value: int) -> int:
    return max(INT32[0], min(INT32[1], value))


def _check(value: int, what: str) -> int:
    if not INT32[0] <= value <= INT32[1]:
        raise IRError(f"{what} is {value}, which does not fit int32")
    return value


def _halves_away(value: int, shift: int) -> int:
    """value / 2**shift, rounded half away from zero."""
    if shift == 0:
        return value
    rounded = (abs(value) + (1 << (shift - 1))) >> shift
    return rounded if value >= 0 else -rounded


def clz(value: int) -> int:
    """Leading zeros of the 32 bits of `value` (int32 or uint32); 32 for 0."""
    return 32 - (value & 0xFFFFFFFF).bit_length()


def srdhm(a: int, b: int) -> int:
    """round(a * b / 2**31), halves up; the one product that does not fit int32 saturates."""
    return _saturate((a * b + (1 << 30)) >> 31)


def rdbp(value: int, shift: int) -> int:
    """round(value / 2**shift), halves away from zero; shift is 0 to 31."""
    if not 0 <= shift <= 31:
        raise IRError(f"rdbp shifts by {shift}; 0 to 31 was expected")
    return _halves_away(value, shift)


def _check_multiplier(mult: int, exponent: int, allowed: Interval, name: str) -> None:
    if mult < 0:
        raise IRError(f"{name} by the multiplier {mult}; it must not be negative")
    if not allowed[0] <= exponent <= allowed[1]:
        raise IRError(
            f"{name} with the exponent {exponent}; {allowed[0]} to {allowed[1]} was expected"
        )


def requantize(value: int, mult: int, exponent: int) -> int:
    """value * mult * 2**(exponent - 31) with TensorFlow Lite's two roundings.

    mult is 0 to 2**31 - 1, exponent -31 to 30, and value * 2**max(exponent, 0) must fit int32.
    """
    _check_multiplier(mult, exponent, EXPONENT, "requantize")
    left = _check(value << max(exponent, 0), f"{value} << {exponent}")
    return rdbp(srdhm(left, mult), max(-exponent, 0))


def requantize_right(value: int, mult: int, exponent: int) -> int:
    """`requantize` for exponents -31 to 0."""
    _check_multiplier(mult, exponent, (EXPONENT[0], 0), "requantize_right")
    return rdbp(srdhm(value, mult), -exponent)


NARROW_VALUE: Interval = (-(1 << 30), (1 << 30) - 1)
NARROW_SHIFT: Interval = (0, 21)
NARROW_ZERO: Interval = (-256, 256)
"""Domain of the short forms: neither a product's high word, below 2**30, nor its sum with
`short_offset`, at most 513 * 2**21, leaves 32 bits."""


SHORT_FORMS = ("requantize_narrow", "requantize_up", "requantize_floor")
"""Requantisation of values in that domain; each has a variant, `_doubled`, of twice the value."""


def short_offset(shift: int, zero: int) -> int:
    """Half of the last place and the zero point, as the short forms add them before they shift."""
    return (2 * zero + 1) << shift


def _check_short(value: int, mult: int, shift: int, zero: int, name: str) -> None:
    _check_multiplier(mult, shift, NARROW_SHIFT, name)
    if not NARROW_VALUE[0] <= value <= NARROW_VALUE[1]:
        raise IRError(f"{name} of {value}, which has more than 31 bits")
    if not NARROW_ZERO[0] <= zero <= NARROW_ZERO[1]:
        raise IRError(f"{name} plus {zero}; -256 to 256 was expected")


def requantize_narrow(value: int, mult: int, shift: int, zero: int) -> int:
    """`requantize` for the exponent -1 - shift, plus `zero`, of values within -2**30 .. 2**30 - 1.

    shift is 0 to 21, zero -256 to 256. In these bounds nothing overflows 32 bits, the second
    rounding and the zero point are one constant that the product is added to, and the whole is four
    instructions on a core that has SMMLAR.
    """
    _check_short(value, mult, shift, zero, "requantize_narrow")
    return rdbp(srdhm(value, mult), shift + 1) + zero


def requantize_up(value: int, mult: int, shift: int, zero: int) -> int:
    """`requantize_narrow` with the second rounding half up: an instruction less."""
    _check_short(value, mult, shift, zero, "requantize_up")
    return (srdhm(value, mult) + short_offset(shift, zero)) >> (shift + 1)


def requantize_floor(value: int, mult: int, shift: int, zero: int) -> int:
    """value * mult * 2**(-32 - shift) rounded once, half up, plus `zero`; else as `requantize_up`.

    The first step is not rounded: what it drops can't change the second.
    """
    _check_short(value, mult, shift, zero, "requantize_floor")
    return (((2 * value * mult) >> 32) + short_offset(shift, zero)) >> (shift + 1)


def requantize_narrow_doubled(doubled: int, mult: int, shift: int, zero: int) -> int:
    """`requantize_narrow` of half an int32, which may have been shifted to its place anyway."""
    _check_multiplier(mult, shift, NARROW_SHIFT, "requantize_narrow_doubled")
    return rdbp((doubled * mult + (1 << 31)) >> 32, shift + 1) + zero


def requantize_up_doubled(doubled: int, mult: int, shift: int, zero: int) -> int:
    """`requantize_up` of half an int32."""
    _check_multiplier(mult, shift, NARROW_SHIFT, "requantize_up_doubled")
    high = (doubled * mult + (1 << 31)) >> 32
    return (high + short_offset(shift, zero)) >> (shift + 1)


def requantize_floor_doubled(doubled: int, mult: int, shift: int, zero: int) -> int:
    """`requantize_floor` of half an int32."""
    _check_multiplier(mult, shift, NARROW_SHIFT, "requantize_floor_doubled")
    return (((doubled * mult) >> 32) + short_offset(shift, zero)) >> (shift + 1)


def requantize_once(value: int, mult: int, exponent: int) -> int:
    """value * mult * 2**(exponent - 31) rounded once, halves away from zero; it must fit int32."""
    _check_multiplier(mult, exponent, EXPONENT, "requantize_once")
    result = _halves_away(value * mult, 31 - exponent)
    return _check(result, f"requantize_once of {value}")


def round_away(value: float) -> float:
    """The nearest whole number, halves away from zero."""
    if not math.isfinite(value) or abs(value) >= 2.0**52:
        return value
    whole = float(math.trunc(value))
    if abs(value - whole) >= 0.5:
        whole += math.copysign(1.0, value)
    return math.copysign(whole, value)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _sqrt(value: float) -> float:
    return math.sqrt(value) if value >= 0.0 or math.isnan(value) else math.nan


def _floor(value: float) -> float:
    return (
        math.copysign(float(math.floor(value)), value)
        if math.isfinite(value) and value != 0.0
        else value
    )


def _clz_bounds(a: Interval) -> Interval:
    if a[0] < 0:
        return (0, 32) if a[1] >= 0 else (0, 0)
    return clz(a[1]), clz(a[0])


def _corner_bounds(
    meaning: Callable[..., int], domain: tuple[Interval | None, ...]
) -> Callable[..., Interval]:
    """Bounds of a function that is monotone in each argument, restricted to its domain."""

    def bounds(*ranges: Interval) -> Interval:
        ends = []
        for known, allowed in zip(ranges, domain, strict=True):
            if allowed is not None:
                known = max(known[0], allowed[0]), min(known[1], allowed[1])
                if known[0] > known[1]:
                    return INT32
            ends.append(known)
        values = [_saturate(meaning(*corner)) for corner in product(*ends)]
        return min(values), max(values)

    return bounds


def _unchecked_requantize(value: int, mult: int, exponent: int) -> int:
    product_high = ((value << max(exponent, 0)) * mult + (1 << 30)) >> 31
    return _halves_away(product_high, max(-exponent, 0))


def _nothing(*ranges: Interval | None) -> None:
    return None


def _requantize_variant(
    value: Interval | None, mult: Interval | None, exponent: Interval | None
) -> str | None:
    return "mtvm_requantize_right" if exponent is not None and exponent[1] <= 0 else None


def _integer(
    name: str,
    arity: int,
    evaluate: Callable[..., int],
    bounds: Callable[..., Interval | None],
    variant: Callable[..., str | None] = _nothing,
) -> ScalarFunction:
    args = (("int32",),) * arity
    return ScalarFunction(name, args, "int32", evaluate, bounds, {"int32": f"mtvm_{name}"}, variant)


def _floating(name: str, evaluate: Callable[[float], float], c_name: str) -> ScalarFunction:
    names = {"float32": c_name + "f", "float64": c_name}
    return ScalarFunction(name, (("float32", "float64"),), "", evaluate, _nothing, names, _nothing)


_MULT: Interval = (0, INT32[1])


def _short(meaning: Callable[..., int], value: Interval) -> ScalarFunction:
    domain = (value, _MULT, NARROW_SHIFT, NARROW_ZERO)
    return _integer(meaning.__name__, 4, meaning, _corner_bounds(meaning, domain))


FUNCTIONS: dict[str, ScalarFunction] = {
    f.name: f
    for f in (
        ScalarFunction(
            "clz", (("int32", "uint32"),), "int32", clz, _clz_bounds,
            {"int32": "mtvm_clz", "uint32": "mtvm_clz"}, _nothing, ("uint32",),
        ),
        _integer("srdhm", 2, srdhm, _corner_bounds(srdhm, (None, None))),
        _integer("rdbp", 2, rdbp, _corner_bounds(rdbp, (None, (0, 31)))),
        _integer(
            "requantize", 3, requantize,
            _corner_bounds(_unchecked_requantize, (None, _MULT, EXPONENT)), _requantize_variant,
        ),
        _integer(
            "requantize_right", 3, requantize_right,
            _corner_bounds(_unchecked_requantize, (None, _MULT, (EXPONENT[0], 0))),
        ),
        _integer("saturate8", 1, saturate8, _corner_bounds(saturate8, (None,))),
        _integer(
            "saturate8_shift", 2, saturate8_shift,
            _corner_bounds(saturate8_shift, (None, (0, 31))), saturate_variant,
        ),
        *(
            _short(meaning, value)
            for meanings, value in (
                ((requantize_narrow, requantize_up, requantize_floor), NARROW_VALUE),
                (
                    (
                        requantize_narrow_doubled,
                        requantize_up_doubled,
                        requantize_floor_doubled,
                    ),
                    INT32,
                ),
            )
            for meaning in meanings
        ),
        _integer(
            "requantize_once", 3, requantize_once,
            _corner_bounds(
                lambda value, mult, exponent: _halves_away(value * mult, 31 - exponent),
                (None, _MULT, EXPONENT),
            ),
        ),
        _floating("round_away", round_away, "round"),
        _floating("exp", _exp, "exp"),
        _floating("tanh", math.tanh, "tanh"),
        _floating("sqrt", _sqrt, "sqrt"),
        _floating("floor", _floor, "floor"),
        _floating("abs", abs, "fabs"),
    )
}  # fmt: skip


def scalar_function(name: str) -> ScalarFunction:
    """The intrinsic of that name; IRError if there is none."""
    found = FUNCTIONS.get(name)
    if found is None:
        raise IRError(f"no intrinsic is named {name!r}; known: {', '.join(FUNCTIONS)}")
    return found


def call(name: str, *args: Operand) -> Expr:
    """A call of an intrinsic; evaluated now if all arguments are constants.

    Python numbers become int32. Raises IRError if the intrinsic does not take these arguments.
    """
    function = scalar_function(name)
    if len(args) != len(function.args):
        raise IRError(f"{name} takes {len(function.args)} arguments, not {len(args)}")
    exprs = tuple(as_expr(arg) for arg in args)
    for position, (expr, allowed) in enumerate(zip(exprs, function.args, strict=True)):
        if expr.dtype not in allowed:
            raise IRError(
                f"argument {position} of {name} is {expr.dtype}; "
                f"{' or '.join(allowed)} was expected"
            )
    dtype = function.result or exprs[0].dtype
    values = [e.value for e in exprs if isinstance(e, IntImm | FloatImm)]
    if len(values) == len(exprs):
        return const(round_to(dtype, function.evaluate(*values)), dtype)
    return Call(name, exprs, dtype)
