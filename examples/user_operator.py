"""Operators that microtvm does not have, written as tensor expressions, on a Cortex-M4 in QEMU.

    python examples/user_operator.py [BOARD]

- A quantised matrix product of two inputs, compiled twice: under the default schedule, and under
  one that sums tiles of 2 x 2 in registers.
- The product with constant weights, under the schedule that microtvm itself chooses for the core.
- A one-dimensional convolution with a constant kernel, and, in a second function of the same
  library, the largest magnitude of each channel of the result.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtvm import te
from microtvm.codegen.expression import TensorKernel, build_expressions
from microtvm.codegen.library import Library
from microtvm.inference import run_project
from microtvm.isa.schedule import Choice, apply
from microtvm.npz import Inputs
from microtvm.project import build_project, create_project
from microtvm.target import Board, load_board
from microtvm.te import Schedule, Tensor
from microtvm.util import Array

BOARD = "qemu-mps2-an386"
M, N, K = 12, 16, 40
LENGTH, CHANNELS, TAPS = 64, 4, 5


@dataclass(frozen=True)
class Job:
    """A library with the inputs to run it on and the outputs that NumPy computes."""

    title: str
    library: Library
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]


def product_expression(a: Tensor, b: Tensor) -> Tensor:
    """y[m, n] = saturate(round(sum over k of a[m, k] * b[n, k] / 128)), all int8."""
    k = te.reduce_axis(K, "k")
    acc = te.compute(
        (M, N),
        lambda m, n: te.sum(a[m, k].astype("int32") * b[n, k].astype("int32"), axis=k),
        "acc",
    )
    y = te.compute(
        (M, N),
        lambda m, n: te.clip(te.call("rdbp", acc[m, n], 7), -128, 127).astype("int8"),
        "y",
    )
    return y


def in_registers(s: Schedule, y: Tensor) -> None:
    """2 x 2 elements of the result at a time: each loaded element is used twice."""
    (acc,) = y.op.inputs()
    m, n = y.op.axis
    _, no, mi, ni = s[y].tile(m, n, 2, 2)
    s[y].unroll(mi)
    s[y].unroll(ni)
    s[acc].compute_at(s[y], no)
    s[acc].set_scope("register")
    ma, na = s[acc].op.axis
    (k,) = s[acc].op.reduce_axis
    ko, ki = s[acc].split(k, factor=4)
    s[acc].reorder(ko, ki, ma, na)
    for axis in (ki, ma, na):
        s[acc].unroll(axis)


def product(title: str, *, scheduled: bool) -> Job:
    """The matrix product of two inputs, with or without a schedule of its own."""
    a = te.placeholder((M, K), "int8", "a")
    b = te.placeholder((N, K), "int8", "b")
    y = product_expression(a, b)
    s = te.create_schedule(y)
    if scheduled:
        in_registers(s, y)
    library = build_expressions([TensorKernel("product", s, [a, b])], "product")
    left, right, expected = product_data()
    return Job(title, library, {"a": left, "b": right}, {"y": expected})


def constant_product(board: Board) -> Job:
    """The matrix product by constant weights, under the schedule of the board's core."""
    left, right, expected = product_data()
    a = te.placeholder((M, K), "int8", "a")
    y = product_expression(a, te.constant(right, "b"))
    s = te.create_schedule(y)
    template = apply(s, board.cpu, Choice())
    library = build_expressions([TensorKernel("product", s, [a])], "product")
    title = f"matrix product by constants, schedule {template}"
    return Job(title, library, {"a": left}, {"y": expected})


def product_data() -> tuple[Array, Array, Array]:
    """a, b and y."""
    rng = np.random.default_rng(3)
    left = rng.integers(-128, 128, (M, K)).astype(np.int8)
    right = rng.integers(-128, 128, (N, K)).astype(np.int8)
    exact = left.astype(np.float64) @ right.T.astype(np.float64) / 128
    rounded = np.sign(exact) * np.floor(np.abs(exact) + 0.5)
    return left, right, np.clip(rounded, -128, 127).astype(np.int8)


def convolution() -> Job:
    """z[i, c] = sum over t of x[i + t - 2, c] * w[t], zeros outside.

    peak[c] = max over i of |z[i, c]|.
    """
    rng = np.random.default_rng(4)
    taps = rng.integers(-128, 128, TAPS).astype(np.int16)
    half = TAPS // 2

    x = te.placeholder((LENGTH, CHANNELS), "int16", "x")
    w = te.constant(taps, "w")
    t = te.reduce_axis(TAPS, "t")

    def tap(i: te.Expr, c: te.Expr) -> te.Expr:
        at = i + t - half
        inside = te.all(at >= 0, at < LENGTH)
        return te.sum(te.select(inside, x[at, c].astype("int32"), 0) * w[t].astype("int32"), axis=t)

    z = te.compute((LENGTH, CHANNELS), tap, "z")
    first = te.create_schedule(z)
    first[z].unroll(z.op.reduce_axis[0])

    read = te.placeholder((LENGTH, CHANNELS), "int32", "z")
    i = te.reduce_axis(LENGTH, "i")
    peak = te.compute(
        (CHANNELS,), lambda c: te.max(te.max(read[i, c], -read[i, c]), axis=i), "peak"
    )
    kernels = [
        TensorKernel("convolve", first, [x]),
        TensorKernel("peak", te.create_schedule(peak), [read]),
    ]
    library = build_expressions(kernels, "filter", outputs=["z", "peak"])
    signal = rng.integers(-(2**15), 2**15, (LENGTH, CHANNELS)).astype(np.int16)
    columns = [
        np.correlate(np.pad(signal[:, c].astype(np.int64), half), taps.astype(np.int64))
        for c in range(CHANNELS)
    ]
    expected = np.stack(columns, axis=1).astype(np.int32)
    peaks = np.abs(expected).max(axis=0)
    return Job("1-D convolution", library, {"x": signal}, {"z": expected, "peak": peaks})


def run(job: Job, board: Board, folder: Path) -> dict[str, Array]:
    """Build the library for a board, boot it, run it once; prints what was measured."""
    job.library.write(folder / "library")
    project = create_project(folder / "library", board, folder / "project")
    build_project(project)
    result = run_project(project, Inputs((job.inputs,), stacked=False))
    outputs = result.outputs
    wrong = sum(int((outputs[n] != e).sum()) for n, e in job.expected.items())
    total = sum(e.size for e in job.expected.values())
    print(f"{job.title}: {total - wrong} of {total} elements as NumPy has them")
    if result.counts is not None:
        for operator in result.counts.operators:
            print(f"  {operator.name}: {operator.instructions} instructions")
    return outputs


def jobs(board: Board) -> list[Job]:
    """What the example runs."""
    return [
        product("matrix product, default schedule", scheduled=False),
        product("matrix product, 2 x 2 in registers", scheduled=True),
        constant_product(board),
        convolution(),
    ]


def main(name: str = BOARD) -> int:
    """Run every job on the board; the number of those with a wrong element."""
    failed = 0
    board = load_board(name)
    for job in jobs(board):
        with tempfile.TemporaryDirectory(prefix="microtvm-") as folder:
            outputs = run(job, board, Path(folder))
        failed += any(not np.array_equal(outputs[n], e) for n, e in job.expected.items())
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
