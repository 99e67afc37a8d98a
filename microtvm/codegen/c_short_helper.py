"""C texts of helper functions for compilers whose int has 16 bits: the same meaning, other ways.

Each stands in the place of one of `tir/c_helper.py` or `c_copy.py` that takes an int to have 32
bits, or is slow where shifts are loops and products of 32 bits are calls.
"""

from __future__ import annotations


def _requantize(name: str, roundings: str, half: str, nudge: str) -> str:
    """One of the short forms of requantisation: see `tir/c_helper.py`."""
    return f"""\
/* x * mult * 2^(-33 - shift) with {roundings}; plus zero.
   mult is not negative, shift is 0 to 21, zero -256 to 256. */
static inline int32_t mtvm_requantize_{name}_doubled(int32_t x, int32_t mult, int32_t shift,
                                                    int32_t zero)
{{
    const int32_t high = (int32_t)(((int64_t)x * mult{half}) >> 32);
    /* Shifted first, half of the last place is no sum of 32 bits that has to be shifted as well. */
    return (((high{nudge}) >> (uint8_t)shift) + (2 * (int16_t)zero + 1)) >> 1;
}}
"""


_HELPERS = {
    "mtvm_clz": """\
/* Leading zeros of 32 bits; 32 for 0. */
static inline int32_t mtvm_clz(uint32_t x)
{
    int32_t zeros = 32;
    for (; x != 0u; x >>= 1) {
        --zeros;
    }
    return zeros;
}
""",
    "mtvm_fill": """\
/* n bytes of one value. */
static inline void mtvm_fill(void *to, int32_t value, int32_t n)
{
    memset(to, (int)value, (size_t)n);
}
""",
    "mtvm_requantize_narrow_doubled": _requantize(
        "narrow",
        "two roundings, half up, then half away from zero",
        " + (INT64_C(1) << 31)",
        " + (x < 0 ? -1 : 0)",
    ),
    "mtvm_requantize_up_doubled": _requantize(
        "up", "two roundings, both half up", " + (INT64_C(1) << 31)", ""
    ),
    "mtvm_requantize_floor_doubled": _requantize("floor", "one rounding, half up", "", ""),
}


def short_int_helper(name: str) -> str | None:
    """The C of a helper that is another one here; None for those that are the same."""
    return _HELPERS.get(name)
