"""The numpy meaning of whole models, against every tensor of LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microtvm.errors import UserError
from microtvm.frontend import load_model
from microtvm.graph.ir import Graph
from microtvm.ops.base import NodeContext
from microtvm.ops.evaluate import FOLD_LIMIT_BYTES, evaluate_graph, fold_node
from tests.conftest import shared_models
from tests.ops.oracle import FLOAT_TOLERANCE, imported
from tests.reference import Array, Tensor, run_all_tensors, schema, single

MODELS = (
    "ad01_int8", "kws_int8", "resnet8_int8", "strww_int8", "vww_int8", "ad01_fp32", "resnet8_fp32",
)  # fmt: skip


def assert_close(found: Array, expected: Array, what: str) -> None:
    """Integers bit for bit; floats to 1e-5 of the largest element, or of 1."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), what
    if found.dtype != np.float32:
        np.testing.assert_array_equal(found, expected, what)
        return
    limit = FLOAT_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit, err_msg=what)


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    """All eight inputs: the published outputs, and every tensor in between."""
    path: Path = shared_models() / f"{name}.tflite"
    graph = load_model(path)
    made = graph.producers()
    with np.load(path.with_suffix(".npz")) as golden:
        for x, y in zip(golden["x"], golden["y"], strict=True):
            given = x.reshape(graph.types[graph.inputs[0]].shape)
            found = evaluate_graph(graph, {graph.inputs[0]: given})
            expected = run_all_tensors(path, [given])
            for value in made:
                assert_close(found[value], expected[graph.sources[value]], f"{name} %{value}")
            out = found[graph.outputs[0]]
            assert_close(out, y.reshape(out.shape), f"{name} output")


def graph_of_add() -> Graph:
    tensors = [Tensor(n, (1, 4), "float32") for n in "aby"]
    return imported(single("ADD", tensors[:2], tensors[2], schema.AddOptionsT()))


def test_inputs_are_checked() -> None:
    graph, good = graph_of_add(), np.zeros((1, 4), np.float32)
    with pytest.raises(UserError, match="no array for input 'b'; found: a"):
        evaluate_graph(graph, {"a": good})
    with pytest.raises(UserError, match="'c' is not an input; the inputs are a, b"):
        evaluate_graph(graph, {"a": good, "b": good, "c": good})
    with pytest.raises(UserError, match=r"input 'b' is float32\[1, 4\], found float32\[4\]"):
        evaluate_graph(graph, {"a": good, "b": good[0]})
    with pytest.raises(UserError, match=r"found float64\[1, 4\]"):
        evaluate_graph(graph, {"a": good, "b": good.astype(np.float64)})


def test_only_small_constants_are_folded() -> None:
    graph = graph_of_add()
    ctx = NodeContext.of(graph, graph.nodes[0])
    assert fold_node(ctx) is None
    ones = np.ones((1, 4), np.float32)
    full = NodeContext(ctx.node, ctx.inputs, ctx.outputs, {0: ones, 1: ones})
    folded = fold_node(full)
    assert folded is not None
    np.testing.assert_array_equal(folded[0], 2 * ones)
    assert not folded[0].flags.writeable
    assert FOLD_LIMIT_BYTES == 1 << 24
