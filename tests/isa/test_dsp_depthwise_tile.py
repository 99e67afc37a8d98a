"""Depthwise tiles of the DSP extension: what they compute, and what is not taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.codegen.flatten import flatten
from microtvm.codegen.share import share
from microtvm.errors import ScheduleError
from microtvm.isa.dsp_depthwise_tile import DepthwiseTile, pairs
from microtvm.isa.schedule import Choice, apply
from microtvm.isa.template import Knob
from microtvm.target import load_cpu
from microtvm.te.intrin import COperand
from microtvm.tir.expr import const
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import IntrinsicCall, walk
from microtvm.util import Array
from tests.codegen.c_library import CLibrary

NAME = "dsp.depthwise_product"
HEADERS = Path(__file__).parents[2] / "runtime_c" / "include"


# ---- the assembly, executed ----


def _half(word: int, which: str) -> int:
    value = word >> 16 if which == "t" else word
    return (value & 0xFFFF ^ 0x8000) - 0x8000


def run(tile: DepthwiseTile, x: Array, w: Array, acc: Array) -> None:
    """Execute a tile's instructions: x int16 and w int8 are read, acc int32 is changed."""
    memory = {"x": x.view(np.uint8), "w": w.view(np.uint8), "acc": acc.view(np.uint8)}
    at = {"x": 0, "w": 0, "acc": 0}
    r: dict[str, int] = {}
    lines = tile.assembly()
    begin = lines.index("1:") if "1:" in lines else 0
    todo = [*lines[:begin], *lines[begin:] * tile.passes]
    for line in todo:
        op, *args = re.findall(r"[a-z0-9]+", line.lower().replace("lsl #16", ""))
        place = memory.get(args[1] if len(args) > 1 else "")
        if op in ("ldr", "ldrsb"):
            assert place is not None
            offset, size = at[args[1]] + int(args[2]), 4 if op == "ldr" else 1
            assert 0 <= int(args[2]) <= 4095
            kind = "<i4" if op == "ldr" else "i1"
            r[args[0]] = int(place[offset : offset + size].view(kind)[0]) & 0xFFFFFFFF
        elif op == "str":
            assert place is not None
            offset = at[args[1]] + int(args[2])
            place[offset : offset + 4].view("<i4")[0] = (r[args[0]] ^ 1 << 31) - (1 << 31)
        elif op == "pkhbt":
            r[args[0]] = r[args[1]] & 0xFFFF | (r[args[2]] & 0xFFFF) << 16
        elif op == "sadd16":
            low, high = (2 * _half(r[args[1]], h) & 0xFFFF for h in "bt")
            r[args[0]] = low | high << 16
        elif op[:4] in ("smla", "smul", "smua"):
            start = r[args[3]] if len(args) > 3 else 0
            halves = ["bb", "tt"] if op in ("smlad", "smuad") else [op[4:]]
            total = sum(_half(r[args[1]], a) * _half(r[args[2]], b) for a, b in halves)
            r[args[0]] = (start + total) & 0xFFFFFFFF
        elif op == "add":
            at[args[0]] += int(args[1])
        else:
            assert op in ("move", "cmp", "bne", "1"), line


def _tile(rng: np.random.Generator) -> DepthwiseTile:
    kernel = (int(rng.integers(1, 11)), int(rng.integers(1, 4)))
    rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    passes = 1 if rows % 2 else int(rng.integers(1, 4))
    strides = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    return DepthwiseTile(
        kernel, strides, rows, columns, passes, 16, 16 * 40, 4 * columns, kernel[1],
        fresh=bool(rng.integers(2)), doubled=bool(rng.integers(2)),
    )  # fmt: skip


def test_instructions_compute_the_meaning() -> None:
    rng = np.random.default_rng(1)
    executed = 0
    while executed < 120:
        tile = _tile(rng)
        if not tile.fits:
            assert tile.temporaries < 1 or tile.columns > 2
            continue
        executed += 1
        x = rng.integers(-128, 128, (12, 40, 4, 2)).astype(np.int16)
        w = rng.integers(-128, 128, tile.kernel).astype(np.int8)
        rows = tile.passes * tile.rows
        acc = rng.integers(-1000, 1000, (rows, tile.columns)).astype(np.int32)
        image = x[:, :, 0, :].reshape(12, 80).T.astype(np.int64)
        wanted = np.zeros_like(acc) if tile.fresh else acc.copy()
        for r in range(rows):
            for s in range(tile.columns):
                top, left = r * tile.strides[0], s * tile.strides[1]
                patch = image[top : top + tile.kernel[0], left : left + tile.kernel[1]]
                wanted[r, s] += (patch * w * (2 if tile.doubled else 1)).sum()
        run(tile, x.reshape(-1), w.reshape(-1), acc.reshape(-1))
        np.testing.assert_array_equal(acc, wanted, err_msg=tile.name)


