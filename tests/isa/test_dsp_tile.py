"""The SMLAD tile refuses operands that do not lie as its text reads them."""

from __future__ import annotations

import pytest

from microtvm.errors import ScheduleError
from microtvm.isa.dsp_tile import Tile
from microtvm.te.intrin import COperand

TILE = Tile(
    rows=4,
    columns=2,
    groups=6,
    x_row=4,
    x_half=16,
    x_group=32,
    w_column=4,
    w_half=0,
    w_group=8,
    wide_weights=False,
)

ACC = COperand("acc", (), (2, 1))
X = COperand("x", (), (2, 96, 16, 8, 1))
W = COperand("w", (), (4, 48, 8, 2, 1))


def test_operands_as_declared() -> None:
    assert TILE.intrinsic().call([ACC, X, W]) == f"{TILE.name}(acc, x, w);"


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        ([ACC, COperand("x", (), (2, 96, 16, 1, 8)), W], r"reads strides \(2, 96, 16, 8, 1\), the"),
        ([ACC, X, COperand("w", (), (8, 48, 8, 2, 1))], r"the operand has \(8, 48, 8, 2, 1\)"),
        ([COperand("acc", (), (8, 1)), X, W], "writes a tile in memory, row by row"),
        ([COperand("", ("a", "b"), (2, 1)), X, W], "writes a tile in memory, row by row"),
    ],
)
def test_other_operands(operands: list[COperand], message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        TILE.intrinsic().call(operands)
