"""Graphs whose types are not what their operators make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from microtvm.errors import IRError, ModelError
from microtvm.graph.ir import TensorType
from microtvm.ops.registry import OPS, TFLITE, find
from microtvm.ops.verify import verify
from tests.ops.test_evaluate import graph_of_add


def test_a_sound_graph_is_given_back() -> None:
    graph = graph_of_add()
    assert verify(graph) is graph


def test_types_are_compared() -> None:
    graph = graph_of_add()
    wrong = replace(graph, types={**graph.types, "y": TensorType((4,), "float32")})
    message = r"node add_0 \(add\) makes float32\[1, 4\], but the graph says float32\[4\]"
    with pytest.raises(IRError, match=message):
        verify(wrong)


def test_operators_check_what_they_read() -> None:
    graph = graph_of_add()
    wrong = replace(graph, types={**graph.types, "a": TensorType((1, 4), "int32")})
    with pytest.raises(ModelError, match="add 'y': input"):
        verify(wrong)


def test_structure_is_checked_first() -> None:
    graph = graph_of_add()
    with pytest.raises(IRError, match="no outputs"):
        verify(replace(graph, outputs=()))


def test_operators_are_found_by_name() -> None:
    graph = graph_of_add()
    unknown = replace(graph, nodes=(replace(graph.nodes[0], op="divide"),))
    with pytest.raises(IRError, match="unknown operator 'divide'; known: add, avg_pool2d, concat"):
        verify(unknown)
    assert all(find(name).name == name for name in OPS)
    assert all(name == name.upper() for name in TFLITE)
