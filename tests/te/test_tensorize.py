"""Tensorisation: an intrinsic stands where it means the same, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.te import Schedule, Tensor
from microtvm.te.intrin import COperand, TensorIntrin
from microtvm.tir.stmt import IntrinsicCall, Program, walk
from microtvm.util import Array
from tests.te.oracle import check, check_compiled, reference

RNG = np.random.default_rng(7)
ROWS, COLUMNS, DEPTH = 2, 3, 4


def ints(*shape: int) -> Array:
    return RNG.integers(-100, 101, shape).astype(np.int8)


def tile(
    rows: int = ROWS, columns: int = COLUMNS, depth: int = DEPTH, *, fresh: bool = False
) -> TensorIntrin:
    """acc[r, c] += sum of a[r, k] * b[c, k], as a C function of pointers and strides."""
    a, b = te.placeholder((rows, depth), "int8", "a"), te.placeholder((columns, depth), "int8", "b")
    k = te.reduce_axis(depth, "k")
    out = te.compute(
        (rows, columns),
        lambda r, c: te.sum(a[r, k].astype("int32") * b[c, k].astype("int32"), axis=k),
        "out",
    )
    name = f"tile_{rows}_{columns}_{depth}" + ("_fresh" if fresh else "")
    start = "0" if fresh else "acc[r * acc_r + c * acc_c]"
    source = f"""\
