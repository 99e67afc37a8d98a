"""Saturation to 8 bits, also behind a shift: one instruction, SSAT, where the core has it.

SSAT's shift is part of the instruction, so that each shift has a C function of its own; where it is
not known before the call, the general one serves.
"""

from __future__ import annotations

from microtvm.errors import IRError


def saturate8(value: int) -> int:
    """The nearest int8."""
    return max(-128, min(127, value))


def saturate8_shift(value: int, shift: int) -> int:
    """The int8 nearest to value / 2**shift rounded down; shift is 0 to 31."""
    if not 0 <= shift <= 31:
        raise IRError(f"saturate8_shift shifts by {shift}; 0 to 31 was expected")
    return saturate8(value >> shift)


def saturate_variant(value: tuple[int, int] | None, shift: tuple[int, int] | None) -> str | None:
    """The C function for a shift that is known; None where it isn't, or is 0."""
    if shift is None or shift[0] != shift[1] or not shift[0]:
        return None
    return f"mtvm_saturate8_asr{shift[0]}"


def _helper(shift: int) -> str:
    return f"""\
/* The value of -128 .. 127 that is nearest to floor(x / 2^{shift}); shift is {shift}. */
static inline int32_t mtvm_saturate8_asr{shift}(int32_t x, int32_t shift)
{{
#ifdef __ARM_FEATURE_SAT
    int32_t result;
    (void)shift;
    __asm__("ssat %0, #8, %1, asr #{shift}" : "=r"(result) : "r"(x));
    return result;
#else
    return mtvm_saturate8(x >> shift);
#endif
}}
"""


SATURATE_HELPERS: dict[str, tuple[tuple[str, ...], str]] = {
    "mtvm_saturate8": (
        (),
        """\
/* The nearest value of -128 .. 127. */
static inline int32_t mtvm_saturate8(int32_t x)
{
#ifdef __ARM_FEATURE_SAT
    int32_t result;
    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
    return result;
#else
    const int32_t low = x < -128 ? -128 : x;
    return low > 127 ? 127 : low;
#endif
}
""",
    ),
    "mtvm_saturate8_shift": (
        ("mtvm_saturate8",),
        """\
/* The value of -128 .. 127 that is nearest to floor(x / 2^shift); shift is 0 to 31. */
static inline int32_t mtvm_saturate8_shift(int32_t x, int32_t shift)
{
    return mtvm_saturate8(x >> shift);
}
""",
    ),
    **{f"mtvm_saturate8_asr{n}": (("mtvm_saturate8",), _helper(n)) for n in range(1, 32)},
}
"""C functions, as `c_helper.C_HELPERS` has them."""
