"""Which layers share code: those that take little of a model, with all that are alike."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from microtvm.errors import ScheduleError
from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.isa.schedule import BY_NAME, Choice
from microtvm.lower.kernel import SMALL, lower_group, small_groups
from microtvm.ops.base import attributes
from microtvm.ops.verify import verify
from microtvm.passes.fuse import fuse
from microtvm.target import load_cpu


def chain(widths: list[int]) -> Graph:
    """Dense layers of these widths, one after the other."""
    types = {"v0": TensorType((1, widths[0]), "int8", Quant((0.1,), (0,)))}
    constants, nodes = {}, []
    for k, (n, m) in enumerate(itertools.pairwise(widths)):
        types[f"w{k}"] = TensorType((m, n), "int8", Quant((0.01,), (0,)))
        types[f"v{k + 1}"] = TensorType((1, m), "int8", Quant((0.1,), (0,)))
        constants[f"w{k}"] = np.full((m, n), k + 1, np.int8)
        attrs = attributes(activation="none", keep_dims=False)
        nodes.append(Node(f"n{k}", "dense", (f"v{k}", f"w{k}"), (f"v{k + 1}",), attrs))
    last = f"v{len(nodes)}"
    return verify(Graph("chain", ("v0",), (last,), tuple(nodes), types, constants))


def test_little_of_the_products() -> None:
    graph = chain([100, 100, 4, 4])
    fused = fuse(graph)
    assert SMALL > 400 / (100 * 100 + 400 + 16)
    assert small_groups(graph, fused.groups) == {g.name for g in fused.groups[1:]}


def test_layers_alike_count_together() -> None:
    graph = chain([100, 100, *[20] * 12])
    fused = fuse(graph)
    total = 100 * 100 + 2000 + 11 * 400
    assert 400 / total < SMALL < 11 * 400 / total
    assert small_groups(graph, fused.groups) == set()


def test_a_choice_of_the_budget_gives_way() -> None:
    """Six channels are gathered, but not by words; who asks for a template by name is told."""
    graph = convolution(6)
    (group,) = fuse(graph).groups
    cpu = load_cpu("cortex-m4")
    asked = Choice("dsp.gather_product", {"weights": "wide"})
    with pytest.raises(ScheduleError, match="can't be tensorized by mtvm_unpack_words"):
        lower_group(graph, group, cpu, asked)
    taken = lower_group(graph, group, cpu, replace(asked, required=False)).choice
    assert taken.template not in ("", asked.template)
    assert taken.knobs == BY_NAME[taken.template].knobs({})


def convolution(channels: int) -> Graph:
    """3x3, padded."""
    weights = np.full((8, 3, 3, channels), 3, np.int8)
    attrs = attributes(
        activation="none", strides=(1, 1), dilation=(1, 1), padding=(1, 1, 1, 1), groups=1
    )
    types = {
        "x": TensorType((1, 6, 10, channels), "int8", Quant((0.1,), (0,))),
        "w": TensorType(weights.shape, "int8", Quant((0.01,), (0,))),
        "y": TensorType((1, 6, 10, 8), "int8", Quant((0.1,), (0,))),
    }
    node = Node("n", "conv2d", ("x", "w"), ("y",), attrs)
    return verify(Graph("conv", ("x",), ("y",), (node,), types, {"w": weights}))
