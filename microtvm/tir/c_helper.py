"""C texts of the scalar functions that generated code calls: each is its intrinsic's meaning.

A core's own instructions are used where the compiler's macros say that it has them.
"""

from __future__ import annotations

from microtvm.tir.saturate import SATURATE_HELPERS

_Helper = tuple[tuple[str, ...], str]

_REQUANTIZE_HIGH = "(int32_t)(((int64_t){} * mult + (INT64_C(1) << 30)) >> 31)"


def _short_helpers(name: str, roundings: str, multiply: str, nudge: str) -> dict[str, _Helper]:
    """The C texts of one of the short forms; `nudge` makes the second rounding half away."""
    rounds = multiply == "smmlar"
    half, part = (" + (INT64_C(1) << 31)", " + 0x8000u") if rounds else ("", "")
    doubled = f"mtvm_requantize_{name}_doubled"
    plain = f"mtvm_requantize_{name}"
    args = "int32_t mult, int32_t shift, int32_t zero"
    return {
        doubled: (
            (),
            f"""\
/* x * mult * 2^(-33 - shift) with {roundings}; plus zero.
   mult is not negative, shift is 0 to 21, zero -256 to 256. */
static inline int32_t {doubled}(int32_t x, {args})
{{
    const int32_t offset = (2 * zero + 1) * (int32_t)(UINT32_C(1) << shift);
    int32_t high;
#ifdef __ARM_FEATURE_DSP
    __asm__("{multiply} %0, %1, %2, %3" : "=r"(high) : "r"(x), "r"(mult), "r"(offset));
#elif defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
    /* In halves of the factors, as the core has no longer product: nothing overflows. */
    const int32_t low = x & 0xffff, mult_low = mult & 0xffff, mult_high = mult >> 16;
    const int32_t middle = (x >> 16) * mult_low
        + (int32_t)((uint32_t)low * (uint32_t)mult_low >> 16);
    const uint32_t rest = (uint32_t)(low * mult_high + (middle & 0xffff)){part};
    high = (x >> 16) * mult_high + (middle >> 16) + (int32_t)(rest >> 16) + offset;
#else
    high = (int32_t)(((int64_t)x * mult{half}) >> 32) + offset;
#endif
    return (high{nudge}) >> (shift + 1);
}}
""",
        ),
        plain: (
            (doubled,),
            f"""\
/* The same of 2 * x, which is x * mult * 2^(-32 - shift); x is within -2^30 .. 2^30 - 1. */
static inline int32_t {plain}(int32_t x, {args})
{{
    return {doubled}(x * 2, mult, shift, zero);
}}
""",
        ),
    }


C_HELPERS: dict[str, _Helper] = {
    "mtvm_clz": (
        (),
        """\
/* Leading zeros of 32 bits; 32 for 0. */
static inline int32_t mtvm_clz(uint32_t x)
{
#if defined(__riscv) && !defined(__riscv_zbb)
    /* The compiler's library has a table for it, of 256 bytes. */
    int32_t n = x == 0u;
    for (int32_t step = 16; step > 0; step >>= 1) {
        if (x >> (32 - step) == 0u) {
            x <<= step;
            n += step;
        }
    }
    return n;
#else
    return x == 0u ? 32 : (int32_t)__builtin_clz((unsigned int)x);
#endif
}
""",
    ),
    "mtvm_srdhm": (
        (),
        """\
/* round(a * b / 2^31), halves up; saturates. */
static inline int32_t mtvm_srdhm(int32_t a, int32_t b)
{
    /* One product does not fit; with a constant factor the compiler sees that it is another. */
    if (a == b && a == INT32_MIN) {
        return INT32_MAX;
    }
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}
""",
    ),
    "mtvm_rdbp": (
        (),
        """\
/* round(x / 2^shift), halves away from zero; shift is 0 to 31. */
static inline int32_t mtvm_rdbp(int32_t x, int32_t shift)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << shift) - 1u);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> shift) + ((x & mask) > threshold);
}
""",
    ),
    "mtvm_requantize_right": (
        ("mtvm_rdbp",),
        f"""\
/* x * mult * 2^(exponent - 31) with two roundings: half up, then half away from zero.
   mult is not negative, exponent is -31 to 0. */
static inline int32_t mtvm_requantize_right(int32_t x, int32_t mult, int32_t exponent)
{{
    return mtvm_rdbp({_REQUANTIZE_HIGH.format("x")}, -exponent);
}}
""",
    ),
    "mtvm_requantize": (
        ("mtvm_rdbp",),
        f"""\
/* x * mult * 2^(exponent - 31) with two roundings: half up, then half away from zero.
   mult is not negative, exponent is -31 to 30; the scaled x fits 32 bits. */
static inline int32_t mtvm_requantize(int32_t x, int32_t mult, int32_t exponent)
{{
    const int32_t left = exponent > 0 ? exponent : 0;
    const int32_t scaled = (int32_t)((uint32_t)x << left);
    const int32_t high = {_REQUANTIZE_HIGH.format("scaled")};
    return mtvm_rdbp(high, left - exponent);
}}
""",
    ),
    **_short_helpers(
        "narrow", "two roundings, half up, then half away from zero", "smmlar", " + (x >> 31)"
    ),
    **_short_helpers("up", "two roundings, both half up", "smmlar", ""),
    **_short_helpers("floor", "one rounding, half up", "smmla", ""),
    **SATURATE_HELPERS,
    "mtvm_requantize_once": (
        (),
        """\
/* round(x * mult * 2^(exponent - 31)), halves away from zero.
   mult is not negative, exponent is -31 to 30; the result fits 32 bits. */
static inline int32_t mtvm_requantize_once(int32_t x, int32_t mult, int32_t exponent)
{
    const int32_t shift = 31 - exponent;
    const int64_t product = (int64_t)x * mult;
    return (int32_t)((product + (INT64_C(1) << (shift - 1)) - (product < 0)) >> shift);
}
""",
    ),
    "mtvm_floor_div": (
        (),
        """\
/* floor(a / b) */
static inline int32_t mtvm_floor_div(int32_t a, int32_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
""",
    ),
    "mtvm_floor_mod": (
        (),
        """\
/* a - b * floor(a / b) */
static inline int32_t mtvm_floor_mod(int32_t a, int32_t b)
{
    const int32_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
""",
    ),
    "mtvm_floor_div64": (
        (),
        """\
/* floor(a / b) */
static inline int64_t mtvm_floor_div64(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
""",
    ),
    "mtvm_floor_mod64": (
        (),
        """\
/* a - b * floor(a / b) */
static inline int64_t mtvm_floor_mod64(int64_t a, int64_t b)
{
    const int64_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
""",
    ),
}
"""C functions that generated code may call: the helpers that each needs before it, and its text."""
