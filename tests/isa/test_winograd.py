"""Winograd's F(2x2, 3x3) in integers: equal to the direct form for every input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.inference import run_project
from microtvm.isa.dsp_transform import (
    ENDS,
    PATCH,
    STEP,
    filter_transform,
    filters,
    input_transform,
    output_transform,
    patch_element,
)
from microtvm.isa.dsp_winograd import Plan
from microtvm.isa.schedule import Choice, apply
from microtvm.isa.template import Expression
from microtvm.npz import Inputs
from microtvm.ops.base import attributes
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.verify import verify
from microtvm.pipeline import CompileOptions, compile_graph
from microtvm.project import build_project, create_project
from microtvm.target import load_board, load_cpu
from microtvm.te.intrin import COperand
from microtvm.tir.interpret import interpret
from microtvm.util import Array
from tests.conftest import require_tool
from tests.te.oracle import check_compiled

NAME = "dsp.winograd_product"
STORED, MADE = (Choice(NAME, {"stored": stored}) for stored in (True, False))
EXTREMES = np.array([-128, 127], np.int8)


def convolution(
    values: Array,
    size: tuple[int, int],
    padding: int = 1,
    step: tuple[int, int] = (1, 1),
    residual: bool = False,
    batch: int = 1,
) -> tuple[te.Schedule, list[te.Tensor]]:
    """Outputs of `size` by the int8 weights [columns, kernel, kernel, channels], all bits kept.

    `padding` is filled with -3; `step` is between outputs and between taps.
    """
    columns, kernel_h, kernel_w, channels = values.shape
    high, wide = (
        (n - 1) * step[0] + (k - 1) * step[1] + 1 - 2 * padding
        for n, k in zip(size, (kernel_h, kernel_w), strict=True)
    )
    x = te.placeholder((batch, high, wide, channels), "int8", "x")
    image = x
    if padding:
        grown = (batch, high + 2 * padding, wide + 2 * padding, channels)

        def padded(b: te.Expr, h: te.Expr, w: te.Expr, c: te.Expr) -> te.Expr:
            inside = te.all(h >= padding, h < high + padding, w >= padding, w < wide + padding)
            return te.select(inside, x[b, h - padding, w - padding, c], -3)

        image = te.compute(grown, padded, "padded")
    w = te.constant(values, "w")
    taps = [te.reduce_axis(n, f"k{n}") for n in (kernel_h, kernel_w, channels)]
    kh, kw, k = (t.var for t in taps)

    def product(b: te.Expr, h: te.Expr, v: te.Expr, o: te.Expr) -> te.Expr:
        data = image[b, h * step[0] + kh * step[1], v * step[0] + kw * step[1], k]
        return te.sum(data.astype("int32") * w[o, kh, kw, k].astype("int32"), axis=taps)

    shape = (batch, *size, columns)
    acc = te.compute(shape, product, "acc")
    bias = te.constant(np.arange(columns, dtype=np.int32) * 1000 - 500, "bias")
    args = [x]
    if residual:
        z = te.placeholder(shape, "int32", "z")
        args.append(z)
        y = te.compute(shape, lambda *i: acc[i] + bias[i[-1]] + z[i], "y")
    else:
        y = te.compute(shape, lambda *i: acc[i] + bias[i[-1]], "y")
    return te.create_schedule([y]), [*args, y]


def expected(values: Array, data: Array, padding: int = 1) -> Array:
    """The same by NumPy."""
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    image = np.pad(data.astype(np.int64), widths, constant_values=-3)
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(1, 2))
    sums: Array = np.einsum("bhwcij,oijc->bhwo", windows, values.astype(np.int64))
    return sums + np.arange(len(values)) * 1000 - 500


@pytest.mark.parametrize(
    ("size", "channels", "columns"),
    [
        ((2, 2), 4, 2),
        ((2, 8), 16, 2),
        ((4, 6), 8, 3),
        ((6, 10), 20, 4),
        ((4, 4), 48, 2),
    ],
)
@pytest.mark.parametrize(("padding", "choice"), [(0, STORED), (1, STORED), (1, MADE)])
def test_extremes(
    size: tuple[int, int], channels: int, columns: int, padding: int, choice: Choice
) -> None:
    """In the interpreter, which refuses overflow: everything at its limits, in all signs."""
    rng = np.random.default_rng(channels + padding)
    choices = [np.full((columns, 3, 3, channels), v, np.int8) for v in EXTREMES]
    choices.append(rng.choice(EXTREMES, (columns, 3, 3, channels)))
    for values in choices:
        schedule, args = convolution(values, size, padding)
        assert apply(schedule, load_cpu("cortex-m4"), choice) == NAME
        program = te.lower(schedule, args)
        shape = args[0].shape
        checkered = EXTREMES[np.indices(shape).sum(axis=0) % 2]
        for data in (*(np.full(shape, v, np.int8) for v in EXTREMES), checkered):
            (found,) = interpret(program, {program.params[0]: data}).values()
            np.testing.assert_array_equal(found, expected(values, data, padding))


@pytest.mark.parametrize("choice", [STORED, MADE])
def test_compiled_beside_a_second_operand(choice: Choice, tmp_path: Path) -> None:
    """In C without assembly, of two images, what is added read at the end."""
    rng = np.random.default_rng(1)
    values = rng.integers(-128, 128, (5, 3, 3, 12)).astype(np.int8)
    schedule, args = convolution(values, (4, 12), residual=True, batch=2)
    apply(schedule, load_cpu("cortex-m4"), choice)
    program = te.lower(schedule, args)
    data = rng.integers(-128, 128, args[0].shape).astype(np.int8)
    added = rng.integers(-1000, 1000, args[1].shape).astype(np.int32)
    wanted = (expected(values, data) + added).astype(np.int32)
    check_compiled([(program, {args[0]: data, args[1]: added}, [wanted])], tmp_path)


@pytest.mark.parametrize(
    ("shape", "size", "step"),
    [
        ((4, 3, 3, 6), (4, 4), (1, 1)),
        ((4, 3, 3, 8), (3, 4), (1, 1)),
        ((4, 3, 3, 8), (4, 5), (1, 1)),
        ((4, 3, 3, 8), (4, 4), (2, 1)),
        ((4, 3, 3, 8), (4, 4), (1, 2)),
        ((4, 5, 3, 8), (4, 4), (1, 1)),
        ((4, 1, 1, 8), (4, 4), (1, 1)),
    ],
)
def test_what_it_does_not_take(
    shape: tuple[int, int, int, int], size: tuple[int, int], step: tuple[int, int]
) -> None:
    values = np.ones(shape, np.int8)
    with pytest.raises(ScheduleError, match="does not take this expression"):
        apply(convolution(values, size, 0, step)[0], load_cpu("cortex-m4"), Choice(NAME))


def test_sums_that_could_leave_int32() -> None:
    """512 times the sum of the transformed filters is the bound."""
    values = np.full((2, 3, 3, 520), 127, np.int8)
    parts = np.abs(filters(values)[0].astype(np.int64)).sum(axis=2) * np.outer(ENDS, ENDS)
    assert 512 * int(parts.sum()) >= 1 << 31
    with pytest.raises(ScheduleError, match="does not take this expression"):
        apply(convolution(values, (2, 2))[0], load_cpu("cortex-m4"), Choice(NAME))
    fits = convolution(values[..., :512], (2, 2))[0]
    assert apply(fits, load_cpu("cortex-m4"), STORED) == NAME


def test_filters_that_are_too_large_to_be_made() -> None:
    """Their elements lie further apart than an instruction can say."""
    for channels, made in ((68, True), (72, False)):
        schedule, _ = convolution(np.ones((2, 3, 3, channels), np.int8), (2, 2))
        if made:
            assert apply(schedule, load_cpu("cortex-m4"), MADE) == NAME
            continue
        with pytest.raises(ScheduleError, match="does not take this expression"):
            apply(schedule, load_cpu("cortex-m4"), MADE)


@pytest.mark.parametrize(
    ("size", "channels", "together"),
    # 4 KB a row of patches, of which four are enough; 8 KB; 32 KB; rows of 32 patches.
    [((8, 8), 32, 4), ((12, 8), 32, 3), ((8, 8), 64, 2), ((4, 32), 64, 0), ((4, 64), 16, 1)],
)
def test_patches_that_wait_for_filters(size: tuple[int, int], channels: int, together: int) -> None:
    schedule, _ = convolution(np.ones((2, 3, 3, channels), np.int8), size)
    plan = Plan.of(Expression(schedule))
    assert plan is not None
    assert plan.together == together


def test_only_when_it_is_asked_for() -> None:
    schedule, _ = convolution(np.ones((3, 3, 3, 8), np.int8), (4, 4))
    assert apply(schedule, load_cpu("cortex-m4"), Choice()) != NAME


def test_an_image_that_is_computed() -> None:
    """Its rows can't be copied: nobody has stored them."""
    x = te.placeholder((1, 6, 6, 8), "int8", "x")
    doubled = te.compute(x.shape, lambda *i: te.max(x[i], 0), "doubled")
    w = te.constant(np.ones((2, 3, 3, 8), np.int8), "w")
    kh, kw, k = (te.reduce_axis(n) for n in (3, 3, 8))

    def product(b: te.Expr, h: te.Expr, v: te.Expr, o: te.Expr) -> te.Expr:
        left = doubled[b, h + kh.var, v + kw.var, k.var].astype("int32")
        return te.sum(left * w[o, kh.var, kw.var, k.var].astype("int32"), axis=[kh, kw, k])

    acc = te.compute((1, 4, 4, 2), product, "acc")
    s = te.create_schedule([te.compute(acc.shape, lambda *i: acc[i] + 1, "y")])
    with pytest.raises(ScheduleError, match="does not take this expression"):
        apply(s, load_cpu("cortex-m4"), Choice(NAME))


