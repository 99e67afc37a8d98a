"""Where buffers lie in the arena: alignment."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from microtvm import te
from microtvm.codegen.expression import TensorKernel, build_expressions
from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.ops.base import attributes
from microtvm.ops.verify import verify
from microtvm.pipeline import compile_graph
from microtvm.target import load_cpu


def odd_sizes() -> Graph:
    """Dense layers of 5, 3 and 7 columns: no tensor's bytes are a multiple of anything."""
    widths = (9, 5, 3, 7)
    types = {"v0": TensorType((1, 9), "int8", Quant((0.1,), (0,)))}
    constants, nodes = {}, []
    for k, (n, m) in enumerate(itertools.pairwise(widths)):
        types[f"w{k}"] = TensorType((m, n), "int8", Quant((0.01,), (0,)))
        types[f"v{k + 1}"] = TensorType((1, m), "int8", Quant((0.1,), (0,)))
        constants[f"w{k}"] = np.arange(m * n).reshape(m, n).astype(np.int8)
        attrs = attributes(activation="none", keep_dims=False)
        nodes.append(Node(f"n{k}", "dense", (f"v{k}", f"w{k}"), (f"v{k + 1}",), attrs))
    return verify(Graph("odd", ("v0",), ("v3", "v1"), tuple(nodes), types, constants))


@pytest.mark.parametrize("cpu", ["cortex-m3", "cortex-m7", "cortex-m55", "rv32imc", "host"])
def test_buffers_have_the_alignment_that_the_core_asks_for(cpu: str) -> None:
    core = load_cpu(cpu)
    metadata = compile_graph(odd_sizes(), core).library.metadata
    offsets = [b["offset"] for b in metadata["buffers"]]
    assert len(set(offsets)) > 1
    assert all(offset % core.alignment == 0 for offset in offsets)
    assert metadata["arena_align"] == 16


def test_the_arena_is_aligned_as_its_buffers() -> None:
    core = replace(load_cpu("host"), alignment=64)
    library = compile_graph(odd_sizes(), core).library
    assert all(b["offset"] % 64 == 0 for b in library.metadata["buffers"])
    assert library.metadata["arena_align"] == 64
    assert "#define ODD_ARENA_ALIGN 64u" in library.files["odd.h"]


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_scratch_of_wide_elements(dtype: str) -> None:
    """They lie at multiples of their size, behind buffers of odd numbers of words."""
    x = te.placeholder((11,), "int32", "x")
    words = te.compute((10,), lambda i: x[i] + 1, "words")
    wide = te.compute((3,), lambda i: (x[i] + words[i + 7]).astype(dtype), "wide")
    y = te.compute((3,), lambda i: (wide[i] + wide[i]).astype("int32"), "y")
    library = build_expressions([TensorKernel("k", te.create_schedule(y), [x])], "wide")
    (found,) = (b for b in library.metadata["buffers"] if b["size"] == 24)
    assert found["kind"] == "scratch"
    assert found["offset"] % 8 == 0