def test_names_tell_texts_apart() -> None:
    rng = np.random.default_rng(2)
    texts: dict[str, set[str]] = {}
    for tile in [_tile(rng) for _ in range(200)]:
        if tile.fits:
            texts.setdefault(tile.name, set()).add(tile.source())
    assert all(len(found) == 1 for found in texts.values())


def test_words_that_all_rows_share_are_loaded_once() -> None:
    """Three columns of two rows of words for the first output, then one column for each."""
    tile = DepthwiseTile((3, 3), (1, 1), 2, 6, 1, 16, 64, 24, 3)
    assert sum(line.startswith("ldr ") for line in tile.assembly()) == 2 * (6 + 2)


# ---- operands ----

TILE = DepthwiseTile((3, 3), (1, 1), 2, 5, 13, 16, 224, 20, 3)
ACC, X, W = COperand("acc", (), (5, 1)), COperand("x", (), (8, 112, 1)), COperand("w", (), (3, 1))


def test_operands_as_declared() -> None:
    assert TILE.intrinsic().call([ACC, X, W, COperand("13", (), ())]) == (
        f"{TILE.name}(acc, x, w, 13);"
    )


@pytest.mark.parametrize(
    ("operands", "wanted"),
    [
        ([COperand("acc", (), (6, 1)), X, W], r"\(5, 1\)"),
        ([COperand("", ("a", "b"), (5, 1)), X, W], r"\(5, 1\) in memory"),
        ([ACC, COperand("x", (), (16, 112, 1)), W], r"\(8, 112, 1\)"),
        ([ACC, X, COperand("w", (), (1, 3))], r"\(3, 1\)"),
    ],
)
def test_other_operands(operands: list[COperand], wanted: str) -> None:
    with pytest.raises(ScheduleError, match=f"{TILE.name} takes strides {wanted}"):
        TILE.intrinsic().call(operands)


def test_pixels_elsewhere() -> None:
    out, x, row = COperand("y", (), (2, 1)), COperand("x", (), (320, 1)), COperand("320", (), ())
    assert pairs(320).call([out, x, row]) == "mtvm_pairs(y, x, 320);"
    for operands in ([out, COperand("x", (), (64, 1)), row], [COperand("y", (), (1, 4)), x, row]):
        with pytest.raises(ScheduleError, match="packs pixels 320 bytes apart"):
            pairs(320).call(operands)


# ---- the schedule ----