def test_the_transforms_of_other_operands() -> None:
    of_input, of_output, of_filter = (
        input_transform(4, 16),
        output_transform(8),
        filter_transform(64),
    )
    y, x = COperand("y", (), (2, 64, 16, 8, 1)), COperand("x", (), (128, 16, 64, 2, 1))
    assert of_input.call([y, x]) == "mtvm_winograd_input_4_16(y, x);"
    with pytest.raises(ScheduleError, match=r"takes strides \(128, 16, 64, 2, 1\), the operand"):
        of_input.call([y, COperand("x", (), (128, 16, 32, 2, 1))])
    u, g = COperand("u", (), (256, 64, 4, 1)), COperand("g", (), (12, 4, 2, 1))
    assert of_filter.call([u, g]) == "mtvm_winograd_filter_64(u, 4, g);"
    for operands in (
        [COperand("u", (), (128, 32, 4, 1)), g],
        [u, COperand("g", (), (48, 16, 2, 1))],
    ):
        with pytest.raises(ScheduleError, match="reads words and writes them 64 apart"):
            of_filter.call(operands)
    registers = COperand("", ("a", "b", "c", "d"), (2, 1))
    m = COperand("m", (), (32, 8))
    assert of_output.call([registers, m]) == "mtvm_winograd_output_8(&a, &b, &c, &d, m);"
    for operands in ([registers, COperand("m", (), (16, 4))], [COperand("y", (), (2, 1)), m]):
        with pytest.raises(ScheduleError, match=r"takes strides \(32, 8\) and gives registers"):
            of_output.call(operands)


