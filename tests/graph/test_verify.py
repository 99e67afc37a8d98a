"""Every invariant of a graph's structure, each broken in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from microtvm.errors import IRError
from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.graph.verify import verify_structure

T = TensorType((2,), "float32")
ADD = Node("add_0", "add", ("x", "c"), ("y",), {"activation": "none"})
GRAPH = Graph(
    "g",
    ("x",),
    ("y",),
    (ADD,),
    {"x": T, "c": T, "y": T},
    {"c": np.ones(2, np.float32)},
    {"y": "the sum"},
    {"z": "y"},
)


def typed(value: str, tensor_type: TensorType) -> Graph:
    """The graph with one type changed."""
    return replace(GRAPH, types={**GRAPH.types, value: tensor_type})


def with_node(**changes: object) -> Graph:
    """The graph with its node changed."""
    return replace(GRAPH, nodes=(replace(ADD, **changes),))  # type: ignore[arg-type]


def quantised(dtype: str, *args: object) -> TensorType:
    """A type of two elements with some quantisation."""
    return TensorType((2,), dtype, Quant(*args))  # type: ignore[arg-type]


def test_sound() -> None:
    verify_structure(GRAPH)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (replace(GRAPH, nodes=(ADD, replace(ADD, outputs=("z",)))), "two nodes are named add_0"),
        (with_node(inputs=("x", "q")), "node add_0 reads %q before it is made"),
        (with_node(inputs=("x", "y")), "node add_0 reads %y before it is made"),
        (with_node(outputs=("x",)), "node add_0 makes %x, which exists already"),
        (with_node(outputs=("c",)), "node add_0 makes %c, which exists already"),
        (with_node(outputs=("y", "q")), "node add_0 makes %q, which has no type"),
        (with_node(outputs=()), "node add_0 has no outputs"),
        (with_node(name="a b"), "node name 'a b' is not an identifier"),
        (with_node(op="a-b"), "operator name 'a-b' is not an identifier"),
        (with_node(attrs={"1": 2}), "attribute name '1' is not an identifier"),
        (with_node(attrs={"a": np.int64(2)}), "node add_0: attribute a is .*no text form"),
        (with_node(attrs={"a": (1, 2.0)}), r"attribute a is \(1, 2.0\), which has no text form"),
        (with_node(attrs={"a": (True,)}), "attribute a is"),
        (with_node(attrs={"a": [1]}), "attribute a is"),
        (typed("x" * 64, T), "value name 'x*' is not an identifier of at most 63 characters"),
        (typed("stray", T), "%stray has a type, but nothing makes it"),
        (replace(GRAPH, sources={"stray": "s"}), "%stray has a source, but nothing makes it"),
        (replace(GRAPH, absorbed={"y": "x"}), "%y is absorbed by %x, but exists"),
        (replace(GRAPH, absorbed={"z": "q"}), "%z is absorbed by %q, but exists, or that does not"),
        (replace(GRAPH, channels={"q": (0, 1)}), "%q holds some channels, but does not exist"),
        (
            replace(GRAPH, channels={"y": (1, 1)}),
            r"%y holds channels \(1, 1\), which do not ascend",
        ),
        (replace(GRAPH, channels={"y": (-1, 1)}), "which do not ascend from 0"),
        (replace(GRAPH, channels={"y": (0, 1, 2)}), r"%y is of shape \(2,\), but holds 3 channels"),
        (replace(GRAPH, inputs=("x", "q")), "input %q has no type"),
        (replace(GRAPH, inputs=("x", "x")), "%x is an input twice"),
        (replace(GRAPH, inputs=("x", "c")), "%c is an input and a constant"),
        (replace(GRAPH, outputs=()), "graph 'g' has no outputs"),
        (replace(GRAPH, outputs=("x",)), "output %x is not made by a node"),
        (replace(GRAPH, outputs=("y", "y")), "%y is an output twice"),
        (replace(GRAPH, constants={"q": np.ones(2)}), "constant %q has no type"),
        (
            typed("c", TensorType((3,), "float32")),
            r"array float32\[2\], its type says float32\[3\]",
        ),
        (typed("c", TensorType((2,), "int32")), r"array float32\[2\], its type says int32\[2\]"),
        (typed("x", quantised("float32", (1.0,), (0,))), "%x is float32 and has a scale"),
        (typed("x", quantised("int8", (0.0,), (0,))), "%x: scale 0.0 is not positive and finite"),
        (typed("x", quantised("int8", (1e39,), (0,))), "%x: scale inf is not positive and finite"),
        (typed("x", quantised("int8", (1.0,), (128,))), "%x: zero point 128 is outside int8"),
        (typed("x", quantised("uint8", (1.0,), (-1,))), "%x: zero point -1 is outside uint8"),
        (
            typed("x", quantised("int8", (1.0, 1.0), (0, 0), 1)),
            "%x: quantisation axis 1 is outside",
        ),
        (typed("x", quantised("int8", (1.0,) * 3, (0,) * 3, 0)), "%x: 3 scales for axis 0"),
    ],
)
def test_broken(graph: Graph, message: str) -> None:
    with pytest.raises(IRError, match=message):
        verify_structure(graph)


def test_types_check_themselves() -> None:
    with pytest.raises(IRError, match="unknown dtype 'int9'"):
        TensorType((1,), "int9")
    with pytest.raises(IRError, match="dimension below 1"):
        TensorType((1, 0), "int8")
    with pytest.raises(IRError, match="1 scales and 2 zeros"):
        Quant((1.0,), (0, 0))
    with pytest.raises(IRError, match="2 scales needs an axis"):
        Quant((1.0, 2.0), (0, 0))
    with pytest.raises(IRError, match="no per-tensor quantisation"):
        _ = T.scale
    with pytest.raises(IRError, match="%x is not a constant of graph g"):
        GRAPH.const("x")


def test_scales_are_float32() -> None:
    assert Quant((0.1,), (0,)).scale == (float(np.float32(0.1)),)


def test_pruned_drops_what_nothing_names() -> None:
    extra = replace(GRAPH, types={**GRAPH.types, "q": T}, constants={**GRAPH.constants, "q": None})
    channels = {"q": (0, 1), "y": (0, 1)}
    pruned = replace(extra, sources={"q": "a", "z": "b"}, channels=channels).pruned()
    assert (set(pruned.types), set(pruned.constants)) == ({"x", "c", "y"}, {"c"})
    assert pruned.sources == {"z": "b"}
    assert pruned.channels == {"y": (0, 1)}