def depthwise(
    kernel: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (1, 1, 1, 1),
    size: tuple[int, int] = (9, 7),
    channels: int = 8,
    *,
    finish: Callable[[te.Expr, te.Expr], te.Expr] | None = None,
    data: Callable[[te.Tensor, te.Expr], te.Expr] = lambda x, c: c,
    step: int = 1,
) -> tuple[te.Schedule, list[te.Tensor], Callable[[Array], Array]]:
    """A padded depthwise convolution; returns its sum without `finish` as numpy too."""
    rng = np.random.default_rng(3)
    values = rng.integers(-128, 128, (1, *kernel, channels)).astype(np.int8)
    top, bottom, left, right = padding
    (height, width), fill = size, 7
    x = te.placeholder((1, height, width, channels), "int8", "x")
    w = te.constant(values, "w")
    shape = (height + top + bottom, width + left + right)

    def element(b: te.Expr, h: te.Expr, v: te.Expr, c: te.Expr) -> te.Expr:
        inside = te.all(h >= top, h < height + top, v >= left, v < width + left)
        return te.select(inside, x[b, h - top, v - left, data(x, c)], const(fill, "int8"))

    image = te.compute((1, *shape, channels), element, "x_pad") if any(padding) else x
    y, z = te.reduce_axis(kernel[0], "y"), te.reduce_axis(kernel[1], "z")
    out_h = (shape[0] - (kernel[0] - 1) * step - 1) // strides[0] + 1
    out_w = (shape[1] - kernel[1]) // strides[1] + 1

    def product(b: te.Expr, h: te.Expr, v: te.Expr, c: te.Expr) -> te.Expr:
        pixel = image[b, h * strides[0] + y.var * step, v * strides[1] + z.var, c]
        return te.sum(pixel.astype("int32") * w[0, y.var, z.var, c].astype("int32"), axis=[y, z])

    acc = te.compute((1, out_h, out_w, channels), product, "acc")
    last = finish or (lambda total, c: total + 1)
    out = te.compute(acc.shape, lambda b, h, v, c: last(acc[b, h, v, c], c), "out")

    def meaning(array: Array) -> Array:
        full = np.pad(array, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
        span = ((kernel[0] - 1) * step + 1, kernel[1])
        views = np.lib.stride_tricks.sliding_window_view(full, span, axis=(1, 2))
        views = views[:, :: strides[0], :: strides[1], :, ::step].astype(np.int64)
        return np.einsum("bhvcyz,yzc->bhvc", views, values[0].astype(np.int64))

    return te.create_schedule([out]), [x, out], meaning


SHAPES = {
    "3x3": {},
    "3x3 stride 2": {"strides": (2, 2), "padding": (0, 1, 0, 1), "size": (8, 8)},
    "5x1": {"kernel": (5, 1), "padding": (0, 0, 0, 0), "size": (20, 1)},
    "10x1": {"kernel": (10, 1), "padding": (0, 0, 0, 0), "size": (24, 1), "channels": 4},
    "1x5": {"kernel": (1, 5), "padding": (0, 0, 2, 2), "strides": (2, 1)},
    "5x5": {"kernel": (5, 5), "padding": (2, 2, 2, 2), "channels": 6},
    "wide": {"size": (20, 26), "channels": 4},
    "wider than tiles": {"size": (5, 13), "padding": (1, 0, 1, 0)},
    "top alone": {"size": (9, 9), "padding": (2, 0, 0, 0), "strides": (2, 1)},
    "one pixel": {"size": (1, 1), "channels": 5},
}


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("knobs", [{}, {"columns": 4, "scratch": 3072}])
def test_schedules_compute_the_meaning(shape: str, knobs: dict[str, Knob], tmp_path: Path) -> None:
    """In the interpreter, which refuses reads of what was not written, and as portable C."""
    schedule, args, meaning = depthwise(**SHAPES[shape])  # type: ignore[arg-type]
    assert apply(schedule, load_cpu("cortex-m4"), Choice(NAME, knobs)) == NAME
    program = te.lower(schedule, args)
    names = {s.intrinsic.name[:14] for s in walk(program.body) if isinstance(s, IntrinsicCall)}
    assert "mtvm_depthwise" in names
    x = np.random.default_rng(4).integers(-128, 128, args[0].shape).astype(np.int8)
    wanted = meaning(x) + 1
    (found,) = interpret(program, {program.params[0]: x}).values()
    np.testing.assert_array_equal(found, wanted)
    library = CLibrary([program], tmp_path, f"-I{HEADERS}", "-include", "mtvm_model.h")
    (compiled,) = library.run(0, {program.params[0]: x}).values()
    np.testing.assert_array_equal(compiled, wanted)


def requantized(bias: Array) -> Callable[[te.Expr, te.Expr], te.Expr]:
    """A sum to int8, as a convolution's."""
    constant = te.constant(bias, "bias")

    def finish(total: te.Expr, c: te.Expr) -> te.Expr:
        value = te.call("requantize_up", total + constant[c], 1 << 30, 7, -3)
        return te.call("saturate8", value).astype("int8")

    return finish


@pytest.mark.parametrize(("largest", "doubled"), [(5000, True), (1 << 30, False)])
def test_twice_the_sum_where_it_fits(largest: int, doubled: bool) -> None:
    bias = np.array([largest, -5, 77, 0, 1, 2, 3, 4], np.int32)
    schedule, args, meaning = depthwise(finish=requantized(bias))
    assert apply(schedule, load_cpu("cortex-m4"), Choice()) == NAME
    program = te.lower(schedule, args)
    calls = [s.intrinsic.name for s in walk(program.body) if isinstance(s, IntrinsicCall)]
    assert any("_set2_" in name for name in calls) == doubled
    if doubled:
        x = np.random.default_rng(5).integers(-128, 128, args[0].shape).astype(np.int8)
        (found,) = interpret(program, {program.params[0]: x}).values()
        value = ((meaning(x) + bias + 1) >> 1) - 3 * 256 + 128
        np.testing.assert_array_equal(found, np.clip(value >> 8, -128, 127))


def test_a_sum_that_is_wanted_alone_too() -> None:
    finish = requantized(np.zeros(8, np.int32))

    def both(total: te.Expr, c: te.Expr) -> te.Expr:
        return finish(total, c).astype("int32") + total

    schedule, args, _ = depthwise(finish=both)
    assert apply(schedule, load_cpu("cortex-m4"), Choice()) == NAME
    program = te.lower(schedule, args)
    assert not any("_set2_" in s.intrinsic.name for s in walk(program.body)
                   if isinstance(s, IntrinsicCall))  # fmt: skip


@pytest.mark.parametrize(
    "shape",
    [
        {"channels": 1},
        {"step": 2},
        {"data": lambda _, c: 7 - c},
        {"kernel": (15, 1), "size": (20, 1), "padding": (0, 0, 0, 0)},
    ],
)
def test_what_is_not_taken(shape: dict[str, object]) -> None:
    schedule, *_ = depthwise(**shape)  # type: ignore[arg-type]
    with pytest.raises(ScheduleError, match=f"{NAME}.* does not take this expression"):
        apply(schedule, load_cpu("cortex-m4"), Choice(NAME))


def test_images_of_other_channels_share_a_kernel() -> None:
    """What differs is the number of groups; how far apart rows of pixels are follows from it."""
    programs = []
    for channels in (8, 12):
        schedule, args, _ = depthwise(channels=channels)
        assert apply(schedule, load_cpu("cortex-m4"), Choice()) == NAME
        programs.append(flatten(te.lower(schedule, args)))
    ((nodes, shared),) = share(programs)
    assert nodes == (0, 1)
    assert shared.values == ((2,), (3,))
