"""Register tiles for reductions that keep channels apart, on cores with the DSP extension.

SMLAD multiplies pairs of halfwords, so the image of one channel is held as words of two pixels, one
above the other: word (g, v) has the pixels (2g, v) and (2g + 1, v). A tile computes two rows of
outputs at a time, column by column; its weights stay in registers, in the pairs in which either row
meets the words, and words that neighbouring columns share are loaded once.

It is assembly because GCC sinks each load to its first use, where it stalls (Arm 100166, table 3-1:
N loads in a row take N + 1 cycles).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from microtvm.errors import ScheduleError
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.tensor import Tensor, compute, placeholder, reduce_axis
from microtvm.te.tensor import sum as te_sum

CHANNELS = 4
"""Channels whose pixels are unpacked at a time: the bytes of a word."""

REGISTERS = 14
"""What Thumb code has beside the stack pointer and the program counter."""

MAX_OFFSET = 4095
"""The largest immediate offset of LDR and STR, in bytes."""

Tap = tuple[int, int]
"""Row and column of a weight."""

Place = tuple[int, int]
"""Row of words and column of a word of the image."""


@dataclass(frozen=True)
class Use:
    """One multiplication: a word of the image, and the weights for its halves (None: not used)."""

    word: Place
    bottom: Tap | None
    top: Tap | None


@dataclass(frozen=True)
class DepthwiseTile:
    """`passes` times `rows` rows by `columns` columns of outputs of one channel.

    The image's rows begin at an even one; between passes too. Distances are in bytes: `x_row`
    between rows of words, `x_column` between words; `acc_row` between rows of accumulators, which
    are dense; `w_row` between rows of weights, which are int8 and dense. `fresh`: the tile is the
    whole sum, and overwrites the accumulators.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    rows: int
    columns: int
    passes: int
    x_row: int
    x_column: int
    acc_row: int
    w_row: int
    fresh: bool = True
    doubled: bool = False
    """Every weight counts twice: what follows may want twice the sum."""

    @property
    def _image(self) -> tuple[int, int, int]:
        """Rows, columns and halves of words that are read."""
        rows = self.passes * self.rows
        height = (rows - 1) * self.strides[0] + self.kernel[0]
        width = (self.columns - 1) * self.strides[1] + self.kernel[1]
        odd = self.kernel[0] > 1 or (rows > 1 and self.strides[0] % 2)
        return (height + 1) // 2, width, 2 if odd else 1

    # ---- what is multiplied ----

    def uses(self, row: int, column: int) -> Iterator[Use]:
        """The multiplications of one output of a pass."""
        first = row * self.strides[0]
        last = first + self.kernel[0] - 1
        for v in range(self.kernel[1]):
            for g in range(first // 2, last // 2 + 1):
                low, high = (
                    (q - first, v) if first <= q <= last else None for q in (2 * g, 2 * g + 1)
                )
                yield Use((g, column * self.strides[1] + v), low, high)

    @cached_property
    def words(self) -> tuple[tuple[Tap, Tap | None], ...]:
        """Pairs of weights that are held in registers: those that meet a whole word first."""
        found = [u for r in range(min(self.rows, 2)) for u in self.uses(r, 0)]
        pairs = dict.fromkeys((u.bottom, u.top) for u in found if u.bottom and u.top)
        halves = {tap for pair in pairs for tap in pair}
        single = dict.fromkeys(u.bottom or u.top for u in found if not (u.bottom and u.top))
        left = [tap for tap in single if tap is not None and tap not in halves]
        packed = [(a, b) for a, b in zip(left[::2], [*left[1::2], None], strict=False)]
        return (*((a, b) for a, b in pairs if a and b), *packed)

    def half_of(self, tap: Tap) -> tuple[int, str]:
        """The word that holds a weight, and in which half: B or T."""
        for k, pair in enumerate(self.words):
            if tap in pair:
                return k, "BT"[pair.index(tap)]
        raise AssertionError(tap)

    @property
    def accumulators(self) -> int:
        """Outputs at a time."""
        return min(2, self.rows)

    @property
    def temporaries(self) -> int:
        """Registers for words of the image; one of them first holds the pointer to the weights."""
        return min(6, REGISTERS - 2 - self.accumulators - len(self.words))

    @property
    def fits(self) -> bool:
        """Whether the weights can be held and all offsets encoded."""
        steps = self.rows * self.strides[0] % 2 == 0 or self.passes == 1
        x = ((self.rows - 1) * self.strides[0] + self.kernel[0] - 1) // 2 * self.x_row
        x += ((self.columns - 1) * self.strides[1] + self.kernel[1] - 1) * self.x_column
        acc = (self.rows - 1) * self.acc_row + (self.columns - 1) * 4
        w = (self.kernel[0] - 1) * self.w_row + self.kernel[1] - 1
        step = max(self.x_step, self.rows * self.acc_row)
        return steps and self.temporaries >= 1 and max(x, acc, w, step) <= MAX_OFFSET

    @property
    def x_step(self) -> int:
        """Bytes of the image between passes."""
        return self.rows * self.strides[0] // 2 * self.x_row

    @property
    def counted(self) -> bool:
        """Whether there is a loop; the number of passes is an operand then."""
        return self.passes > 1

    # ---- assembly ----

    def assembly(self) -> list[str]:
        """The instructions, on accumulators a<k>, weights u<k>, words t<k>; pointers acc, x, w."""
        lines = list(self._load_weights())
        if self.counted:
            lines.append("1:")
        image = _Image(self)
        for row in range(0, self.rows, 2):
            pair = range(row, min(row + 2, self.rows))
            for column in range(self.columns):
                lines += self._outputs(pair, column, image)
        if self.counted:
            lines += [
                f"add %[x], #{self.x_step}",
                f"add %[acc], #{self.rows * self.acc_row}",
                "MOVE %[t0], %[limit]",
                "cmp %[x], %[t0]",
                "bne 1b",
            ]
        return lines

    def _load_weights(self) -> Iterator[str]:
        spare = ["a0", "a1"][: self.accumulators]
        for begin in range(0, len(self.words), len(spare)):
            group = list(enumerate(self.words))[begin : begin + len(spare)]
            for (k, (low, high)), extra in zip(group, spare, strict=False):
                yield f"ldrsb %[u{k}], [%[w], #{self._weight(low)}]"
                if high is not None:
                    yield f"ldrsb %[{extra}], [%[w], #{self._weight(high)}]"
            for (k, (_, high)), extra in zip(group, spare, strict=False):
                if high is not None:
                    yield f"pkhbt %[u{k}], %[u{k}], %[{extra}], lsl #16"
                if self.doubled:
                    yield f"sadd16 %[u{k}], %[u{k}], %[u{k}]"

    def _weight(self, tap: Tap) -> int:
        return tap[0] * self.w_row + tap[1]

    def order(self, pair: range, column: int) -> list[tuple[int, Use]]:
        """The multiplications of outputs of one column: those that meet the same word together."""
        found = [(r - pair.start, u) for r in pair for u in self.uses(r, column)]
        return sorted(found, key=lambda item: (item[1].word[1], item[1].word[0], item[0]))

    def _outputs(self, pair: range, column: int, image: _Image) -> Iterator[str]:
        offset = [r * self.acc_row + 4 * column for r in pair]
        started: set[int] = set()
        if not self.fresh:
            yield from (f"ldr %[a{k}], [%[acc], #{at}]" for k, at in enumerate(offset))
            started.update(range(len(pair)))
        for k, use in self.order(pair, column):
            yield from image.load(use.word)
            x, acc = f"%[t{image.held[use.word]}]", f"%[a{k}]"
            if use.bottom is not None and use.top is not None:
                name, w = "smlad" if k in started else "smuad", (use.bottom, use.top)
                weight = f"%[u{self.words.index(w)}]"
            else:
                tap = use.bottom or use.top
                assert tap is not None
                word, half = self.half_of(tap)
                name = "smla" if k in started else "smul"
                name, weight = f"{name}{'b' if use.bottom else 't'}{half.lower()}", f"%[u{word}]"
            yield f"{name} {acc}, {x}, {weight}" + (f", {acc}" if k in started else "")
            started.add(k)
            image.used()
        yield from (f"str %[a{k}], [%[acc], #{at}]" for k, at in enumerate(offset))

    # ---- C ----

    @property
    def name(self) -> str:
        """The function's name: everything that its text depends on."""
        kernel, strides = (f"{a}x{b}" for a, b in (self.kernel, self.strides))
        count = "n" if self.counted else "1"
        return (
            f"mtvm_depthwise_{'set' if self.fresh else 'add'}{'2' if self.doubled else ''}"
            f"_{kernel}_s{strides}"
            f"_{count}x{self.rows}x{self.columns}"
            f"_x{self.x_row}_{self.x_column}_a{self.acc_row}_w{self.w_row}"
        )

    def source(self) -> str:
        """The function: accumulators in memory, then the operands."""
        outs = [f"a{k}" for k in range(self.accumulators)]
        held = [f"u{k}" for k in range(len(self.words))]
        words = [f"t{k}" for k in range(self.temporaries)]
        spare = [t for t in words if t != words[-1]]
        text = "".join(f'        "{line}\\n\\t"\n' for line in self.assembly())
        text = text.replace(f"%[{words[-1]}]", "%[w]").replace('"MOVE ', 'MTVM_TILE_MOVE " ')
        limit = "[limit] MTVM_TILE_LIMIT(limit)" if self.counted else ""
        count = "passes" if self.counted else "1"
        early = ", ".join(f'[{r}] "=&r"({r})' for r in (*outs, *held, *spare))
        sign = "=" if self.fresh else "+="
        kernel = f"{self.kernel[0]}x{self.kernel[1]}"
        lines = [
            f"/* acc {sign} {count} times {self.rows} rows by {self.columns} columns of {kernel} "
            "products each, on pairs of pixels. */",
            f"MTVM_CALLED void {self.name}(int32_t *restrict acc,",
            "    const int16_t *restrict x, const int8_t *restrict w"
            f"{', int32_t passes' if self.counted else ''})",
            "{",
            "#ifdef MTVM_TILE_ASSEMBLY",
            f"    uint32_t {', '.join((*outs, *held, *spare))};",
        ]
        if self.counted:
            lines.append(f"    const int16_t *const limit = x + passes * {self.x_step // 2};")
        lines += [
            "    __asm__ volatile(",
            text.rstrip("\n"),
            f"        : {early},",
            '          [acc] "+r"(acc), [x] "+r"(x), [w] "+r"(w)',
            f"        : {limit}",
            '        : "cc", "memory");',
            "#else",
            *self._portable(count),
            "#endif",
            "}",
            "",
        ]
        return "\n".join(lines)

    def _portable(self, count: str) -> list[str]:
        """The same in C, for compilers that can't give a function all registers."""
        row, column = (s if s > 1 else 0 for s in self.strides)
        h = f"r * {row} + y" if row else "r + y"
        v = f"s * {column} + z" if column else "s + z"
        place = f"acc[r * {self.acc_row // 4} + s]"
        return [
            f"    for (int32_t r = 0; r < {count} * {self.rows}; ++r) {{",
            f"        for (int32_t s = 0; s < {self.columns}; ++s) {{",
            f"            int32_t sum = {'0' if self.fresh else place};",
            f"            for (int32_t y = 0; y < {self.kernel[0]}; ++y) {{",
            f"                for (int32_t z = 0; z < {self.kernel[1]}; ++z) {{",
            f"                    const int32_t h = {h};",
            f"                    sum += x[h / 2 * {self.x_row // 2} + ({v}) * "
            f"{self.x_column // 2} + h % 2] *",
            f"                        w[y * {self.w_row} + z]{' * 2' if self.doubled else ''};",
            "                }",
            "            }",
            f"            {place} = sum;",
            "        }",
            "    }",
        ]

    def intrinsic(self) -> TensorIntrin:
        """acc[r, s] is, or grows by, the sum of w[y, z] times the pixels that it meets."""
        (kernel_h, kernel_w), (stride_h, stride_w) = self.kernel, self.strides
        rows = self.passes * self.rows
        x = placeholder((*self._image[:2], 2), "int16", "x")
        w = placeholder(self.kernel, "int8", "w")
        y, z = reduce_axis(kernel_h, "y"), reduce_axis(kernel_w, "z")
        weight = w[y.var, z.var].astype("int32")
        factor = weight * 2 if self.doubled else weight
        out: Tensor = compute(
            (rows, self.columns),
            lambda r, s: te_sum(
                x[(r * stride_h + y) // 2, s * stride_w + z, (r * stride_h + y) % 2].astype("int32")
                * factor,
                axis=[y, z],
            ),
            "acc",
        )
        scalars = (self.passes,) if self.counted else ()
        return declare(self.name, out, [x, w], self._call, self.source(), scalars, fresh=self.fresh)

    def _call(self, operands: list[COperand]) -> str:
        acc, x, w, *scalars = operands
        for operand, wanted, extents in (
            (x, (self.x_row // 2, self.x_column // 2, 1), self._image),
            (w, (self.w_row, 1), self.kernel),
            (acc, (self.acc_row // 4, 1), (self.passes * self.rows, self.columns)),
        ):
            if operand.registers or any(
                a != b and n > 1 for a, b, n in zip(operand.strides, wanted, extents, strict=True)
            ):
                raise ScheduleError(
                    f"{self.name} takes strides {wanted} in memory, the operand has "
                    f"{operand.strides}"
                )
        words = [acc.text, x.text, w.text, *(o.text for o in scalars)]
        return f"{self.name}({', '.join(words)});"


class _Image:
    """Which registers hold which words of the image, while a pass is written."""

    def __init__(self, tile: DepthwiseTile) -> None:
        self.x_row, self.x_column = tile.x_row, tile.x_column
        self.left = [
            use.word
            for row in range(0, tile.rows, 2)
            for column in range(tile.columns)
            for _, use in tile.order(range(row, min(row + 2, tile.rows)), column)
        ]
        """The words that are still to be met, in order."""
        self.held: dict[Place, int] = {}
        self.free = list(range(tile.temporaries))

    def used(self) -> None:
        """The next word was met."""
        word = self.left.pop(0)
        if word not in self.left:
            self.free.append(self.held.pop(word))
            self.free.sort()

    def load(self, word: Place) -> Iterator[str]:
        """Load a word that isn't held, and with it those that come next, as registers are free.

        Where none is, that word goes which is met last.
        """
        if word in self.held:
            return
        if not self.free:
            last = max(self.held, key=self.left.index)
            self.free.append(self.held.pop(last))
        for coming in dict.fromkeys(self.left):
            if not self.free:
                break
            if coming not in self.held:
                self.held[coming] = self.free.pop(0)
                offset = coming[0] * self.x_row + coming[1] * self.x_column
                yield f"ldr %[t{self.held[coming]}], [%[x], #{offset}]"


PAIRS = "mtvm_pairs"

_PAIRS_SOURCE = f"""\
/* Four channels of two pixels, `row` bytes apart, as four pairs of halfwords. */
MTVM_INLINE void {PAIRS}(int16_t *restrict out, const int8_t *restrict x, int32_t row)
{{
#ifdef MTVM_TILE_ASSEMBLY
    uint32_t above, below, word;
    __builtin_memcpy(&above, x, 4);
    __builtin_memcpy(&below, x + row, 4);
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word) : "r"(above), "r"(below));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(below) : "r"(below), "r"(above));
    __asm__("sxtb16 %0, %1" : "=r"(above) : "r"(word));
    __builtin_memcpy(out, &above, 4);
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(word) : "r"(word));
    __builtin_memcpy(out + 2, &word, 4);
    __asm__("sxtb16 %0, %1" : "=r"(word) : "r"(below));
    __builtin_memcpy(out + 4, &word, 4);
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(below) : "r"(below));
    __builtin_memcpy(out + 6, &below, 4);
#else
    for (int32_t c = 0; c < 4; ++c) {{
        out[2 * c] = x[c];
        out[2 * c + 1] = x[row + c];
    }}
#endif
}}
"""


def pairs(row: int) -> TensorIntrin:
    """out[c, p] = x[p, c] for four channels c of two pixels p, `row` bytes apart, widened."""
    x = placeholder((2, CHANNELS), "int8", "x")
    out: Tensor = compute((CHANNELS, 2), lambda c, p: x[p, c].astype("int16"), "out")

    def call(operands: list[COperand]) -> str:
        found, source, distance = operands
        if (found.strides, source.strides) != ((2, 1), (row, 1)):
            raise ScheduleError(
                f"{PAIRS} packs pixels {row} bytes apart, "
                f"found strides {found.strides} and {source.strides}"
            )
        return f"{PAIRS}({found.text}, {source.text}, {distance.text});"

    return declare(PAIRS, out, [x], call, _PAIRS_SOURCE, (row,), told=True)