static void {name}(int32_t *acc, int32_t acc_r, int32_t acc_c,
                   const int8_t *a, int32_t a_r, int32_t a_k,
                   const int8_t *b, int32_t b_c, int32_t b_k)
{{
    for (int32_t r = 0; r < {rows}; ++r) {{
        for (int32_t c = 0; c < {columns}; ++c) {{
            int32_t total = {start};
            for (int32_t k = 0; k < {depth}; ++k) {{
                total += a[r * a_r + k * a_k] * b[c * b_c + k * b_k];
            }}
            acc[r * acc_r + c * acc_c] = total;
        }}
    }}
}}
"""

    def call(operands: list[COperand]) -> str:
        words = [str(w) for o in operands for w in (o.text, *o.strides)]
        return f"{name}({', '.join(words)});"

    return te.decl_tensor_intrin(name, out, [a, b], call, source, fresh=fresh)


def register_tile() -> TensorIntrin:
    """The same on accumulators that are C locals."""
    plain = tile()
    name = "MTVM_TEST_TILE"
    registers = ", ".join(f"r{i}" for i in range(ROWS * COLUMNS))
    lines = [f"#define {name}(a, b, {registers}) \\", "do { \\"]
    for r in range(ROWS):
        for c in range(COLUMNS):
            products = [
                f"(a)[{r} * {DEPTH} + {k}] * (b)[{c} * {DEPTH} + {k}]" for k in range(DEPTH)
            ]
            lines.append(f"(r{r * COLUMNS + c}) += {' + '.join(products)}; \\")
    lines.append("} while (0)\n")

    def call(operands: list[COperand]) -> str:
        out, a, b = operands
        assert (a.strides, b.strides) == ((DEPTH, 1), (DEPTH, 1))
        return f"{name}({', '.join([a.text, b.text, *out.registers])});"

    op = plain.op
    return te.decl_tensor_intrin(name, op.outputs[0], plain.inputs, call, "\n".join(lines))


def product(
    m: int = 4, n: int = 6, k: int = 8, *, transposed: bool = False
) -> tuple[dict[Tensor, Array], Tensor]:
    """y = a b, with b given by its columns unless `transposed`."""
    a = te.placeholder((m, k), "int8", "x")
    b = te.placeholder((k, n) if transposed else (n, k), "int8", "w")
    r = te.reduce_axis(k, "r")

    def weight(j: te.Expr) -> te.Expr:
        return b[r, j] if transposed else b[j, r]

    y = te.compute(
        (m, n),
        lambda i, j: te.sum(a[i, r].astype("int32") * weight(j).astype("int32"), axis=r),
        "y",
    )
    return {a: ints(m, k), b: ints(*b.shape)}, y


def tiled(s: Schedule, y: Tensor, intrin: TensorIntrin, depth: int = DEPTH) -> None:
    """Tiles of the intrinsic's shape, the reduction's outer part around them."""
    i, j = s[y].op.axis
    (r,) = s[y].op.reduce_axis
    rows, columns = (a.extent for a in intrin.op.axis)
    io, jo, ii, ji = s[y].tile(i, j, rows, columns)
    ro, ri = s[y].split(r, factor=depth)
    s[y].reorder(io, jo, ro, ii, ji, ri)
    s[y].tensorize(ii, intrin)


def calls(program: Program) -> list[IntrinsicCall]:
    return [st for st in walk(program.body) if isinstance(st, IntrinsicCall)]


@pytest.mark.parametrize("transposed", [False, True])
def test_product(transposed: bool, tmp_path: Path) -> None:
    inputs, y = product(transposed=transposed)
    expected = reference([y], inputs)
    s = te.create_schedule(y)
    tiled(s, y, tile())
    program = check(s, inputs)
    (call,) = calls(program)
    assert [o.strides for o in call.operands] == [
        (6, 1),
        (8, 1),
        (1, 6) if transposed else (8, 1),
    ]
    check_compiled([(program, inputs, expected)], tmp_path)


def test_whole_reduction_in_one_call(tmp_path: Path) -> None:
    inputs, y = product(k=DEPTH)
    expected = reference([y], inputs)
    programs = []
    for fresh in (False, True):
        s = te.create_schedule(y)
        i, j = y.op.axis
        _, _, ii, _ = s[y].tile(i, j, ROWS, COLUMNS)
        s[y].tensorize(ii, tile(fresh=fresh))
        programs.append((check(s, inputs, f"fresh{fresh}"), inputs, expected))
        assert len(calls(programs[-1][0])) == 1
    check_compiled(programs, tmp_path)


def test_accumulators_in_registers(tmp_path: Path) -> None:
    inputs, y = product(k=DEPTH)
    expected = reference([y], inputs)
    s = te.create_schedule(y)
    acc = s.cache_write(y, "register")
    i, j = y.op.axis
    _, jo, ii, ji = s[y].tile(i, j, ROWS, COLUMNS)
    s[y].unroll(ii)
    s[y].unroll(ji)
    s[acc].compute_at(s[y], jo)
    for axis in s[acc].op.axis:
        s[acc].unroll(axis)
    s[acc].tensorize(s[acc].leaf[0], register_tile())
    program = check(s, inputs)
    assert len(calls(program)) == 1
    check_compiled([(program, inputs, expected)], tmp_path)


def test_a_tile_of_a_window(tmp_path: Path) -> None:
    """A one-dimensional convolution of several channels is the same product: rows overlap."""
    length, channels, filters, taps = 9, 2, 6, 2
    x = te.placeholder((length, channels), "int8", "x")
    w = te.placeholder((filters, taps, channels), "int8", "w")
    t, c = te.reduce_axis(taps, "t"), te.reduce_axis(channels, "c")
    y = te.compute(
        (length - taps + 1, filters),
        lambda i, o: te.sum(x[i + t, c].astype("int32") * w[o, t, c].astype("int32"), axis=[t, c]),
        "y",
    )
    inputs = {x: ints(length, channels), w: ints(filters, taps, channels)}
    expected = reference([y], inputs)
    a = te.placeholder((ROWS, taps, channels), "int8", "a")
    b = te.placeholder((COLUMNS, taps, channels), "int8", "b")
    p, q = te.reduce_axis(taps, "p"), te.reduce_axis(channels, "q")
    meaning = te.compute(
        (ROWS, COLUMNS),
        lambda r, n: te.sum(a[r, p, q].astype("int32") * b[n, p, q].astype("int32"), axis=[p, q]),
        "meaning",
    )
    inner = tile(depth=taps * channels)

    def call(operands: list[COperand]) -> str:
        out, left, right = operands
        # Taps and channels lie as one run, and rows overlap.
        assert left.strides == (channels, channels, 1)
        assert right.strides == (taps * channels, channels, 1)
        runs = [COperand(o.text, (), (o.strides[0], 1)) for o in (left, right)]
        return inner.call([out, *runs])

    s = te.create_schedule(y)
    i, o = y.op.axis
    _, _, ii, _ = s[y].tile(i, o, ROWS, COLUMNS)
    s[y].tensorize(ii, te.decl_tensor_intrin("window", meaning, [a, b], call, inner.source))
    program = check(s, inputs)
    assert len(calls(program)) == 1
    check_compiled([(program, inputs, expected)], tmp_path)


def test_operands_that_run_backwards(tmp_path: Path) -> None:
    """A flipped kernel is read with a negative stride."""
    x, w = te.placeholder((8,), "int8", "x"), te.placeholder((5,), "int8", "w")
    t = te.reduce_axis(5, "t")
    y = te.compute(
        (4,), lambda i: te.sum(x[i + t].astype("int32") * w[4 - t].astype("int32"), axis=t), "y"
    )
    inputs = {x: ints(8), w: ints(5)}
    expected = reference([y], inputs)
    a, b = te.placeholder((5,), "int8", "a"), te.placeholder((5,), "int8", "b")
    k = te.reduce_axis(5, "k")
    dot = te.compute(
        (1,), lambda i: te.sum(a[k].astype("int32") * b[k].astype("int32"), axis=k), "dot"
    )

    def call(operands: list[COperand]) -> str:
        out, left, right = operands
        return "\n".join(
            f"({out.text})[0] += ({left.text})[{n * left.strides[0]}]"
            f" * ({right.text})[{n * right.strides[0]}];"
            for n in range(5)
        )

    s = te.create_schedule(y)
    s[y].tensorize(t, te.decl_tensor_intrin("dot", dot, [a, b], call))
    program = check(s, inputs)
    assert [o.strides for o in calls(program)[0].operands] == [(0,), (1,), (-1,)]
    check_compiled([(program, inputs, expected)], tmp_path)


def test_digits_of_packed_operands() -> None:
    """Loops that are digits of an axis meet the intrinsic's axes one by one."""
    inputs, y = product(k=8)
    a, b = te.placeholder((ROWS, 2, 4), "int8", "a"), te.placeholder((COLUMNS, 2, 4), "int8", "b")
    p, q = te.reduce_axis(2, "p"), te.reduce_axis(4, "q")
    meaning = te.compute(
        (ROWS, COLUMNS),
        lambda r, n: te.sum(a[r, p, q].astype("int32") * b[n, p, q].astype("int32"), axis=[p, q]),
        "meaning",
    )
    intrin = te.decl_tensor_intrin("digits", meaning, [a, b], lambda operands: "digits();")
    s = te.create_schedule(y)
    x, w = inputs
    for tensor in (x, w):
        copy = s.cache_read(tensor, "arena", [y])
        s[copy].transform_layout(lambda i, k: [k % 4, i, k // 4])
    i, j = y.op.axis
    io, jo, ii, ji = s[y].tile(i, j, ROWS, COLUMNS)
    outer, inner = s[y].split(y.op.reduce_axis[0], factor=4)
    s[y].reorder(io, jo, ii, ji, outer, inner)
    s[y].tensorize(ii, intrin)
    program = check(s, inputs)
    # The buffers are [4, rows, 2]: a row is 2 further, a pair 1, the digit within it rows * 2.
    assert [o.strides for o in calls(program)[0].operands] == [(6, 1), (2, 1, 8), (2, 1, 12)]


def test_element_wise(tmp_path: Path) -> None:
    x = te.placeholder((3, 8), "int32", "x")
    y = te.compute((3, 8), lambda i, j: te.max(x[i, j], 0), "y")
    inputs = {x: RNG.integers(-9, 10, (3, 8)).astype(np.int32)}
    expected = reference([y], inputs)
    a = te.placeholder((4,), "int32", "a")
    meaning = te.compute((4,), lambda i: te.max(0, a[i]), "meaning")

    def call(operands: list[COperand]) -> str:
        out, left = operands
        return (
            f"for (int32_t n = 0; n < 4; ++n) {{ "
            f"({out.text})[n] = ({left.text})[n] > 0 ? ({left.text})[n] : 0; }}"
        )

    s = te.create_schedule(y)
    _, inner = s[y].split(y.op.axis[1], factor=4)
    s[y].tensorize(inner, te.decl_tensor_intrin("relu", meaning, [a], call))
    program = check(s, inputs)
    check_compiled([(program, inputs, expected)], tmp_path)


# ---- what does not match ----


def refused(message: str, schedule: Callable[[Schedule, Tensor], None], **shape: int) -> None:
    inputs, y = product(**shape)
    s = te.create_schedule(y)
    schedule(s, y)
    with pytest.raises(ScheduleError, match=message):
        te.lower(s, [*inputs, y])


def meaning(
    element: Callable[[Tensor, Tensor, te.Expr, te.Expr, te.IterVar], te.Expr],
    *,
    kind: str = "sum",
    dtype: str = "int8",
) -> TensorIntrin:
    """An intrinsic of another meaning, of the usual shape."""
    a = te.placeholder((ROWS, DEPTH), dtype, "a")
    b = te.placeholder((COLUMNS, DEPTH), dtype, "b")
    k = te.reduce_axis(DEPTH, "k")
    reducer = {"sum": te.sum, "max": lambda value, axis: te.max(value, axis=axis)}[kind]
    out = te.compute((ROWS, COLUMNS), lambda r, c: reducer(element(a, b, r, c, k), axis=k), "out")
    return te.decl_tensor_intrin("other", out, [a, b], lambda operands: "other();")


def wide(x: te.Expr) -> te.Expr:
    return x.astype("int32")


@pytest.mark.parametrize(
    "intrin",
    [
        meaning(lambda a, b, r, c, k: wide(a[r, k]) + wide(b[c, k])),
        meaning(lambda a, b, r, c, k: wide(a[r, k]) * wide(b[c, k]) * 2),
        meaning(
            lambda a, b, r, c, k: a[r, k].astype("int32") * b[c, k].astype("int32"), dtype="uint8"
        ),
        meaning(lambda a, b, r, c, k: wide(a[r, k]) * wide(a[r, k]) + 0 * wide(b[c, k])),
        meaning(lambda a, b, r, c, k: wide(a[r, k]) * wide(b[c, 3 - k])),
        meaning(lambda a, b, r, c, k: te.call("srdhm", wide(a[r, k]), wide(b[c, k]))),
    ],
)
def test_another_meaning(intrin: TensorIntrin) -> None:
    refused(
        "y can't be tensorized by other: the expressions differ", lambda s, y: tiled(s, y, intrin)
    )


def test_unused_input() -> None:
    a, b = te.placeholder((DEPTH,), "int8", "a"), te.placeholder((DEPTH,), "int8", "b")
    k = te.reduce_axis(DEPTH, "k")
    out = te.compute((1,), lambda i: te.sum(wide(a[k]), axis=k), "out")
    x = te.placeholder((DEPTH,), "int8", "x")
    r = te.reduce_axis(DEPTH, "r")
    y = te.compute((1,), lambda i: te.sum(wide(x[r]), axis=r), "y")
    s = te.create_schedule(y)
    s[y].tensorize(r, te.decl_tensor_intrin("other", out, [a, b], lambda operands: ""))
    message = "y can't be tensorized by other: its input b is not used"
    with pytest.raises(ScheduleError, match=message):
        te.lower(s, [x, y])


def test_one_input_in_two_places() -> None:
    """a * a matches only where both operands are one."""
    square = meaning(lambda a, b, r, c, k: wide(a[r, k]) * wide(a[r, k]))
    refused("the expressions differ", lambda s, y: tiled(s, y, square))


def test_another_reduction() -> None:
    other = meaning(lambda a, b, r, c, k: wide(a[r, k]) * wide(b[c, k]), kind="max")
    refused("by other: one of them reduces in another way", lambda s, y: tiled(s, y, other))


def test_tile_that_does_not_divide() -> None:
    refused("the tile does not divide the loops", lambda s, y: tiled(s, y, tile()), m=5)
    refused("the tile does not divide the loops", lambda s, y: tiled(s, y, tile()), k=10)


def test_tile_of_another_shape() -> None:
    def other_rows(s: Schedule, y: Tensor) -> None:
        tiled(s, y, tile(rows=4))
        s[y].tensorized = (s[y].leaf[3], tile(rows=2))

    refused("i covers 4, the intrinsic has extent 2", other_rows)


def test_loop_without_an_axis() -> None:
    def too_many(s: Schedule, y: Tensor) -> None:
        s[y].tensorize(y.op.axis[0], one_column())

    refused("j covers 6, the intrinsic has none", too_many, m=2, n=6, k=4)


def one_column() -> TensorIntrin:
    a, b = te.placeholder((ROWS, DEPTH), "int8", "a"), te.placeholder((DEPTH,), "int8", "b")
    k = te.reduce_axis(DEPTH, "k")
    out = te.compute((ROWS,), lambda r: te.sum(wide(a[r, k]) * wide(b[k]), axis=k), "out")
    return te.decl_tensor_intrin("column", out, [a, b], lambda operands: "")


def test_axis_without_a_loop() -> None:
    def only_the_reduction(s: Schedule, y: Tensor) -> None:
        s[y].tensorize(y.op.reduce_axis[0], tile())

    refused(r"nothing in the loops matches its axis r\[2\]", only_the_reduction, k=DEPTH)


def test_loops_that_are_not_a_box() -> None:
    """The outer part of an axis without its inner part."""

    def strided(s: Schedule, y: Tensor) -> None:
        i, j = y.op.axis
        io, ii = s[y].split(i, factor=2)
        s[y].reorder(ii, j, io, y.op.reduce_axis[0])
        s[y].tensorize(io, tile(rows=3, columns=1, depth=8))

    refused("the loops do not cover a whole box of the axes", strided)


def test_output_that_is_not_a_box() -> None:
    """Its elements lie in a layout that no strides describe."""
    x = te.placeholder((8,), "int8", "x")
    p = te.compute((8,), lambda i: x[i], "p")
    y = te.compute((8,), lambda i: p[i] + p[i], "y")
    s = te.create_schedule(y)
    s[p].transform_layout(lambda i: [i % 2, i // 2])
    fused = s[p].fuse(*s[p].leaf)
    a = te.placeholder((8,), "int8", "a")
    out = te.compute((8,), lambda i: a[i], "out")
    s[p].tensorize(fused, te.decl_tensor_intrin("copy", out, [a], lambda operands: ""))
    with pytest.raises(ScheduleError, match="p can't be tensorized by copy"):
        te.lower(s, [x, y])


def test_several_outputs() -> None:
    x = te.placeholder((4,), "int32", "x")
    first, second = te.compute((4,), lambda i: [x[i], x[i] + 1], "two")
    s = te.create_schedule([first, second])
    a = te.placeholder((4,), "int32", "a")
    out = te.compute((4,), lambda i: a[i], "out")
    s[first].tensorize(first.op.axis[0], te.decl_tensor_intrin("f", out, [a], lambda operands: ""))
    with pytest.raises(ScheduleError, match="two has several outputs; it can't be tensorized"):
        te.lower(s, [x, first, second])


def test_stage_inside_the_tile() -> None:
    x = te.placeholder((4,), "int32", "x")
    p = te.compute((4,), lambda i: x[i] * 2, "p")
    y = te.compute((4,), lambda i: p[i] + 1, "y")
    s = te.create_schedule(y)
    a = te.placeholder((4,), "int32", "a")
    out = te.compute((4,), lambda i: a[i] + 1, "out")
    s[y].tensorize(y.op.axis[0], te.decl_tensor_intrin("f", out, [a], lambda operands: ""))
    s[p].compute_at(s[y], y.op.axis[0])
    with pytest.raises(ScheduleError, match="y: a stage is computed inside its tensorized loops"):
        te.lower(s, [x, y])


def test_loop_that_is_gone() -> None:
    def split_after(s: Schedule, y: Tensor) -> None:
        tiled(s, y, tile())
        axis, _ = s[y].tensorized or (None, None)
        assert axis is not None
        s[y].split(axis, 2)

    refused(r"y: i_i\[2\], which was tensorized, is no longer a loop", split_after)


def test_overwriting_inside_a_reduction() -> None:
    refused(
        "it overwrites its output, and a loop around it reduces",
        lambda s, y: tiled(s, y, tile(fresh=True)),
    )
