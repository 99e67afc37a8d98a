"""One multiply-add for each operand, proven equal to the reference for all operands."""

from __future__ import annotations

import numpy as np
import pytest

from microtvm import te
from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.ops.base import NodeContext, attributes
from microtvm.ops.linear_form import LARGEST_SHIFT, LinearForm, every_value, linear_form
from microtvm.ops.registry import find
from microtvm.te.evaluate import evaluate_bodies
from microtvm.te.tensor import Tensor, placeholder, reads_of
from microtvm.tir.expr import Call, Expr, Param
from microtvm.tir.traversal import post_order

ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


def scale(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def random_sum(rng: np.random.Generator, op: str) -> NodeContext:
    """An addition or subtraction of two int8 tensors as quantised networks have them."""
    a = scale(rng, 0.005, 0.2)
    b = scale(rng, 0.005, 0.2) if rng.random() < 0.3 else a * scale(rng, 0.3, 3.0)
    out = max(a, b) * scale(rng, 0.5, 3.0)
    zeros = [int(rng.choice([-128, rng.integers(-128, 128)])) for _ in range(3)]
    types = {
        n: TensorType((256, 256), "int8", Quant((float(np.float32(s)),), (z,)))
        for n, s, z in zip("aby", (a, b, out), zeros, strict=True)
    }
    node = Node("n", op, ("a", "b"), ("y",), attributes(activation=str(rng.choice(ACTIVATIONS))))
    return NodeContext.of(Graph("g", ("a", "b"), ("y",), (node,), types, {}), node)


def compiled(ctx: NodeContext) -> Tensor:
    """The operator's tensor expression."""
    shapes = [t.shape for t in ctx.inputs]
    inputs = [placeholder(s, t.dtype) for s, t in zip(shapes, ctx.inputs, strict=True)]
    (y,) = find(ctx.node.op).compute(ctx, inputs)
    return y


def calls(y: Tensor) -> set[str]:
    assert y.op is not None
    return {n.name for n in post_order(y.op.bodies[0]) if isinstance(n, Call)}


def params(y: Tensor) -> dict[str, int]:
    assert y.op is not None
    nodes = post_order(y.op.bodies[0])
    return {n.name: n.value for n in nodes if isinstance(n, Param)}


@pytest.mark.parametrize("op", ["add", "sub"])
def test_random_quantisations(op: str) -> None:
    """All of these 200 have the form; it equals the numpy meaning for all 65,536 pairs."""
    rng = np.random.default_rng(11)
    found = 0
    a, b = np.meshgrid(every_value("int8"), every_value("int8"), indexing="ij")
    for _ in range(200):
        ctx = random_sum(rng, op)
        y = compiled(ctx)
        if "saturate8_shift" not in calls(y):
            continue
        found += 1
        assert y.op is not None
        (call,) = (n for n in post_order(y.op.bodies[0]) if isinstance(n, Call))
        shift = call.args[1]
        given = params(y)
        sums = given["offset"] + given["factor_a"] * a, given["factor_b"] * b
        assert max(np.max(np.abs(s)) for s in (*sums, sum(sums))) < 1 << 31
        result = np.clip(sum(sums) >> int(shift.value), -128, 127)  # type: ignore[attr-defined]
        result = np.clip(result, given.get("low", -128), given.get("high", 127))
        (wanted,) = find(op).evaluate(ctx, [a.astype(np.int8), b.astype(np.int8)])
        np.testing.assert_array_equal(result, wanted)
    assert found == 200


def test_what_is_not_linear_has_no_form() -> None:
    assert linear_form(lambda x: np.abs(x), [1.0], ["int8"], (-128, 127)) is None
    assert linear_form(lambda x, y: x * y // 64, [1.0, 1.0], ["int8", "int8"], (-128, 127)) is None


@pytest.mark.parametrize("slope", [np.inf, np.nan, 1e9])
def test_slopes_that_int32_has_no_room_for(slope: float) -> None:
    assert linear_form(lambda x: np.clip(x, -9, 9), [slope], ["int8"], (-9, 9)) is None


@pytest.mark.parametrize("level", [-128, 3, 127])
def test_a_constant(level: int) -> None:
    form = linear_form(lambda x: 0 * x + level, [0.0], ["int8"], (-128, 127))
    assert form is not None
    assert np.all(form.offset + form.factors[0] * every_value("int8") >> form.shift == level)


def test_limits_leave_the_form_free_beyond_them() -> None:
    """A slope that is right only between the limits, and an offset at which int32 still holds."""
    form = linear_form(lambda x: np.clip(40 * x - 900, 0, 100), [40.0], ["uint8"], (0, 100))
    assert form is not None
    x = every_value("uint8")
    values = np.clip((form.offset + form.factors[0] * x) >> form.shift, 0, 100)
    np.testing.assert_array_equal(values, np.clip(40 * x - 900, 0, 100))
    assert 0 < form.shift < LARGEST_SHIFT
    assert abs(form.offset) + abs(form.factors[0]) * 255 < 1 << 31


@pytest.mark.parametrize(
    ("dtype", "low", "high", "function"),
    [
        ("int8", -128, 127, {"saturate8_shift"}),
        ("int8", -3, 50, {"saturate8_shift"}),
        ("uint8", 0, 255, set()),
    ],
)
def test_expression(dtype: str, low: int, high: int, function: set[str]) -> None:
    """As the arithmetic says, for elements of both types."""
    form = LinearForm(1 << 9, (700, -300), 10, low, high)
    x = placeholder((4,), dtype, "x")

    def element(i: Expr) -> Expr:
        return form([x[i], x[3 - i]], dtype)

    y = te.compute((4,), element, "y")
    assert calls(y) == function
    assert reads_of(y.op.bodies) == [x]
    data = np.array([-128, -5, 90, 127] if dtype == "int8" else [0, 5, 200, 255], dtype)
    (found,) = evaluate_bodies([a.var for a in y.op.axis], [4], y.op.bodies, lambda t: data)
    wide = data.astype(np.int64)
    wanted = np.clip((512 + 700 * wide - 300 * wide[::-1]) >> 10, low, high)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == dtype


def test_other_operators_take_it() -> None:
    """Products with a constant, and what rescales a single operand; not a product of tensors."""
    q = [Quant((s,), (z,)) for s, z in ((0.1, 3), (0.05, -7), (0.13, 11))]
    types = {n: TensorType((256,), "int8", v) for n, v in zip("aby", q, strict=True)}
    types["z"] = TensorType((256,), "int8", Quant((0.38,), (11,)))
    types["b1"] = TensorType((1,), "int8", q[1])
    constant = {"b1": np.array([77], np.int8)}
    none = attributes(activation="none")
    cases = [
        (Node("n", "mul", ("a", "b1"), ("y",), none), True),
        (Node("n", "mul", ("b1", "a"), ("y",), none), True),
        (Node("n", "sub", ("b1", "a"), ("y",), none), True),
        (Node("n", "relu6", ("a",), ("y",), {}), True),
        (Node("n", "quantize", ("a",), ("y",), {}), True),
        (Node("n", "mul", ("a", "b"), ("y",), none), False),
        # A ratio of 0.26: the first of its two roundings is as coarse as the second.
        (Node("n", "quantize", ("a",), ("z",), {}), False),
    ]
    for node, taken in cases:
        graph = Graph("g", ("a", "b"), ("y",), (node,), types, constant)
        assert ("saturate8_shift" in calls(compiled(NodeContext.of(graph, node)))) is taken, node
