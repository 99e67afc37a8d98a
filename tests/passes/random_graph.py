"""Random graphs that are rich in what passes rewrite, and single nodes to make graphs of."""

from __future__ import annotations

import numpy as np

from microtvm.graph.ir import Attr, Graph, Node, Quant, TensorType
from microtvm.ops.base import NodeContext, attributes
from microtvm.ops.registry import find
from microtvm.util import Array

ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


class Maker:
    """A graph that grows by a node at a time; types are inferred."""

    def __init__(self, shape: tuple[int, ...], dtype: str, quant: Quant | None = None) -> None:
        self.types: dict[str, TensorType] = {"x": TensorType(shape, dtype, quant)}
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []

    def constant(self, array: Array, quant: Quant | None = None) -> str:
        """A new constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, array.dtype.name, quant)
        return name

    def add(
        self,
        op: str,
        inputs: tuple[str, ...],
        like: TensorType | None = None,
        name: str = "",
        **attrs: Attr,
    ) -> str:
        """A node; its output has the inferred shape and `like`'s dtype and quantisation."""
        like = like or self.types[inputs[0]]
        out = name or f"v{len(self.nodes)}"
        node = Node(f"n{len(self.nodes)}", op, inputs, (out,), attributes(**attrs))
        arrays = {i: self.constants[v] for i, v in enumerate(inputs) if v in self.constants}
        ctx = NodeContext(node, tuple(self.types[v] for v in inputs), (like,), arrays)
        ((shape, dtype),) = find(op).infer(ctx)
        self.types[out] = TensorType(shape, dtype, like.quant)
        self.nodes.append(node)
        return out

    def graph(self, *outputs: str) -> Graph:
        """The graph with these outputs."""
        sources = {v: f"source/{v}" for v in self.types}
        graph = Graph(
            "random", ("x",), outputs, tuple(self.nodes), self.types, self.constants, sources
        )
        return graph.pruned()


def random_quant(rng: np.random.Generator) -> Quant:
    """One of few, so that equal ones meet."""
    scale = float(rng.choice([0.05, 0.1, 0.02]))
    return Quant((scale,), (int(rng.choice([-128, 0, 7])),))


def random_graph(rng: np.random.Generator) -> Graph:
    """Ten to twenty operators in a row, with side outputs."""
    dtype = str(rng.choice(["int8", "float32"]))
    shape = (1, int(rng.integers(3, 8)), int(rng.integers(3, 8)), int(rng.choice([2, 4])))
    maker = Maker(shape, dtype, random_quant(rng) if dtype == "int8" else None)
    values = ["x"]
    for _ in range(int(rng.integers(10, 20))):
        # Mostly the last value, so that chains arise.
        x = values[-1] if rng.random() < 0.85 else str(rng.choice(values))
        made = _random_node(rng, maker, x)
        if made is not None:
            values.append(made)
    made_values = values[1:] or [maker.add("copy", ("x",))]
    count = min(len(made_values), int(rng.integers(1, 4)))
    outputs = [made_values[-1], *rng.choice(made_values, count, replace=False).tolist()]
    return maker.graph(*dict.fromkeys(outputs))


def _random_node(rng: np.random.Generator, maker: Maker, x: str) -> str | None:
    kind = maker.types[x]
    integer = kind.dtype == "int8"
    other = TensorType(kind.shape, kind.dtype, random_quant(rng) if integer else None)
    same_or_other = kind if rng.random() < 0.7 else other
    choice = int(rng.integers(0, 11))
    if choice == 0:
        flat = TensorType((kind.elements,), kind.dtype, same_or_other.quant)
        target = kind if len(kind.shape) == 1 else flat
        return maker.add("reshape", (x,), target)
    if choice == 1:
        return maker.add("copy", (x,))
    if choice == 2:
        return maker.add(str(rng.choice(ACTIVATIONS[1:])), (x,), same_or_other)
    if choice == 3 and integer:
        return maker.add("quantize", (x,), same_or_other)
    if choice == 4 and integer:
        middle = maker.add("dequantize", (x,), TensorType(kind.shape, "float32"))
        return maker.add("quantize", (middle,), same_or_other)
    if choice == 5:
        return maker.add("concat", (x,), axis=0, activation="none")
    if choice == 6 and len(kind.shape) <= 4:
        return _random_add(rng, maker, x, same_or_other)
    if len(kind.shape) != 4:
        return _back_to_image(maker, x)
    if choice == 7:
        return _random_pad(rng, maker, x)
    if choice == 8:
        return _random_pool(rng, maker, x)
    return _random_conv(rng, maker, x, other)


