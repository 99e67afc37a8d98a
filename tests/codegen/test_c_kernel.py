"""Loop nests in C: registers, unrolled and vectorised loops, scratch, conditions, intrinsics."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from microtvm.codegen.c_kernel import kernel
from microtvm.codegen.c_support import helper_source
from microtvm.errors import IRError
from microtvm.te.intrin import COperand
from microtvm.tir.expr import IntImm, Param, Var, binary, cast, const
from microtvm.tir.interpret import interpret
from microtvm.tir.intrinsic import call
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    If,
    IntrinsicCall,
    Let,
    Program,
    Stmt,
    sequence,
)
from microtvm.tir.stmt import Operand as Tile
from tests.codegen.c_library import CROSS, CLibrary, check_warnings
from tests.tir.build import loop, read, store


def text_of(program: Program, *lifted: Param, aliased: tuple[Buffer, ...] = ()) -> str:
    """The function `f` that a program becomes."""
    return kernel(program, "f", lifted, aliased).text


KINDS = ("serial", "unrolled", "vectorized")


@dataclass(frozen=True)
class Shape:
    """A matrix product whose tile of `mi` by `nj` accumulators is held in registers."""

    dtype: str
    m: int
    n: int
    k: int
    mi: int
    nj: int
    lanes: int
    row_kind: str
    lane_kind: str
    scratch: bool

    @classmethod
    def random(cls, rng: random.Random) -> Shape:
        lanes = rng.choice((1, 2, 4, 8, 3))
        nj = lanes * rng.randint(1, 2)
        mi = rng.randint(1, 3)
        return cls(
            rng.choice(("float32", "int8", "int16")),
            mi * rng.randint(1, 3), nj * rng.randint(1, 3), rng.randint(1, 7), mi, nj, lanes,
            "unrolled", rng.choice(("unrolled", "vectorized")), rng.random() < 0.3,
        )  # fmt: skip


def product(shape: Shape) -> Program:
    """C = A x B (+ epilogue), tiled; accumulators in a register buffer, or in scratch."""
    integer = shape.dtype != "float32"
    acc_dtype = "int32" if integer else "float32"
    a = Buffer("a", (shape.m, shape.k), shape.dtype)
    b = Buffer("b", (shape.k, shape.n), shape.dtype)
    c = Buffer("c", (shape.m, shape.n), shape.dtype)
    scope = "arena" if shape.scratch else "register"
    acc = Buffer("acc", (shape.mi, shape.nj), acc_dtype, scope)
    io, jo, k, i, jv, jl = (Var(n) for n in ("io", "jo", "k", "i", "jv", "jl"))
    j = jv * shape.lanes + jl
    row, column = io * shape.mi + i, jo * shape.nj + j

    def tile(body: Stmt, lane_kind: str) -> Stmt:
        lanes = loop(jl, shape.lanes, body, lane_kind)
        return loop(
            i, shape.mi, loop(jv, shape.nj // shape.lanes, lanes, "unrolled"), shape.row_kind
        )

    step = read(a, row, k).astype(acc_dtype) * read(b, k, column).astype(acc_dtype)
    total = read(acc, i, j)
    result = total
    if integer:
        scaled = call("requantize", total, 1518500250, -9) + Param("zero", -5)
        result = binary("min", binary("max", scaled, -128), 127)
    body = sequence(
        tile(store(acc, (i, j), const(0, acc_dtype)), shape.lane_kind),
        loop(k, shape.k, tile(store(acc, (i, j), total + step), shape.lane_kind)),
        tile(store(c, (row, column), cast(shape.dtype, result)), shape.lane_kind),
    )
    nest = loop(io, shape.m // shape.mi, loop(jo, shape.n // shape.nj, Alloc(acc, body)))
    scratch = (acc,) if shape.scratch else ()
    return Program("product", (a, b, c), nest, scratch, (c,), (f"product {shape}",))


def random_inputs(program: Program, seed: int) -> dict[Buffer, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {}
    for buffer in program.params:
        if buffer in program.outputs:
            continue
        if buffer.dtype == "float32":
            arrays[buffer] = rng.normal(size=buffer.shape).astype(np.float32)
        else:
            arrays[buffer] = rng.integers(-128, 128, buffer.shape).astype(buffer.dtype)
    return arrays


def agree(programs: list[Program], folder: Path) -> CLibrary:
    """Interpreted and compiled results are equal."""
    library = CLibrary(programs, folder, "-ffp-contract=off")
    for number, program in enumerate(programs):
        arrays = random_inputs(program, number)
        wanted = interpret(program, arrays)
        found = library.run(number, arrays)
        for buffer in program.outputs:
            np.testing.assert_array_equal(found[buffer], wanted[buffer], str(program.notes))
    return library


def shapes() -> list[Shape]:
    rng = random.Random(7)
    return [Shape.random(rng) for _ in range(40)]


def test_tiled_products_agree(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    agree([product(s) for s in shapes()], tmp_path)
    assert "runtime error" not in capfd.readouterr().err


def test_float_product_equals_numpy(tmp_path: Path) -> None:
    program = product(Shape("float32", 4, 16, 6, 2, 16, 8, "unrolled", "vectorized", False))
    arrays = random_inputs(program, 1)
    a, b = arrays.values()
    (found,) = CLibrary([program], tmp_path).run(0, arrays).values()
    np.testing.assert_allclose(found, a @ b, rtol=1e-5)


@pytest.mark.parametrize("compiler", CROSS)
def test_nests_compile_without_warnings(compiler: str, tmp_path: Path) -> None:
    check_warnings([product(s) for s in shapes()[:30]], tmp_path, compiler)


def elementwise(kind: str, dtype: str, extent: int, offset: int) -> Program:
    """y[i] = (x[i + offset] + x[i]) * w[0], in the outputs' dtype, and a copy of a constant."""
    wide = "float32" if dtype == "float32" else "int32"
    x = Buffer("x", (extent + 8,), dtype)
    w = Buffer("w", (1,), dtype)
    y, z = Buffer("y", (extent,), wide), Buffer("z", (extent,), dtype)
    o, i = Var("o"), Var("i")
    lanes = 4
    at = o * lanes + i
    total = read(x, at + offset).astype(wide) + read(x, at).astype(wide)
    body = sequence(store(y, (at,), total * read(w, 0).astype(wide)), store(z, (at,), read(w, 0)))
    nest = loop(o, extent // lanes, loop(i, lanes, body, kind))
    return Program("elementwise", (x, w, y, z), nest, (), (y, z), (f"{kind} {dtype} +{offset}",))


def test_vectorised_loads_of_any_alignment_agree(tmp_path: Path) -> None:
    dtypes = ("int8", "int16", "int32", "float32")
    programs = [elementwise(k, d, 16, o) for k in KINDS for d in dtypes for o in (0, 1, 7)]
    agree(programs, tmp_path)
    assert "mtvm_int8x4" in text_of(elementwise("vectorized", "int8", 16, 1))


def test_vectors_live_in_locals() -> None:
    shape = Shape("float32", 2, 8, 5, 2, 8, 4, "unrolled", "vectorized", False)
    text = text_of(product(shape))
    assert text.count("mtvm_float32x4 acc_") == 4
    assert "acc_1_4 += a[(io * 2 + 1) * 5 + k]" in text or "acc_1_4 += " in text
    assert "jl" not in text


def test_a_vectorised_loop_that_can_not_be_one_is_an_ordinary_loop(tmp_path: Path) -> None:
    x, y = Buffer("x", (16,), "int32"), Buffer("y", (8,), "int32")
    i = Var("i")
    strided = Program(
        "strided", (x, y), loop(i, 8, store(y, (i,), read(x, i * 2)), "vectorized"), (), (y,)
    )
    largest = binary("max", read(x, i), 0)
    clamped = Program(
        "clamped", (x, y), loop(i, 8, store(y, (i,), largest), "vectorized"), (), (y,)
    )
    for program in (strided, clamped):
        assert "for (int32_t i = 0; i < 8; ++i)" in text_of(program)
    agree([strided, clamped], tmp_path)


def test_registers_that_vectors_can_not_hold_become_scalars(tmp_path: Path) -> None:
    x, y = Buffer("x", (8,), "int32"), Buffer("y", (4,), "int32")
    acc = Buffer("acc", (4,), "int32", "register")
    i = Var("i")
    body = sequence(
        loop(i, 4, store(acc, (i,), read(x, i * 2)), "vectorized"),
        loop(i, 4, store(y, (i,), read(acc, i) + 1), "vectorized"),
    )
    program = Program("mixed", (x, y), Alloc(acc, body), (), (y,))
    text = text_of(program)
    assert "int32_t acc_3 = x[6];" in text
    assert "y[3] = acc_3 + 1;" in text
    agree([program], tmp_path)


def test_partial_tiles_scratch_lets_and_conditions(tmp_path: Path) -> None:
    x, y = Buffer("x", (10,), "int32"), Buffer("y", (10,), "int32")
    tmp = Buffer("tmp", (4,), "int32")
    o, i, v = Var("o"), Var("i"), Var("v")
    at = o * 4 + i
    fill = loop(
        i, 4, If(at < 10, store(tmp, (i,), read(x, at) * 3), store(tmp, (i,), const(0, "int32")))
    )
    use = Let(v, binary("min", 10 - o * 4, 4), loop(i, v, store(y, (at,), read(tmp, i) - v)))
    program = Program("tail", (x, y), loop(o, 3, Alloc(tmp, sequence(fill, use))), (tmp,), (y,))
    agree([program], tmp_path)
    text = text_of(program)
    assert (
        "static void f(const int32_t *restrict x, int32_t *restrict y, int32_t *restrict tmp)"
        in text
    )


def test_names_are_made_fit_for_c(tmp_path: Path) -> None:
    names = ("model/conv:0", "for", "9lives", "x-y", "x_y")
    buffers = tuple(Buffer(n, (1,), "int32") for n in names)
    i = Var("while")
    total = read(buffers[0], 0) + read(buffers[1], 0) + read(buffers[2], 0) + read(buffers[3], 0)
    program = Program(
        "names", buffers, loop(i, 1, store(buffers[4], (i,), total)), (), (buffers[4],)
    )
    agree([program], tmp_path)
    head = text_of(program).splitlines()[0]
    found = re.findall(r"restrict (\w+)", head + text_of(program).splitlines()[1])
    assert found == ["model_conv_0", "for_", "v9lives", "x_y", "x_y2"]


def test_lifted_parameters_become_arguments_and_decide_nothing() -> None:
    x, y = Buffer("x", (4,), "int32"), Buffer("y", (4,), "int32")
    i, shift = Var("i"), Param("shift", -3)
    value = call("requantize", read(x, i), 1 << 30, shift)
    program = Program("p", (x, y), loop(i, 4, store(y, (i,), value)), (), (y,))
    assert "mtvm_requantize_right(x[i], 1073741824, -3)" in text_of(program)
    lifted = text_of(program, shift)
    assert "int32_t *restrict y, int32_t shift)" in lifted
    assert "mtvm_requantize(x[i], 1073741824, shift)" in lifted


def test_aliased_buffers_are_not_restrict() -> None:
    x, y = Buffer("x", (4,), "int8"), Buffer("y", (4,), "int8")
    i = Var("i")
    program = Program("copy", (x, y), loop(i, 4, store(y, (i,), read(x, i))), (), (y,))
    text = text_of(program, aliased=(x, y))
    assert text.startswith("static void f(const int8_t *x, int8_t *y)")


def test_head_comment_and_unused_parameters() -> None:
    x, y = Buffer("x", (1,), "int8"), Buffer("y", (1,), "int8")
    body = store(y, (0,), IntImm(1, "int8"))
    program = Program("one", (x, y), body, (), (y,), ("first */ line", "second"))
    assert text_of(program) == (
        "/* first * / line\n   second */\n"
        "static void f(const int8_t *restrict x, int8_t *restrict y)\n"
        "{\n    (void)x;\n    y[0] = 1;\n}\n"
    )


def test_helpers_come_after_those_that_they_need() -> None:
    x, y = Buffer("x", (1,), "int32"), Buffer("y", (1,), "int32")
    value = call("requantize", read(x, 0), read(x, 0), read(x, 0))
    program = Program("p", (x, y), store(y, (0,), value), (), (y,))
    assert kernel(program, "f").helpers == ("mtvm_rdbp", "mtvm_requantize")
    assert "static inline int32_t mtvm_rdbp(" in helper_source("mtvm_rdbp")


def test_math_h_is_asked_for_where_it_is_needed() -> None:
    x, y = Buffer("x", (1,), "float32"), Buffer("y", (1,), "float32")
    programs = [
        Program("p", (x, y), store(y, (0,), value), (), (y,))
        for value in (read(x, 0) + 1.0, call("exp", read(x, 0)), read(x, 0) + float("inf"))
    ]
    assert [kernel(p, "f").headers for p in programs] == [(), ("math.h",), ("math.h",)]


class DotTile:
    """acc[2, 2] += x[2, 4] * w[2, 4], reduced over 4; a stand-in for a core's instruction."""

    name = "dot_tile"
    guard = ""
    in_step = False

    def operand_shapes(self, call: IntrinsicCall) -> tuple[tuple[int, ...], ...]:
        return ((2, 2), (2, 4), (2, 4))

    def c_source(self, call: IntrinsicCall) -> str:
        return (
            "static inline int32_t dot4(int32_t n, const int8_t *x, const int8_t *w)\n{\n"
            "    return n + x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3];\n}\n"
        )

    def c_call(self, call: IntrinsicCall, operands: list[COperand]) -> str:
        out, x, w = operands
        lines = []
        for k, lvalue in enumerate(out.registers):
            row, column = divmod(k, 2)
            first = f"{x.text} + {row * x.strides[0]}"
            lines.append(f"{lvalue} = dot4({lvalue}, {first}, {w.text} + {column * w.strides[0]});")
        return "\n".join(lines)

    def reference(self, call: IntrinsicCall) -> Stmt:
        i, j, k = Var("i"), Var("j"), Var("k")
        out, x, w = call.operands
        place = (out.indices[0] + i, out.indices[1] + j)
        left = read(x.buffer, x.indices[0] + i, x.indices[1] + k).astype("int32")
        right = read(w.buffer, w.indices[0] + j, w.indices[1] + k).astype("int32")
        body = store(out.buffer, place, read(out.buffer, *place) + left * right)
        return loop(i, 2, loop(j, 2, loop(k, 4, body)))


def test_intrinsics_get_pointers_and_lvalues(tmp_path: Path) -> None:
    x, w = Buffer("x", (2, 12), "int8"), Buffer("w", (4, 12), "int8")
    y, acc = Buffer("y", (2, 4), "int32"), Buffer("acc", (2, 4), "int32", "register")
    i, j, k = Var("i"), Var("j"), Var("k")
    tiles = [
        IntrinsicCall(
            DotTile(),
            (
                Tile(acc, (IntImm(0), IntImm(column)), (4, 1)),
                Tile(x, (IntImm(0), k * 4), (12, 1)),
                Tile(w, (IntImm(column), k * 4), (12, 1)),
            ),
        )
        for column in (0, 2)
    ]

    def each(body: Stmt) -> Stmt:
        return loop(i, 2, loop(j, 4, body, "unrolled"), "unrolled")

    body = sequence(
        each(store(acc, (i, j), 0)),
        loop(k, 3, sequence(*tiles)),
        each(store(y, (i, j), read(acc, i, j))),
    )
    program = Program("tiled", (x, w, y), Alloc(acc, body), (), (y,))
    assert "acc_1_3 = dot4(acc_1_3, &x[t1] + 12, &w[t1 + 24] + 12);" in text_of(program)
    agree([program], tmp_path)


def _program(body: Stmt, *params: Buffer, outputs: tuple[Buffer, ...]) -> Program:
    return Program("wrong", params, body, (), outputs)


def test_a_register_index_must_become_constant() -> None:
    y, acc = Buffer("y", (4,), "int32"), Buffer("acc", (4,), "int32", "register")
    i = Var("i")
    body = Alloc(acc, loop(i, 4, store(acc, (i,), IntImm(0))))
    with pytest.raises(
        IRError, match="the register buffer acc is indexed by i, which is not a const"
    ):
        text_of(_program(body, y, outputs=(y,)))


def test_a_register_index_must_be_inside() -> None:
    y, acc = Buffer("y", (4,), "int32"), Buffer("acc", (4,), "int32", "register")
    with pytest.raises(IRError, match=r"\[4\] is outside of acc"):
        text_of(_program(Alloc(acc, store(acc, (4,), IntImm(0))), y, outputs=(y,)))


def test_wrong_programs_are_refused() -> None:
    x, y = Buffer("x", (4,), "int32"), Buffer("y", (4,), "int32")
    acc, tmp = Buffer("acc", (1,), "int32", "register"), Buffer("tmp", (1,), "int32")
    cases = {
        "a store to x: .*, which is not an output": store(x, (0,), read(y, 0)),
        "a value of int8 is stored to y": store(y, (0,), IntImm(1, "int8")),
        "tmp: .* is neither a parameter nor scratch": store(y, (0,), read(tmp, 0)),
        "tmp: .* is allocated, but it is not scratch": Alloc(tmp, store(y, (0,), IntImm(0))),
        "acc: .* is used outside of its allocation": store(y, (0,), read(acc, 0)),
        "i is used outside of the loop or let": store(y, (0,), Var("i")),
    }
    for message, body in cases.items():
        with pytest.raises(IRError, match=message):
            text_of(_program(body, x, y, outputs=(y,)))
