"""Sums in the form of matrix products, constants evaluated early, intrinsics told numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.te import Schedule, Tensor
from microtvm.te.intrin import COperand, TensorIntrin
from microtvm.tir.expr import Param, Var
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import IntrinsicCall, walk
from microtvm.util import Array
from tests.te.oracle import arrays_of, assert_same, check, reference

RNG = np.random.default_rng(5)


def ints(*shape: int) -> Array:
    return RNG.integers(-100, 101, shape).astype(np.int8)


def convolution() -> tuple[dict[Tensor, Array], Tensor, Tensor, Tensor]:
    """y = acc + 1; acc over windows of 2 by 3 of two channels, of an image of 5 by 7."""
    x = te.placeholder((5, 7, 2), "int8", "x")
    w = te.constant(ints(4, 2, 3, 2), "w")
    kh, kw, c = te.reduce_axis(2, "kh"), te.reduce_axis(3, "kw"), te.reduce_axis(2, "c")

    def element(h: te.Expr, v: te.Expr, o: te.Expr) -> te.Expr:
        product = x[h + kh.var, v + kw.var, c.var].astype("int32") * w[
            o, kh.var, kw.var, c.var
        ].astype("int32")
        return te.sum(product, axis=[kh, kw, c])

    acc = te.compute((4, 5, 4), element, "acc")
    y = te.compute((4, 5, 4), lambda h, v, o: acc[h, v, o] + 1, "y")
    return {x: ints(5, 7, 2)}, w, acc, y


def test_fused_reduction() -> None:
    inputs, w, acc, y = convolution()
    s = te.create_schedule(y)
    flat = s[s.cache_read(w, "arena", [acc])]
    flat.transform_layout(lambda o, h, v, c: [o, h, v * 2 + c])
    _, kw, c = s[acc].reduce_axis
    run = s[acc].fuse_reduction(kw, c)
    assert run.extent == 6
    flat.pad(flat.axis[2], 4, zero=True)
    with pytest.raises(ScheduleError, match=r"acc: .* are not neighbours of its reduction"):
        s[acc].fuse_reduction(run, s[acc].reduce_axis[0])
    check(s, inputs)


def test_gathered_rows() -> None:
    """A convolution as a matrix product of pixels' windows and weights."""
    inputs, _, acc, y = convolution()
    s = te.create_schedule(y)
    (x,) = inputs
    rows = s.reindex(x, acc)
    assert rows.shape == (4, 5, 12)
    assert [a.extent for a in s[acc].reduce_axis] == [12]
    check(s, inputs)
    with pytest.raises(ScheduleError, match="y is not a sum with one read of acc"):
        s.reindex(acc, y)
    with pytest.raises(ScheduleError, match="acc is not a sum with one read of x"):
        s.reindex(x, acc)


def test_evaluated_constant() -> None:
    """A constant's layout may leave gaps; a stage that reads only constants becomes one."""
    inputs, w, acc, y = convolution()
    s = te.create_schedule(y)
    copy = s.cache_read(w, "arena", [acc])
    s[copy].pad(s[copy].axis[0], 8, zero=True)
    made = s.evaluate(copy)
    assert made.data is not None
    assert made.shape == (8, 2, 3, 2)
    assert not made.data[4:].any()
    s.constant(made).transform_layout(lambda o, h, v, c: [o, 5 + h * 8 + v * 2 + c])
    check(s, inputs)
    with pytest.raises(ScheduleError, match="acc: its value is not known at compile time"):
        s.evaluate(acc)


def test_whole_axis() -> None:
    """Who needs a part of an axis gets all of it."""
    inputs, _, acc, y = convolution()
    for whole, extent in ((False, 2), (True, 4)):
        s = te.create_schedule(y)
        outer, _ = s[y].split(s[y].axis[2], 2)
        if whole:
            s[acc].compute_whole(s[acc].axis[2])
        s[acc].compute_at(s[y], outer)
        program = check(s, inputs)
        assert program.scratch[0].shape[2] == extent


@pytest.mark.parametrize(
    ("message", "act"),
    [
        (
            r"acc: kh\[2\] is not one of its data axes",
            lambda s, acc: s[acc].compute_whole(s[acc].reduce_axis[0]),
        ),
        (r"acc: \[\] are not neighbours", lambda s, acc: s[acc].fuse_reduction()),
    ],
)
def test_refused(message: str, act: Callable[[Schedule, Tensor], object]) -> None:
    _, _, acc, y = convolution()
    with pytest.raises(ScheduleError, match=message):
        act(te.create_schedule(y), acc)


# ---- intrinsics that are told numbers and lengths ----


def scaled(rows: int, length: int) -> TensorIntrin:
    """y[i, j] = x[2 i + j] * factor + offset, for any number of j."""
    x = te.placeholder((2 * rows + length,), "int8", "x")
    factor, offset = Var("factor"), Var("offset")
    out = te.compute(
        (rows, length), lambda i, j: x[i * 2 + j].astype("int32") * factor + offset, "y"
    )
    return te.decl_tensor_intrin(
        "scaled",
        out,
        [x],
        lambda operands: "",
        lengths=[out.op.axis[1]],
        numbers=[factor, offset],
        guard="NOWHERE",
    )


def windows(factor: te.Expr, offset: te.Expr) -> tuple[dict[Tensor, Array], Tensor]:
    x = te.placeholder((20,), "int8", "x")
    y = te.compute((4, 6), lambda i, j: x[i * 2 + j + 3].astype("int32") * factor + offset, "y")
    return {x: ints(20)}, y


def test_numbers_and_lengths() -> None:
    inputs, y = windows(Param("f", 3), Param("o", -7))
    s = te.create_schedule(y)
    _, inner = s[y].split(s[y].axis[0], 2)
    s[y].tensorize(inner, scaled(2, 6))
    program = check(s, inputs)
    (call,) = [st for st in walk(program.body) if isinstance(st, IntrinsicCall)]
    assert [n.value for n in call.scalars] == [6, 3, -7]  # type: ignore[attr-defined]
    assert call.operands[1].strides == (1,)
    assert_same(interpret(program, arrays_of(program, inputs)), program, reference([y], inputs))


@pytest.mark.parametrize(
    ("factor", "offset"), [(Var("loop"), Param("o", 1)), (Param("f", 1, "int8"), Param("o", 1))]
)
def test_what_is_no_number(factor: te.Expr, offset: te.Expr) -> None:
    _, y = windows(factor.astype("int32") if factor.dtype == "int8" else factor, offset)
    s = te.create_schedule(y)
    _, inner = s[y].split(s[y].axis[0], 2)
    s[y].tensorize(inner, scaled(2, 6))
    with pytest.raises(ScheduleError, match="can't be tensorized by scaled"):
        te.lower(s, [*reference_inputs(y), y])


def reference_inputs(y: Tensor) -> list[Tensor]:
    assert y.op is not None
    return [t for t in y.op.inputs() if t.data is None]


def test_a_number_that_is_not_used() -> None:
    x = te.placeholder((4,), "int8", "x")
    out = te.compute((4,), lambda i: x[i] + 1, "y")
    intrin = te.decl_tensor_intrin("idle", out, [x], _no_text, numbers=[Var("n")])
    z = te.placeholder((4,), "int8", "z")
    y = te.compute((4,), lambda i: z[i] + 1, "y")
    s = te.create_schedule(y)
    s[y].tensorize(s[y].axis[0], intrin)
    with pytest.raises(ScheduleError, match="its number n is not used"):
        te.lower(s, [z, y])


def _no_text(operands: list[COperand]) -> str:
    return ""