def _back_to_image(maker: Maker, x: str) -> str:
    kind = maker.types[x]
    channels = 2 if kind.elements % 2 == 0 else 1
    return maker.add(
        "reshape",
        (x,),
        TensorType((1, 1, kind.elements // channels, channels), kind.dtype, kind.quant),
    )


def _random_add(rng: np.random.Generator, maker: Maker, x: str, like: TensorType) -> str:
    kind = maker.types[x]
    if kind.dtype == "int8":
        values: Array = rng.integers(-128, 128, kind.shape[-1:]).astype(np.int8)
    else:
        values = rng.normal(size=kind.shape[-1:]).astype(np.float32)
    c = maker.constant(values, kind.quant)
    if rng.random() < 0.3:  # something to fold
        c = maker.add("add", (c, c), maker.types[c], activation="relu")
    return maker.add("add", (x, c), like, activation=str(rng.choice(ACTIVATIONS)))


def _random_pad(rng: np.random.Generator, maker: Maker, x: str) -> str:
    kind = maker.types[x]
    before, after = (tuple(int(v) for v in (0, *rng.integers(0, 3, 2), 0)) for _ in range(2))
    if rng.random() < 0.2:
        before = after = (0, 0, 0, 0)
    value: int | float = 0.0
    if kind.dtype == "int8":
        value = int(rng.choice([kind.zero, -128, 5]))
    return maker.add("pad", (x,), before=before, after=after, value=value)


def _random_pool(rng: np.random.Generator, maker: Maker, x: str) -> str:
    kind = maker.types[x]
    size = tuple(min(int(rng.integers(1, 4)), n) for n in kind.shape[1:3])
    padding = tuple(int(rng.integers(0, s)) for s in np.repeat(size, 2))
    if rng.random() < 0.3:
        size, padding = (1, 1), (0, 0, 0, 0)
    op = str(rng.choice(["avg_pool2d", "max_pool2d"]))
    activation = str(rng.choice(ACTIVATIONS))
    return maker.add(op, (x,), size=size, strides=(1, 1), padding=padding, activation=activation)


def _random_conv(rng: np.random.Generator, maker: Maker, x: str, like: TensorType) -> str:
    kind = maker.types[x]
    channels = kind.shape[3]
    depthwise = rng.random() < 0.3
    groups = int(rng.choice([1, channels]))
    kernel = tuple(min(int(rng.integers(1, 4)), n) for n in kind.shape[1:3])
    per_group = int(rng.integers(1, 3))
    outputs = channels * 1 if groups == 1 else groups * per_group
    shape = (outputs, *kernel, channels // groups)
    if depthwise:
        outputs = channels * per_group
        shape = (1, *kernel, outputs)
    axis = 3 if depthwise else 0
    if kind.dtype == "int8":
        scales = tuple(float(s) for s in rng.uniform(0.001, 0.02, outputs))
        quant = Quant(scales, (0,) * outputs, axis)
        w = maker.constant(rng.integers(-127, 128, shape).astype(np.int8), quant)
        b = maker.constant(rng.integers(-3000, 3000, outputs).astype(np.int32))
    else:
        w = maker.constant((rng.normal(size=shape) / 4).astype(np.float32))
        b = maker.constant(rng.normal(size=outputs).astype(np.float32))
    rest: dict[str, Attr] = {"multiplier": per_group} if depthwise else {"groups": groups}
    return maker.add(
        "depthwise_conv2d" if depthwise else "conv2d",
        (x, w, b),
        like,
        strides=(1, 1),
        dilation=(1, 1),
        padding=tuple(int(p) for p in rng.integers(0, 2, 4)),
        activation=str(rng.choice(ACTIVATIONS)),
        **rest,
    )


def random_input(rng: np.random.Generator, graph: Graph) -> dict[str, Array]:
    """An array for the input x."""
    kind = graph.types["x"]
    if kind.dtype == "int8":
        return {"x": rng.integers(-128, 128, kind.shape).astype(np.int8)}
    return {"x": rng.normal(scale=3, size=kind.shape).astype(np.float32)}
