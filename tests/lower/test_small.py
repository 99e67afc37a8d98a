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
from microtvm.pipeline import CompileOptions, compile_graph
from microtvm.target import load_cpu
from microtvm.tir.expr import Read
from microtvm.tir.stmt import Store, walk
from microtvm.tir.traversal import post_order


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


@pytest.mark.parametrize("cpu", ["cortex-m0", "rv32imc"])
def test_small_layers_share_a_tile_and_a_kernel(cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They differ in their depth, which is how far rows are apart, and in their columns."""
    graph = pointwise([12, 20, 28, 16])
    for most, count in ((SMALL, 3), (2.0, 1)):
        monkeypatch.setattr("microtvm.lower.kernel.SMALL", most)
        library = compile_graph(
            graph, load_cpu(cpu), options=CompileOptions(fold_channels=False)
        ).library
        assert len({o["kernel"] for o in library.metadata["operators"]}) == count
        assert library.files["m.c"].count("MTVM_TILE_CALLED void") == count


@pytest.mark.parametrize("width", [3, 8])
def test_a_small_depthwise_row_that_is_one_tile(width: int) -> None:
    """As many products are written out as one pixel has; where tiles are a loop, all of a tile."""
    graph = depthwise(width)
    (group,) = fuse(graph).groups
    written = {}
    for small in (False, True):
        program = lower_group(graph, group, load_cpu("rv32imc"), Choice(small=small)).program
        sums = [s for s in walk(program.body) if isinstance(s, Store) and reads_itself(s)]
        written[small] = len(sums)
    assert written == ({False: 27, True: 9} if width == 3 else {False: 36, True: 36})


def reads_itself(store: Store) -> bool:
    """Whether it adds to what it overwrites."""
    reads = [n for n in post_order(store.value) if isinstance(n, Read)]
    return any(r.source is store.buffer for r in reads)


def pointwise(widths: list[int]) -> Graph:
    """Convolutions of 1x1 on a 6x6 image, one after the other, of these channels."""
    attrs = attributes(
        activation="none", strides=(1, 1), dilation=(1, 1), padding=(0, 0, 0, 0), groups=1
    )
    types = {"v0": TensorType((1, 6, 6, widths[0]), "int8", Quant((0.1,), (0,)))}
    constants, nodes = {}, []
    for k, (n, m) in enumerate(itertools.pairwise(widths)):
        weights = np.full((m, 1, 1, n), k + 1, np.int8)
        types[f"w{k}"] = TensorType(weights.shape, "int8", Quant((0.001,), (0,)))
        types[f"v{k + 1}"] = TensorType((1, 6, 6, m), "int8", Quant((0.1,), (0,)))
        constants[f"w{k}"] = weights
        nodes.append(Node(f"n{k}", "conv2d", (f"v{k}", f"w{k}"), (f"v{k + 1}",), attrs))
    return verify(Graph("m", ("v0",), (f"v{len(nodes)}",), tuple(nodes), types, constants))


def depthwise(width: int) -> Graph:
    """3x3 on two rows, padded."""
    attrs = attributes(
        activation="none", strides=(1, 1), dilation=(1, 1), padding=(1, 1, 1, 1), multiplier=1
    )
    image = TensorType((1, 2, width, 4), "int8", Quant((0.1,), (0,)))
    weights = np.full((1, 3, 3, 4), 3, np.int8)
    types = {"x": image, "y": image, "w": TensorType((1, 3, 3, 4), "int8", Quant((0.1,), (0,)))}
    node = Node("n", "depthwise_conv2d", ("x", "w"), ("y",), attrs)
    return verify(Graph("m", ("x",), ("y",), (node,), types, {"w": weights}))


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
