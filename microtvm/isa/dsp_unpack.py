"""Four bytes of data to the two words that meet the weights; see `dsp_operand`."""

from __future__ import annotations

from microtvm.errors import ScheduleError
from microtvm.isa.dsp_operand import ODD_OFFSET, packed
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, Tensor, compute, placeholder
from microtvm.tir.expr import Expr

UNROLL = 4


def unpack(
    x: Stage, form: str, group: IterVar, which: IterVar, *, whole: bool, small: bool
) -> None:
    """Unpack a stage that `rewrite` made, a word at a time where words are `whole`; `small`: in a
    loop that serves every number of them."""
    if not whole:
        for axis in x.leaf[-2:]:
            x.unroll(axis)
        return
    if not small:
        factor = next(u for u in (UNROLL, 3, 2, 1) if group.extent % u == 0)
        _, inner = x.split(group, factor)
        x.unroll(inner)
    x.tensorize(which, intrinsic(form))


def intrinsic(form: str) -> TensorIntrin:
    """y[which, pair] of x[pair, parity], for pairs or for words that are only widened."""
    x = placeholder((2, 2), "int8", "x")

    def element(which: Expr, pair: Expr) -> Expr:
        return packed(form, lambda parity: x[pair, parity].astype("int32"), which)

    y: Tensor = compute((2, 2), element, "y")
    name = f"mtvm_unpack_{form if form == 'pairs' else 'words'}"

    def call(operands: list[COperand]) -> str:
        out, data = operands
        if out.strides[1] != 1 or data.strides != (2, 1):
            raise ScheduleError(
                f"{name} reads strides (2, 1) and writes pairs, "
                f"the operands have {data.strides} and {out.strides}"
            )
        return f"{name}({out.text}, {out.strides[0]}, {data.text});"

    return declare(name, y, [x], call, _PAIRS if form == "pairs" else _WORDS)


_HEAD = """\
MTVM_INLINE void {name}(int16_t *y, int32_t half, const int8_t *x)
{{
#ifdef MTVM_TILE_ASSEMBLY
    uint32_t word, evens, odds;
    memcpy(&word, x, sizeof word);
    {code}
    memcpy(y, &evens, sizeof evens);
    memcpy(y + half, &odds, sizeof odds);
#else
    for (int32_t p = 0; p < 2; ++p) {{
        y[p] = (int16_t)({even});
        y[half + p] = (int16_t)({odd});
    }}
#endif
}}
"""

_WORDS = (
    "/* Four bytes: the evens to one word of halfwords, the odds to another. */\n"
    + _HEAD.format(
        name="mtvm_unpack_words",
        code="""__asm__("sxtb16 %0, %1" : "=r"(evens) : "r"(word));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odds) : "r"(word));""",
        even="x[2 * p]",
        odd="x[2 * p + 1]",
    )
)

# 127 - x is x ^ 127 as an unsigned byte: so it stands beside x in a halfword, and negated alone.
_PAIRS = (
    f"/* Four bytes, in pairs: 256 * even - odd + {ODD_OFFSET} to one word, odd - {ODD_OFFSET} to "
    "another. */\n"
    + _HEAD.format(
        name="mtvm_unpack_pairs",
        code="""word ^= 0x7f007f00u;
    __asm__("rev16 %0, %1" : "=r"(evens) : "r"(word));
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(odds) : "r"(word));
    __asm__("ssub16 %0, %1, %0" : "+r"(odds) : "r"(0));""",
        even=f"256 * x[2 * p] - x[2 * p + 1] + {ODD_OFFSET}",
        odd=f"x[2 * p + 1] - {ODD_OFFSET}",
    )
)
