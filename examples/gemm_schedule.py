"""A matrix product made fast step by step, by its schedule alone.

The expression never changes: C[m, n] = sum over k of A[m, k] * B[k, n]. Each step gives it another
schedule, prints the C, compiles it for this machine with the same flags, compares the result with
NumPy's and measures both, on one thread, in turns.

    python examples/gemm_schedule.py [SIZE]

What the steps show is in their docstrings. The last one computes a tile of C in vector registers
from panels of A and B that were copied into the order in which the tile reads them (Goto and van de
Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008).
"""

from __future__ import annotations

import os

# ruff: noqa: E402
# Before NumPy is imported: the comparison is of one thread with one thread.
for _library in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtvm import te
from microtvm.codegen.c_kernel import kernel
from microtvm.codegen.c_support import helper_source
from microtvm.te import Schedule, Tensor
from microtvm.tir.stmt import Program
from microtvm.util import Array

CC = os.environ.get("CC", "cc")
FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
LANES = 16
"""float32 values in a vector; the compiler makes two of one where the machine's are shorter."""
ROWS, COLUMNS = 8, 32
"""The tile of C that is held in registers: 16 vectors of 16 lanes."""
BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_K = 8, 128, 4
"""The tile of C that stays in the first cache, and how many rows of B meet it at once."""
SECONDS = 2.0
"""How long a step is repeated, at most nine times."""

Step = Callable[[Schedule, Tensor, Tensor, Tensor], None]


def plain(s: Schedule, a: Tensor, b: Tensor, c: Tensor) -> None:
    """Three loops, as the expression says."""


def blocked(s: Schedule, a: Tensor, b: Tensor, c: Tensor) -> None:
    """Tiles of C and slices of k small enough that what they read stays in the first cache."""
    m, n = c.op.axis
    (k,) = c.op.reduce_axis
    mo, no, mi, ni = s[c].tile(m, n, BLOCK_ROWS, BLOCK_COLUMNS)
    ko, ki = s[c].split(k, factor=BLOCK_K)
    s[c].reorder(mo, no, ko, ki, mi, ni)


def vectorized(s: Schedule, a: Tensor, b: Tensor, c: Tensor) -> None:
    """The innermost loop runs along rows of B and C: a vector at a time."""
    m, n = c.op.axis
    (k,) = c.op.reduce_axis
    mo, no, mi, ni = s[c].tile(m, n, BLOCK_ROWS, BLOCK_COLUMNS)
    ko, ki = s[c].split(k, factor=BLOCK_K)
    nv, lanes = s[c].split(ni, factor=LANES)
    s[c].reorder(mo, no, ko, ki, mi, nv, lanes)
    s[c].vectorize(lanes)


def permuted(s: Schedule, a: Tensor, b: Tensor, c: Tensor) -> None:
    """The row outside the slice of k: A is read along its rows too."""
    m, n = c.op.axis
    (k,) = c.op.reduce_axis
    mo, no, mi, ni = s[c].tile(m, n, BLOCK_ROWS, BLOCK_COLUMNS)
    ko, ki = s[c].split(k, factor=BLOCK_K)
    nv, lanes = s[c].split(ni, factor=LANES)
    s[c].reorder(mo, no, ko, mi, ki, nv, lanes)
    s[c].vectorize(lanes)


def packed(s: Schedule, a: Tensor, b: Tensor, c: Tensor) -> None:
    """B is copied once into panels of one tile's columns, which are then read from start to end."""
    _pack_columns(s, b, c, BLOCK_COLUMNS)
    permuted(s, a, b, c)


