"""Helium's intrinsics refuse operands that do not lie as they read them, and what they can't do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.isa.helium_map import vector_map
from microtvm.isa.helium_patch import PatchTile, turn
from microtvm.isa.helium_tile import Tile
from microtvm.isa.helium_vector import Step, Unsupported, Value, allocate
from microtvm.te.intrin import COperand, TensorIntrin
from microtvm.te.tensor import Tensor
from microtvm.tir.expr import Expr, Param

TILE = Tile(2, 4, 1, 3, 48, 5, by_columns=True)
RUNS = Tile(1, 8, 4, 10, 160, 4, by_columns=False)
PATCH = PatchTile(4, 2, 2, 3, 3, 1, 1, 64)
COUNT = COperand("5", (), ())


def mapped() -> TensorIntrin:
    """y[r, n] = int8(saturate8(acc[r, n] + bias[n]))"""
    acc, bias = te.placeholder((2, 8), "int32", "acc"), te.placeholder((8,), "int32", "bias")
    y = te.compute((2, 8), lambda r, n: te.call("saturate8", acc[r, n] + bias[n]).astype("int8"))
    (row, column) = y.op.axis
    found = vector_map(y.op.bodies[0], [(row, 2)], column, 8)
    assert found is not None
    return found


def views(*strides: tuple[int, ...]) -> list[COperand]:
    return [COperand(f"o{k}", (), s) for k, s in enumerate(strides)]


def test_operands_as_declared() -> None:
    good = views((64, 4, 1), (100, 0, 1), (192, 0, 64, 16, 1))
    assert TILE.intrinsic().call([*good, COUNT]) == f"{TILE.name}(o0, o1, o2, 5, 64, 100);"
    good = views((0, 0, 1), (0, 160, 1), (0, 1280, 128, 16, 1))
    assert RUNS.intrinsic().call([*good, COUNT]) == f"{RUNS.name}(o0, o1, o2, 5);"
    good = views((4, 2, 1), (4, 256, 1), (16, 1, 4))
    assert PATCH.intrinsic().call([*good, COUNT]) == f"{PATCH.name}(o0, o1, o2, 5, 256);"
    good = views((4, 1), (448, 1))
    assert turn(4, 448).call([*good, COUNT]) == "mtvm_turn_4(o0, o1, 5, 448);"
    good = views((40, 1), (8, 1), (1,))
    assert mapped().call([*good, COUNT]).endswith("(o0, o1, o2, 5, 40, 8);")


@pytest.mark.parametrize(
    ("intrinsic", "operands", "message"),
    [
        (TILE.intrinsic(), views((64, 8, 1), (1, 0, 1), (192, 0, 64, 16, 1)), "reads acc in steps"),
        (TILE.intrinsic(), views((64, 4, 1), (1, 0, 2), (192, 0, 64, 16, 1)), "reads x in steps"),
        (TILE.intrinsic(), views((64, 4, 1), (1, 0, 1), (192, 0, 16, 64, 1)), "reads w in steps"),
        (PATCH.intrinsic(), views((4, 2, 1), (8, 256, 1), (16, 1, 4)), r"steps of \(4, 256, 1\)"),
        (turn(4, 448), views((4, 1), (448, 2)), r"the operand is of \(448, 2\)"),
        (mapped(), views((40, 1), (8, 2), (1,)), r"reads a0 in steps of \(1,\)"),
    ],
)
def test_other_operands(intrinsic: TensorIntrin, operands: list[COperand], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        intrinsic.call([*operands, COUNT])


@pytest.mark.parametrize(
    "value",
    [
        lambda x, t, i: te.truncdiv(x[i].astype("int32"), 3),
        lambda x, t, i: t[x[i].astype("int32") + 128].astype("int32"),
        lambda x, t, i: x[i * 2].astype("int32"),
        lambda x, t, i: x[i].astype("int32") >> x[i].astype("int32"),
        lambda x, t, i: x[i].astype("int32") + i,
        lambda x, t, i: te.call("clz", x[i].astype("int32")),
        lambda x, t, i: te.call("saturate8_shift", x[i].astype("int32"), Param("n", 2)),
    ],
)
def test_expressions_that_are_not_taken(value: Callable[[Tensor, Tensor, Expr], Expr]) -> None:
    x = te.placeholder((16,), "int8", "x")
    table = te.constant(np.zeros(256, np.int8), "t")
    for dtype in ("int8", "bool"):
        y = te.compute((8,), lambda i, d=dtype: value(x, table, i).astype(d), "y")
        assert vector_map(y.op.bodies[0], [], y.op.axis[0], 8) is None


def test_more_values_than_registers() -> None:
    values = [Value() for _ in range(9)]
    steps = [Step("make {}", v, ()) for v in values]
    head, body = allocate(steps[:3], [*steps[3:8], Step("use {}", None, tuple(values[3:8]))])
    assert (head[2], body[4]) == ("make q2", "make q7")
    with pytest.raises(Unsupported):
        allocate([], [*steps, Step("use {}", None, tuple(values))])


def test_a_vector_that_is_changed_and_needed() -> None:
    first, second = Value(), Value()
    made = Step("make {}", first, ())
    change = Step("change {}", second, (first,), changes=True)
    with pytest.raises(Unsupported):
        allocate([], [made, change, Step("use {}", None, (first,))])


def test_names_tell_texts_apart() -> None:
    """Two tiles of one name would be one function."""
    tiles = [
        Tile(rows, 8 // rows, runs, steps, 16 * steps + more, 3, by_columns=by, tail=tail)
        for rows in (1, 2)
        for runs in (1, 2, 3)
        for steps in (1, 2, 9)
        for more in (0, 32)
        for by in (True, False)
        for tail in ((0, 5) if by and runs == 1 else (0,))
    ]
    patches = [
        PatchTile(rows, down, across, rows - down + 1, kernel_w, 1, stride, 8)
        for rows in (4, 16)
        for down in (1, 2)
        for across in (1, 2, 3)
        for kernel_w in (1, 2, 3)
        for stride in (1, 2)
    ]
    texts: dict[str, set[str]] = {}
    for tile in tiles:
        texts.setdefault(tile.name, set()).add(tile.source())
    for patch in patches:
        if patch.fits:
            texts.setdefault(patch.name, set()).add(patch.source())
    assert all(len(t) == 1 for t in texts.values())
