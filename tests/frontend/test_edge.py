"""Stripping the conversions at a quantised model's edges."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from microtvm.frontend import load_model
from microtvm.frontend.edge import strip_edges
from microtvm.graph.ir import Graph, same_graph
from microtvm.ops.evaluate import evaluate_graph
from microtvm.ops.verify import verify
from tests.frontend.models import many_operators
from tests.ops.oracle import imported
from tests.reference import Operator, Tensor, build, run_all_tensors, schema


def chain(dtype: str, middle: int = 2) -> Graph:
    """x -> quantize -> relu, `middle` times -> back to `dtype`."""
    edge = None if dtype == "float32" else 0.25
    zero = 0 if dtype == "float32" else 7
    names = [f"t{i}" for i in range(middle + 1)]
    tensors = [
        Tensor("x", (1, 4), dtype, edge, zero),
        *(Tensor(n, (1, 4), "int8", 0.5, -3) for n in names),
        Tensor("y", (1, 4), dtype, edge, zero),
    ]
    back = ("DEQUANTIZE", schema.DequantizeOptionsT())
    if dtype != "float32":
        back = ("QUANTIZE", schema.QuantizeOptionsT())
    operators = [
        Operator("QUANTIZE", ("x",), ("t0",), schema.QuantizeOptionsT()),
        *(Operator("RELU", (a,), (b,)) for a, b in pairwise(names)),
        Operator(back[0], (names[-1],), ("y",), back[1], 2),
    ]
    return imported(build(tensors, operators, ["x"], ["y"]))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_both_edges(dtype: str) -> None:
    graph = chain(dtype)
    stripped = verify(strip_edges(graph))
    assert [n.op for n in stripped.nodes] == ["relu", "relu"]
    assert (stripped.inputs, stripped.outputs) == (("x",), ("y",))
    assert {stripped.types[v].dtype for v in ("x", "y")} == {"int8"}
    q = np.array([[-128, -3, 0, 127]], np.int8)
    expected = np.maximum(q, -3)
    np.testing.assert_array_equal(evaluate_graph(stripped, {"x": q})["y"], expected)


def test_the_inside_of_a_model_stays_as_it_was(tmp_path: Path) -> None:
    model = many_operators()
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    kept, stripped = load_model(path), load_model(path, strip_edges=True)
    assert kept.types["x"].dtype == "float32"
    assert stripped.types["x"] == kept.types["q"]
    assert stripped.types["y"] == kept.types["s"]
    x = np.random.default_rng(8).normal(scale=6, size=(1, 6, 5, 3)).astype(np.float32)
    expected = run_all_tensors(model, [x])
    found = evaluate_graph(stripped, {"x": expected["q"]})
    np.testing.assert_array_equal(found["y"], expected["s"])
    np.testing.assert_array_equal(found["m"], expected["m"])


def test_edges_that_others_need_are_kept() -> None:
    """An input that is read in float too, an output that the model reads on, and one conversion
    alone.
    """
    x, q, y, z = (Tensor(n, (1, 4), "float32") for n in "xqyz")
    q = Tensor("q", (1, 4), "int8", 0.5)
    quantize = Operator("QUANTIZE", ("x",), ("q",), schema.QuantizeOptionsT())
    dequantize = Operator("DEQUANTIZE", ("q",), ("y",), schema.DequantizeOptionsT(), 2)
    add = Operator("ADD", ("x", "y"), ("z",), schema.AddOptionsT())
    graph = imported(build([x, q, y, z], [quantize, dequantize, add], ["x"], ["z", "y"]))
    assert same_graph(strip_edges(graph), graph)
    alone = imported(build([x, q], [quantize], ["x"], ["q"]))
    assert same_graph(strip_edges(alone), alone)
    given = imported(build([q, y], [dequantize], ["q"], ["y"]))
    assert same_graph(strip_edges(given), given)
    both = imported(build([x, q, y], [quantize, dequantize], ["x"], ["y"]))
    stripped = verify(strip_edges(both))
    assert [n.op for n in stripped.nodes] == ["dequantize"]
