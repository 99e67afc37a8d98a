"""Programs that work on slices of the last dimension, and programs that only look like it."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.lower.kernel import lower_group
from microtvm.lower.slices import by_slices
from microtvm.ops.base import attributes
from microtvm.ops.verify import verify
from microtvm.passes.fuse import fuse
from microtvm.target import load_cpu
from microtvm.tir.expr import Expr, IntImm, Read, Var
from microtvm.tir.stmt import Buffer, For, Program, Stmt, Store, sequence

X, Y, T = Buffer("x", (6, 8), "int8"), Buffer("y", (6, 8), "int8"), Buffer("t", (6, 4), "int8")
G, P, C = Var("g"), Var("p"), Var("c")


def loop(var: Var, extent: int, *body: Stmt) -> Stmt:
    return For(var, IntImm(0), IntImm(extent), sequence(*body))


def program(*body: Stmt) -> Program:
    return Program("p", (X, Y), sequence(*body), (T,), (Y,))


def all_of(stmt: Stmt) -> Stmt:
    return loop(P, 6, loop(C, 4, stmt))


def copied(index: Expr) -> Stmt:
    return all_of(Store(T, (P, C), Read(X, (P, index))))


def stored(index: Expr) -> Stmt:
    return all_of(Store(Y, (P, index), Read(T, (IntImm(5) - P, C))))


OWN = G * 4 + C


def test_a_slice_is_copied_before_it_is_written() -> None:
    assert by_slices(program(loop(G, 2, copied(OWN), stored(OWN))), X, Y)


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("written before it is read", (loop(G, 2, stored(OWN), copied(OWN)),)),
        ("read again while it is written", (loop(G, 2, copied(OWN), stored(OWN), copied(OWN)),)),
        ("the next slice is read too", (loop(G, 2, copied(OWN + 1), stored(OWN)),)),
        ("slices are narrower than what is written", (loop(G, 2, copied(G * 2 + C), stored(OWN)),)),
        ("another slice is written", (loop(G, 2, copied(OWN), stored(C + 4 - G * 4)),)),
        ("rows are beyond their end", (loop(G, 3, copied(OWN), stored(OWN)),)),
        ("two loops", (loop(G, 2, copied(OWN)), loop(G, 2, stored(OWN)))),
        ("no slices", (all_of(Store(Y, (P, C), Read(X, (IntImm(5) - P, C)))),)),
    ],
)
def test_what_only_looks_like_it(why: str, body: tuple[Stmt, ...]) -> None:
    assert not by_slices(program(*body), X, Y), why


def test_rows_of_another_length() -> None:
    short = Buffer("x", (12, 4), "int8")
    body = loop(G, 2, copied(OWN), stored(OWN))
    assert not by_slices(Program("p", (short, Y), body, (T,), (Y,)), short, Y)


@pytest.mark.parametrize(("channels", "in_place"), [(8, (0,)), (64, (0,)), (10, ())])
def test_a_depthwise_convolution(channels: int, in_place: tuple[int, ...]) -> None:
    """Over its input where groups of channels are whole; what that gives is tested on the core."""
    shape = (1, 9, 7, channels)
    attrs = attributes(
        activation="relu", strides=(1, 1), dilation=(1, 1), padding=(1, 1, 1, 1), multiplier=1
    )
    rng = np.random.default_rng(0)
    graph = verify(
        Graph(
            "g", ("x",), ("y",), (Node("n", "depthwise_conv2d", ("x", "w"), ("y",), attrs),),
            {
                "x": TensorType(shape, "int8", Quant((0.1,), (3,))),
                "w": TensorType(
                    (1, 3, 3, channels), "int8", Quant((0.01,) * channels, (0,) * channels, 3)
                ),
                "y": TensorType(shape, "int8", Quant((0.2,), (-128,))),
            },
            {"w": rng.integers(-127, 128, (1, 3, 3, channels)).astype(np.int8)},
        )
    )  # fmt: skip
    (group,) = fuse(graph).groups
    kernel = lower_group(graph, group, load_cpu("cortex-m4"))
    assert kernel.choice.template == "dsp.depthwise_product"
    assert kernel.in_place == in_place