def write_cache(s: Schedule, a: Tensor, b: Tensor, c: Tensor) -> None:
    """A tile of C is summed up in registers and stored once, not loaded and stored for each k."""
    cc = s.cache_write(c, "register")
    _pack_columns(s, b, cc, COLUMNS)
    m, n = c.op.axis
    _, no, mi, ni = s[c].tile(m, n, ROWS // 2, COLUMNS)
    s[cc].compute_at(s[c], no)
    _vector_tile(s, c, [mi], ni)
    _sum_in_registers(s, cc, unroll=1)


def register_tile(s: Schedule, a: Tensor, b: Tensor, c: Tensor) -> None:
    """More rows, from panels of A that have a tile's rows side by side.

    The loop over k is written out in part.
    """
    cc = s.cache_write(c, "register")
    _pack_columns(s, b, cc, COLUMNS)
    aa = s.cache_read(a, "arena", [cc])
    s[aa].transform_layout(lambda m, k: [m // ROWS, k, m % ROWS])
    m, n = c.op.axis
    mo, no, mi, ni = s[c].tile(m, n, ROWS, COLUMNS)
    s[c].reorder(no, mo, mi, ni)
    s[cc].compute_at(s[c], mo)
    _vector_tile(s, c, [mi], ni)
    _sum_in_registers(s, cc, unroll=2)


def _pack_columns(s: Schedule, b: Tensor, reader: Tensor, width: int) -> None:
    bb = s.cache_read(b, "arena", [reader])
    s[bb].transform_layout(lambda k, n: [n // width, k, n % width])
    _, lanes = s[bb].split(s[bb].leaf[-1], factor=LANES)
    s[bb].vectorize(lanes)


def _vector_tile(s: Schedule, tensor: Tensor, rows: list[te.IterVar], columns: te.IterVar) -> None:
    vectors, lanes = s[tensor].split(columns, factor=LANES)
    for axis in (*rows, vectors):
        s[tensor].unroll(axis)
    s[tensor].vectorize(lanes)


def _sum_in_registers(s: Schedule, cc: Tensor, unroll: int) -> None:
    mc, nc = s[cc].op.axis
    (k,) = s[cc].op.reduce_axis
    ko, ki = s[cc].split(k, factor=unroll)
    s[cc].reorder(ko, ki, mc, nc)
    s[cc].unroll(ki)
    _vector_tile(s, cc, [mc], nc)


STEPS: tuple[Step, ...] = (
    plain, blocked, vectorized, permuted, packed, write_cache, register_tile,
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A step: its largest relative error, its best repetition, and NumPy's of the same time."""

    name: str
    error: float
    gflops: float
    numpy_gflops: float


def program_of(step: Step, size: int) -> Program:
    """The loop program of `size` x `size` float32 matrices under a step's schedule."""
    a = te.placeholder((size, size), "float32", "A")
    b = te.placeholder((size, size), "float32", "B")
    k = te.reduce_axis((0, size), "k")
    c = te.compute((size, size), lambda m, n: te.sum(a[m, k] * b[k, n], axis=k), "C")
    s = te.create_schedule(c)
    step(s, a, b, c)
    return te.lower(s, [a, b, c], step.__name__)


def compiled(program: Program, folder: Path) -> Callable[..., None]:
    """The program as a function of NumPy arrays: its parameters, then its scratch buffers."""
    printed = kernel(program, f"{program.name}_kernel")
    buffers = (*program.params, *program.scratch)
    arguments = ", ".join(f"(void *)p[{i}]" for i in range(len(buffers)))
    source = folder / f"{program.name}.c"
    source.write_text(
        "#include <stdint.h>\n"
        + "".join(map(helper_source, printed.helpers))
        + printed.text
        + f"void run(void *const *p);\nvoid run(void *const *p)\n{{\n"
        f"    {program.name}_kernel({arguments});\n}}\n"
    )
    library = source.with_suffix(".so")
    subprocess.run([CC, *FLAGS, source, "-o", library], check=True)
    function = ctypes.CDLL(str(library)).run

    def call(*arrays: Array) -> None:
        function((ctypes.c_void_p * len(arrays))(*(x.ctypes.data for x in arrays)))

    return call


def measure(step: Step, size: int, folder: Path) -> Measured:
    """Compile a step, check it against NumPy, and time the two in turns."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((size, size), np.float32)
    b = rng.standard_normal((size, size), np.float32)
    program = program_of(step, size)
    run = compiled(program, folder)
    c = np.full((size, size), np.nan, np.float32)
    scratch = [np.empty(x.shape, x.dtype) for x in program.scratch]
    expected = a.astype(np.float64) @ b.astype(np.float64)
    ours, theirs = [], []
    begin = time.perf_counter()
    while not ours or (len(ours) < 9 and time.perf_counter() - begin < SECONDS):
        ours.append(_seconds(lambda: run(a, b, c, *scratch)))
        theirs.append(_seconds(lambda: a @ b))
    error = float(np.abs(c - expected).max() / np.abs(expected).max())
    flops = 2.0 * size**3
    return Measured(step.__name__, error, flops / min(ours) / 1e9, flops / min(theirs) / 1e9)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main(size: int = 1024) -> list[Measured]:
    """Measure and print every step for matrices of `size`, a multiple of 32."""
    if size < COLUMNS or size % COLUMNS:
        raise SystemExit(f"{size} is not a multiple of {COLUMNS}")
    print(f"float32 {size} x {size} x {size}, one thread, {CC} {' '.join(FLAGS[:4])}")
    print(f"{'step':<15}{'error':>10}{'GFLOP/s':>10}{'NumPy':>10}{'of NumPy':>10}")
    results = []
    with tempfile.TemporaryDirectory(prefix="microtvm-") as folder:
        for step in STEPS:
            found = measure(step, size, Path(folder))
            results.append(found)
            print(
                f"{found.name:<15}{found.error:>10.1e}{found.gflops:>10.2f}"
                f"{found.numpy_gflops:>10.2f}{found.gflops / found.numpy_gflops:>10.0%}",
                flush=True,
            )
    return results


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
