"""How far before an input a program's output may begin."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.codegen.layout import lay_out
from microtvm.frontend import load_model
from microtvm.lower.kernel import Kernel, lower_group
from microtvm.lower.overlap import MOST_STEPS, distance
from microtvm.passes import PASSES, run_passes
from microtvm.passes.fuse import fuse
from microtvm.target import load_cpu
from microtvm.te.intrin import declare
from microtvm.te.tensor import compute, placeholder
from microtvm.tir.expr import Expr, IntImm, Read, Var, binary
from microtvm.tir.interpret import Interpreter
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    IntrinsicCall,
    Let,
    Operand,
    Program,
    Stmt,
    Store,
    sequence,
)
from tests.golden.mlperf import model_file

N = 24
X, Y = Buffer("x", (N,), "int8"), Buffer("y", (N,), "int8")
T = Buffer("t", (4,), "int8")
I, J = Var("i"), Var("j")  # noqa: E741


def loop(var: Var, extent: int | Expr, *body: Stmt, kind: str = "serial") -> Stmt:
    end = IntImm(extent) if isinstance(extent, int) else extent
    return For(var, IntImm(0), end, sequence(*body), kind)


def found(*body: Stmt, x: Buffer = X, y: Buffer = Y) -> int | None:
    return distance(Program("p", (x, y), sequence(*body), (T,), (y,)), x, y)


def load(at: Expr) -> Stmt:
    return loop(J, 4, Store(T, (J,), Read(X, (at + J,))))


def store(at: Expr) -> Stmt:
    return loop(J, 4, Store(Y, (at + J,), Read(T, (J,))))


def shifted(at: Expr, by: Expr) -> Stmt:
    return Store(Y, (at,), Read(X, (by,)) + 1)


def test_each_element_before_its_place_is_stored() -> None:
    assert found(loop(I, N, shifted(I, I))) == 0
    assert found(loop(I, N - 1, shifted(I, I + 1))) == 0
    assert found(loop(I, N - 1, shifted(I + 1, I))) == 1


def test_tiles() -> None:
    """A tile is read as a whole before it is stored; what the last one reads again must be kept."""
    assert found(loop(I, 6, load(I * 4), store(I * 4))) == 0
    assert found(loop(I, 6, store(I * 4), load(I * 4))) == 4
    last = binary("min", I * 4, IntImm(N - 5))
    assert found(loop(I, 6, load(last), store(last))) == 1


def test_what_is_read_again() -> None:
    first = load(IntImm(0))
    assert found(loop(I, 6, load(I * 4), store(I * 4)), first) == N
    assert found(first, loop(I, 6, store(I * 4))) == 0
    assert found(loop(I, N, shifted(I, IntImm(N - 1) - I))) == N - 1
    assert found(loop(I, N, Store(Y, (I,), Read(X, (I,)) + Read(X, (IntImm(3),))))) == N - 1 - 3


def test_outputs_that_grow_and_shrink() -> None:
    wide = Buffer("y", (2 * N,), "int8")
    twice = [Store(wide, (I * 2 + k,), Read(X, (I,)) + k + 1) for k in (0, 1)]
    # The second of a pair reads what the first may have been stored over.
    assert found(loop(I, N, *twice), y=wide) == N
    narrow = Buffer("y", (N // 2,), "int8")
    half = Store(narrow, (I,), Read(X, (I * 2,)) + Read(X, (I * 2 + 1,)))
    assert found(loop(I, N // 2, half), y=narrow) == 0


def test_bytes() -> None:
    """Of elements of any size."""
    x, y = Buffer("x", (N,), "int8"), Buffer("y", (N,), "int32")
    widened = Store(y, (I,), Read(x, (I,)).astype("int32"))
    assert found(loop(I, N, widened), x=x, y=y) == 4 * (N - 1) - (N - 1)
    rows = Buffer("x", (6, 4), "int16"), Buffer("y", (6, 4), "int16")
    body = Store(rows[1], (I, J), Read(rows[0], (IntImm(5) - I, J)) + 1)
    assert found(loop(I, 6, loop(J, 4, body)), x=rows[0], y=rows[1]) == 2 * 20


def test_copies() -> None:
    """One call copies such a loop, between places that must not overlap."""
    assert found(loop(I, N, Store(Y, (I,), Read(X, (I,))))) is None


def test_loops_that_are_one_step() -> None:
    """Vectors, and loops whose number of iterations is not known."""
    assert found(loop(I, N, shifted(I, I), kind="vectorized")) == N
    unknown = Read(T, (IntImm(0),)).astype("int32")
    assert found(loop(I, unknown, shifted(binary("min", I, IntImm(5)), I))) == 6
    # Of what is read where, nothing is known.
    assert found(Store(Y, (IntImm(0),), Read(X, (unknown,)) + 1), load(unknown)) == 1


def test_what_stands_around_statements() -> None:
    guarded = If(I < 5, load(I * 4), store(I * 4))
    assert found(loop(I, 6, guarded)) == 4
    named = Let(J, I * 2, shifted(J, J + 1))
    assert found(loop(I, 11, named)) == 0
    register = Buffer("r", (1,), "int8", "register")
    held = Store(register, (IntImm(0),), Read(X, (I,)))
    put = Store(Y, (I,), Read(register, (IntImm(0),)))
    assert found(loop(I, N, Alloc(register, sequence(held, put)))) == 0


def test_long_programs_end_as_one_step() -> None:
    count = MOST_STEPS
    x, y = Buffer("x", (count,), "int8"), Buffer("y", (count,), "int8")
    body = Store(y, (I,), Read(x, (I,)) + 1)
    assert found(loop(I, count, body), x=x, y=y) == 1


def test_intrinsics() -> None:
    """In which order one reads and stores is its own affair; views may go backward."""
    a = placeholder((4,), "int8", "a")
    plus = declare("plus", compute((4,), lambda i: a[i] + 1, "out"), [a], lambda operands: "")

    def call(out: Buffer, at: Expr, first: Expr, stride: int = 1) -> Stmt:
        return IntrinsicCall(plus, (Operand(out, (at,), (1,)), Operand(X, (first,), (stride,))))

    assert found(loop(I, 6, call(Y, I * 4, I * 4))) == 4
    into = call(T, IntImm(0), I * 4)
    assert found(loop(I, 6, into, store(I * 4))) == 0
    assert found(loop(I, 6, store(I * 4), into)) == 4
    backward = call(T, IntImm(0), I * 4 + 3, -1)
    assert found(loop(I, 6, store(I * 4), backward)) == 4


class Window(list[object]):
    """A list that lies in another one, from `offset` on."""

    def __init__(self, memory: list[object], offset: int, length: int) -> None:
        super().__init__([None] * length)
        self.memory, self.offset = memory, offset

    def __getitem__(self, index: object) -> object:
        assert isinstance(index, int)
        return self.memory[self.offset + index]

    def __setitem__(self, index: object, value: object) -> None:
        assert isinstance(index, int)
        self.memory[self.offset + index] = value


def overlapped(kernel: Kernel, position: int, seed: int) -> tuple[list[object], list[object]]:
    """What a kernel of int8 tensors gives apart from its input, and as close to it as it may be."""
    program = kernel.program
    x, y = program.params[position], program.outputs[0]
    rng = np.random.default_rng(seed)
    inputs = program.params[: len(kernel.group.inputs)]
    given = {b: rng.integers(-128, 128, b.shape).astype(np.int8) for b in inputs}
    apart = Interpreter(program).run(given)[y]
    near = kernel.overlaps[position]
    assert near is not None
    interpreter = Interpreter(program)
    memory: list[object] = [None] * (near + max(x.elements, y.elements))
    memory[near : near + x.elements] = given[x].reshape(-1).tolist()
    places = {x: Window(memory, near, x.elements), y: Window(memory, 0, y.elements)}
    content = [
        places[b] if b in places else interpreter._content(b, given.get(b))
        for b in interpreter._buffers
    ]
    interpreter._function(*content)
    return memory[: y.elements], apart.reshape(-1).tolist()


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m55", "cortex-m0", "host"])
def test_kernels_of_a_model_close_to_their_inputs(cpu: str) -> None:
    """They give the same where their output begins as near as it may."""
    graph = run_passes(load_model(model_file("strww_int8")), PASSES)
    core = load_cpu(cpu)
    kernels = [lower_group(graph, group, core) for group in fuse(graph).groups]
    tried = 0
    for seed, kernel in enumerate(kernels):
        if kernel.overlaps[0] is None or kernel.macs > 200_000:
            continue
        near, apart = overlapped(kernel, 0, seed)
        assert near == apart, kernel.group.name
        tried += 1
    assert tried >= 5


@pytest.mark.parametrize(
    ("model", "cpu", "apart", "together"),
    [
        ("kws_int8", "cortex-m4", 16000, 8768),
        ("kws_int8", "cortex-m55", 16000, 10048),
        ("vww_int8", "cortex-m4", 55296, 39152),
        ("vww_int8", "cortex-m55", 55296, 36864),
    ],
)
def test_models(model: str, cpu: str, apart: int, together: int) -> None:
    """Tensors of a chain of convolutions need little more than the largest one."""
    graph = run_passes(load_model(model_file(model)), PASSES)
    fused, core = fuse(graph), load_cpu(cpu)
    kernels = tuple(lower_group(graph, group, core) for group in fused.groups)
    before, after = (lay_out(fused, kernels, overlap=o) for o in (False, True))
    assert (before.tensor_bytes, after.tensor_bytes) == (apart, together)
    assert after.arena_bytes < before.arena_bytes
    assert sum(map(len, before.aliased)) < sum(map(len, after.aliased))