@pytest.mark.parametrize("patches", [1, 2, 3, 4])
@pytest.mark.parametrize("chunk", [4, 16])
def test_the_input_transform(patches: int, chunk: int, tmp_path: Path) -> None:
    """Its C and its meaning, on all signs of the largest values."""
    columns = STEP * patches + 2
    x = te.placeholder((columns, PATCH, chunk), "int8", "x")
    intrinsic = input_transform(patches, chunk)
    matrix = te.constant(
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.int32), "matrix"
    )
    body = intrinsic.op.bodies[0]
    assert body.dtype == "int16"
    lines = te.compute((columns, PATCH, chunk), lambda c, h, e: x[c, h, e], "lines")
    shape = (PATCH, PATCH, 2, patches, 2)

    def element(r: te.Expr, s: te.Expr, which: te.Expr, j: te.Expr, pair: te.Expr) -> te.Expr:
        def at(row: int, column: int) -> te.Expr:
            return lines[j * STEP + column, row, pair * 2 + which].astype("int32")

        return patch_element(at, r, s).astype("int16")

    v = te.compute(shape, element, "v")
    y = te.compute(shape, lambda *i: v[i].astype("int32"), "y")
    s = te.create_schedule([y])
    stage = s[v]
    r, c, which, j, pair = stage.axis
    stage.reorder(j, r, c, which, pair)
    stage.tensorize(j, intrinsic)
    program = te.lower(s, [x, y])
    data = np.random.default_rng(patches).choice(EXTREMES, x.shape)
    b = matrix.data
    assert b is not None
    wanted = np.zeros(shape, np.int32)
    for k in range(patches):
        patch = data[2 * k : 2 * k + 4].astype(np.int64).transpose(1, 0, 2)
        whole = np.einsum("rh,hwe,sw->rse", b, patch, b)[..., :4]
        wanted[:, :, :, k] = whole.reshape(4, 4, 2, 2).swapaxes(2, 3)
    (found,) = interpret(program, {program.params[0]: data}).values()
    np.testing.assert_array_equal(found, wanted)
    check_compiled([(program, {x: data}, [wanted])], tmp_path)


