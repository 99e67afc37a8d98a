"""Tiles and unpacking of the DSP extension: what they compute, and operands that they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.isa import dsp_unpack
from microtvm.isa.dsp_operand import FORMS
from microtvm.isa.dsp_tile import Tile
from microtvm.isa.schedule import Choice, apply
from microtvm.target import load_cpu
from microtvm.te.intrin import COperand
from microtvm.tir.interpret import interpret
from microtvm.util import Array

TILE = Tile("narrow", rows=4, columns=2, groups=6, x_row=4, x_half=16, x_group=32)
ACC = COperand("", tuple("abcdefgh"), (2, 1))
X = COperand("x", (), (2, 96, 16, 8, 1))
W = COperand("w", (), (4, 48, 8, 2, 1))


def test_operands_as_declared() -> None:
    found = TILE.intrinsic().call([ACC, X, W])
    assert found == f"{TILE.name}(&a, &b, &c, &d, &e, &f, &g, &h, x, w);"


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        ([ACC, COperand("x", (), (2, 96, 16, 1, 8)), W], r"reads strides \(2, 96, 16, 8, 1\), the"),
        ([ACC, X, COperand("w", (), (8, 48, 8, 2, 1))], r"the operand has \(8, 48, 8, 2, 1\)"),
        ([COperand("acc", (), (2, 1)), X, W], "keeps its accumulators in registers"),
    ],
)
def test_other_operands(operands: list[COperand], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        TILE.intrinsic().call(operands)


def test_unpacking_from_elsewhere() -> None:
    intrinsic = dsp_unpack.intrinsic("pairs")
    y, x = COperand("y", (), (8, 1)), COperand("x", (), (2, 1))
    assert intrinsic.call([y, x]) == "mtvm_unpack_pairs(y, 8, x);"
    with pytest.raises(ScheduleError, match=r"reads strides \(2, 1\) and writes pairs"):
        intrinsic.call([y, COperand("x", (), (1, 2))])


def _product(values: Array, rows: int) -> tuple[te.Schedule, list[te.Tensor]]:
    """`rows` by columns of products with the weights [columns, depth], an eighth of each kept."""
    columns, depth = values.shape
    x = te.placeholder((rows, depth), "int8", "x")
    w = te.constant(values, "w")
    bias = te.constant(BIAS[:columns], "bias")
    k = te.reduce_axis(depth, "k")
    acc = te.compute(
        (rows, columns),
        lambda i, j: te.sum(x[i, k.var].astype("int32") * w[j, k.var].astype("int32"), axis=k),
        "acc",
    )
    y = te.compute((rows, columns), lambda i, j: (acc[i, j] + bias[j]) >> 3, "y")
    return te.create_schedule([y]), [x, y]


BIAS = np.array([1000, -7, 0, 31, 5], np.int32)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "columns", "depth"), [(1, 3, 8), (4, 2, 12), (6, 5, 20)])
def test_forms_mean_the_same(form: str, rows: int, columns: int, depth: int) -> None:
    """Extreme data in the interpreter, which refuses overflow."""
    rng = np.random.default_rng(rows * depth)
    values = rng.choice(np.array([-127, 127, -1, 0, 64], np.int8), (columns, depth))
    data = rng.choice(np.array([-128, -127, -1, 0, 126, 127], np.int8), (rows, depth))
    schedule, args = _product(values, rows)
    choice = Choice("dsp.matrix_product", {"weights": form})
    assert apply(schedule, load_cpu("cortex-m4"), choice) == "dsp.matrix_product"
    program = te.lower(schedule, args)
    (found,) = interpret(program, {program.params[0]: data}).values()
    sums = data.astype(np.int64) @ values.T.astype(np.int64)
    np.testing.assert_array_equal(found, (sums + BIAS[:columns]) >> 3)
    stored = next(b for b in program.params if b.scope == "const" and b.data.ndim > 1)
    assert stored.data.nbytes >= values.size * (2 if form == "wide" else 1)


@pytest.mark.parametrize(
    ("values", "paired"),
    [
        (np.full((2, 8), 127, np.int8), True),
        # An odd weight of -128 leaves no room for a negative even one in its halfword.
        (np.array([[0, 0, -1, -128]] * 2, np.int8), False),
        (np.array([[-128, 127, -128, 0]] * 2, np.int8), True),
        # 352 * 127 * (128 + 255) / 2 is more than 2**23.
        (np.full((2, 352), 127, np.int8), False),
        (np.full((2, 344), 127, np.int8), True),
    ],
)
def test_bounds_of_pairs(values: Array, paired: bool) -> None:
    schedule, args = _product(values, 1)
    apply(schedule, load_cpu("cortex-m4"), Choice())
    types = {b.dtype for b in te.lower(schedule, args).params if b.scope == "const"}
    assert ("int16" in types) is paired
