"""Padded copies of an image's rows, sixteen bytes at a time."""

from __future__ import annotations

from microtvm.errors import ScheduleError
from microtvm.isa.dsp_operand import Border
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, Tensor, compute, placeholder, select
from microtvm.te.tensor import all as every
from microtvm.tir.expr import Expr

CHUNK = 16
"""Bytes: four loads and four stores."""


def padded_rows(image: Tensor, border: Border | None, length: int, chunk: int = CHUNK) -> Tensor:
    """The int8 image [batch, rows, columns, channels] as [batch, rows, elements], padding written
    out; a row has at least `length` elements, those beyond its end as beyond the border."""
    channels = image.shape[3]

    def element(b: Expr, h: Expr, e: Expr) -> Expr:
        begin = e // chunk * chunk
        if border is None:
            found: Expr = image[b, h, e // channels, e % channels]
            end = image.shape[2] * channels
            return select(begin + chunk <= end, found, select(e < end, found, 0))

        def index(e: Expr) -> tuple[Expr, ...]:
            return b, h, e // channels, e % channels

        one = select(border.inside(index(e)), border.inner(index(e)), border.beyond(index(e)))
        ends = (border.inside(index(end)) for end in (begin, begin + (chunk - 1)))
        # Inside is a box: what lies between two elements inside is inside.
        return select(every(*ends), border.inner(index(e)), one)

    shape = (*image.shape[:2], -(-length // chunk) * chunk)
    rows: Tensor = compute(shape, element, f"{image.name}_rows")
    return rows


def copy_rows(rows: Stage, at: tuple[Stage, IterVar] | None) -> None:
    """Copy at once, or what is needed inside a loop of another stage."""
    # Whole chunks are needed, whatever part of a row is read.
    *_, inner = rows.transform_layout(lambda b, h, e: [b, h, e // CHUNK, e % CHUNK])
    if at is not None:
        rows.compute_at(*at)
    rows.tensorize(inner, intrinsic())


def interleave_rows(rows: Stage, at: tuple[Stage, IterVar], channels: int, chunk: int) -> None:
    """Copy what is needed inside a loop of another stage, of rows whose pixels are `channels` long:
    [part of the channels, column, row, chunk], so that what a column of pixels holds in one part
    lies in one piece, and the distances between rows and columns are always the same."""

    def order(b: Expr, h: Expr, e: Expr) -> list[Expr]:
        return [b, e // chunk % (channels // chunk), e // channels, h, e % chunk]

    b, part, column, h, inner = rows.transform_layout(order)
    rows.compute_at(*at)
    rows.reorder(b, h, column, part, inner)
    rows.tensorize(inner, intrinsic(chunk))


def intrinsic(chunk: int = CHUNK) -> TensorIntrin:
    """y[i] = x[i] for `chunk` bytes."""
    x = placeholder((chunk,), "int8", "x")
    y: Tensor = compute((chunk,), lambda i: x[i], "y")

    def call(operands: list[COperand]) -> str:
        if any(o.strides != (1,) for o in operands):
            raise ScheduleError(f"bytes are copied that lie {operands[1].strides[0]} apart")
        return f"memcpy({operands[0].text}, {operands[1].text}, {chunk});"

    return declare("mtvm_copy", y, [x], call)