def random_convolutions(seed: int, nodes: int) -> Graph:
    """A graph of unconnected convolutions that the template takes."""
    rng = np.random.default_rng(seed)
    types: dict[str, TensorType] = {}
    constants: dict[str, Array] = {}
    made: list[Node] = []
    for k in range(nodes):
        high, wide = (2 * int(v) for v in rng.integers(1, 8, 2))
        depth, columns = int(rng.choice([4, 8, 12, 16, 32, 48])), int(rng.choice([4, 6, 8, 10, 11]))
        padding = tuple(int(v) for v in rng.integers(0, 2, 4))
        shape = (
            1,
            high + 2 - padding[0] - padding[1],
            wide + 2 - padding[2] - padding[3],
            depth,
        )
        zeros = [int(rng.choice([-128, 127, rng.integers(-128, 128)])) for _ in range(2)]
        scales = tuple(float(s) for s in rng.uniform(0.002, 0.02, columns))
        types[f"x{k}"] = TensorType(shape, "int8", Quant((0.1,), (zeros[0],)))
        types[f"w{k}"] = TensorType(
            (columns, 3, 3, depth), "int8", Quant(scales, (0,) * columns, 0)
        )
        types[f"b{k}"] = TensorType((columns,), "int32")
        types[f"y{k}"] = TensorType(
            (1, high, wide, columns), "int8", Quant((float(rng.uniform(0.1, 1)),), (zeros[1],))
        )
        constants[f"w{k}"] = rng.integers(-128, 128, (columns, 3, 3, depth)).astype(np.int8)
        constants[f"b{k}"] = rng.integers(-3000, 3000, columns).astype(np.int32)
        attrs = attributes(
            strides=(1, 1), dilation=(1, 1), padding=padding, groups=1, activation="none"
        )
        inputs = (f"x{k}", f"w{k}", f"b{k}")
        made.append(Node(f"layer{k}", "conv2d", inputs, (f"y{k}",), attrs))
    return verify(
        Graph(
            "random",
            tuple(n.inputs[0] for n in made),
            tuple(n.outputs[0] for n in made),
            tuple(made),
            types,
            constants,
        )
    )


@pytest.mark.qemu
@pytest.mark.parametrize("board", ["qemu-mps2-an386", "qemu-mps2-an505"])
@pytest.mark.parametrize("seed", range(3))
def test_random_convolutions(
    board: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On cores that have the extension, small layers too: equal to the numpy meaning."""
    monkeypatch.setattr("microtvm.lower.budget.small_groups", lambda *_: set())
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    graph = random_convolutions(seed, 8)
    target = load_board(board)
    budget = 8 if seed else 1
    library = compile_graph(
        graph, target.cpu, prefix="odd", options=CompileOptions(flash_budget=budget)
    ).library
    used = [o["knobs"]["stored"] for o in library.metadata["operators"] if o["template"] == NAME]
    assert used.count(seed > 0) > 3
    library.write(tmp_path / "library")
    project = create_project(tmp_path / "library", target, tmp_path / "project")
    build_project(project)
    rng = np.random.default_rng(100 + seed)
    shapes = {v: graph.types[v].shape for v in graph.inputs}
    runs = tuple(
        {v: rng.choice(pool, shape).astype(np.int8) for v, shape in shapes.items()}
        for pool in (np.arange(-128, 128), EXTREMES)
    )
    outputs = run_project(project, Inputs(runs, stacked=True)).outputs
    for k, arrays in enumerate(runs):
        wanted = evaluate_graph(graph, arrays)
        for value in graph.outputs:
            np.testing.assert_array_equal(outputs[value][k], wanted[value], err_msg=value)
