"""Random int8 networks of which some channels can have one value only, as training leaves them."""

from __future__ import annotations

import numpy as np

from microtvm.graph.ir import Attr, Graph, Quant, TensorType
from microtvm.util import Array
from tests.passes.random_graph import Maker

QUANTS = (Quant((0.05,), (-128,)), Quant((0.1,), (-128,)), Quant((0.1,), (3,)))
"""Few, so that tensors can be concatenated."""


class Network:
    """A graph that grows by an operator at a time."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self.rng = rng
        self.maker = Maker(shape, "int8", self.quant())

    def quant(self) -> Quant:
        """One of few."""
        return QUANTS[int(self.rng.integers(len(QUANTS)))]

    def kind(self, value: str) -> TensorType:
        """A value's type."""
        return self.maker.types[value]

    def conv(
        self,
        x: str,
        channels: int,
        size: int = 1,
        padding: int = 0,
        dead: float = 0.5,
        activation: str = "relu",
        groups: int = 1,
        **attrs: Attr,
    ) -> str:
        """A convolution of which about the part `dead` of the output channels is constant."""
        shape = (channels, size, size, self.kind(x).shape[3] // groups)
        w, bias, like = self._weights(x, shape, 0, dead)
        window = {"strides": (1, 1), "dilation": (1, 1), "padding": (padding,) * 4, **attrs}
        return self.maker.add(
            "conv2d", (x, w, *bias), like, groups=groups, activation=activation, **window
        )

    def depthwise(
        self, x: str, multiplier: int = 1, size: int = 3, padding: int = 1, dead: float = 0.2
    ) -> str:
        """A depthwise convolution; padding makes some of its constant inputs vary."""
        shape = (1, size, size, self.kind(x).shape[3] * multiplier)
        w, bias, like = self._weights(x, shape, 3, dead)
        right = 0 if self.kind(x).shape[2] > 1 else padding
        return self.maker.add(
            "depthwise_conv2d", (x, w, *bias), like, multiplier=multiplier, strides=(1, 1),
            dilation=(1, 1), padding=(padding, padding, padding, right), activation="relu",
        )  # fmt: skip

    def dense(self, x: str, outputs: int, dead: float = 0.3) -> str:
        """A dense layer on each image as one row."""
        kind = self.kind(x)
        w, bias, like = self._weights(x, (outputs, kind.elements // kind.shape[0]), 0, dead)
        return self.maker.add("dense", (x, w, *bias), like, activation="none", keep_dims=False)

    def _weights(
        self, x: str, shape: tuple[int, ...], axis: int, dead: float
    ) -> tuple[str, tuple[str, ...], TensorType]:
        """Weights, bias (or none) and the output's type, but for its shape."""
        rng, channels = self.rng, shape[axis]
        w = rng.integers(-20, 21, shape).astype(np.int8)
        if rng.random() < 0.3:  # columns that nothing needs
            w[..., rng.random(shape[-1]) < 0.3] = 0
        scales = rng.uniform(0.005, 0.02, channels)
        quant = Quant(tuple(float(s) for s in scales), (0,) * channels, axis)
        out = TensorType((1,), "int8", self.quant())
        name = self.maker.constant(w, quant)
        if rng.random() < 0.2:
            return name, (), out
        reach = np.abs(np.moveaxis(w, axis, 0).reshape(channels, -1).astype(np.int64)).sum(axis=1)
        # So far from zero that every accumulator is beyond what the output can hold.
        beyond = 256 * reach + np.ceil(300 * out.scale / (self.kind(x).scale * scales))
        sign = rng.choice([-1, -1, 1], channels)
        bias = np.where(rng.random(channels) < dead, sign * beyond, rng.integers(-900, 900))
        return name, (self.maker.constant(bias.astype(np.int32)),), out

    def grow(self, live: list[str]) -> str:
        """One more operator on one of the live images; the value that it makes."""
        rng, maker = self.rng, self.maker
        x = live[-1] if rng.random() < 0.7 else str(rng.choice(live))
        kind = self.kind(x)
        channels = kind.shape[3]
        choice = int(rng.integers(12))
        if choice == 0:
            small = min(kind.shape[1:3]) >= 3
            size = int(rng.choice([1, 3])) if small else 1
            steps = {"strides": (2, 1), "dilation": (1, 1)} if rng.random() < 0.3 else {}
            return self.conv(x, int(rng.integers(1, 9)), size, size // 2, **steps)
        if choice == 1:
            groups = 2 if channels % 2 == 0 else 1
            return self.conv(x, 2 * int(rng.integers(1, 4)), groups=groups)
        if choice == 2 and channels <= 8:
            return self.depthwise(x, int(rng.integers(1, 3)))
        if choice in (3, 4):
            return self._binary(x, live)
        if choice == 5:
            same = [v for v in live if self._joins(v, x)]
            other = str(rng.choice(same))
            return maker.add("concat", (x, other), axis=3, activation="none")
        if choice == 6:
            op = str(rng.choice(["avg_pool2d", "max_pool2d"]))
            size = tuple(min(2, n) for n in kind.shape[1:3])
            return maker.add(
                op, (x,), size=size, strides=(1, 1), padding=(0, 0, 0, 0), activation="none"
            )
        if choice == 7:
            widths = (0, 0, 1, int(rng.integers(2)))
            return maker.add("pad", (x,), before=widths, after=(0, 1, 0, 0), value=kind.zero)
        like = TensorType(kind.shape, "int8", self.quant())
        if choice == 8:
            return maker.add(str(rng.choice(["relu", "relu6", "quantize"])), (x,), like)
        if choice == 9:
            table = TensorType(kind.shape, "int8", Quant((1 / 256,), (-128,)))
            return maker.add("logistic", (x,), table)
        return self.conv(x, int(rng.integers(1, 9)))

    def _joins(self, a: str, b: str) -> bool:
        x, y = self.kind(a), self.kind(b)
        return x.shape[:3] == y.shape[:3] and x.quant == y.quant

    def _binary(self, x: str, live: list[str]) -> str:
        rng, kind = self.rng, self.kind(x)
        shapes = {kind.shape, (1, 1, 1, kind.shape[3]), (*kind.shape[:3], 1)}
        others = [v for v in live if self.kind(v).shape in shapes]
        other = str(rng.choice(others))
        if rng.random() < 0.3:
            row = rng.integers(-128, 128, kind.shape[-1:]).astype(np.int8)
            other = self.maker.constant(row, self.quant())
        op = str(rng.choice(["add", "sub", "mul"]))
        like = TensorType(kind.shape, "int8", self.quant())
        return self.maker.add(op, (x, other), like, activation=str(rng.choice(["none", "relu"])))

    def head(self, x: str) -> str:
        """A classifier's end on an image: a mean or all of it, a dense layer, maybe softmax."""
        rng, maker, kind = self.rng, self.maker, self.kind(x)
        if rng.random() < 0.4:
            x = maker.add("mean", (x,), axes=(1, 2), keep_dims=bool(rng.random() < 0.5))
        elif rng.random() < 0.7:
            x = maker.add("reshape", (x,), TensorType((1, kind.elements), "int8", kind.quant))
        x = self.dense(x, int(rng.integers(2, 6)))
        if rng.random() < 0.3:
            like = TensorType(self.kind(x).shape, "int8", Quant((1 / 256,), (-128,)))
            return maker.add("softmax", (x,), like, beta=1.0)
        return x


def dead_network(seed: int, operators: int) -> Graph:
    """A random network of images with so many operators, and one or two outputs."""
    rng = np.random.default_rng(seed)
    height, width, channels = (int(n) for n in rng.integers((1, 1, 1), (5, 5, 5)))
    net = Network(rng, (1, height, width, channels))
    live = ["x", net.conv("x", int(rng.integers(2, 9)))]
    for _ in range(operators):
        live.append(net.grow(live))
    outputs = [net.head(live[-1])] if rng.random() < 0.6 else [net.conv(live[-1], 2, dead=0.2)]
    if rng.random() < 0.2:
        outputs.append(live[-1])
    return net.maker.graph(*outputs)


def extreme_inputs(rng: np.random.Generator, kind: TensorType, count: int) -> list[Array]:
    """Arrays of a type: all lowest, all highest, ends at random, and random ones."""
    ends: list[Array] = [np.full(kind.shape, v, np.int8) for v in (-128, 127)]
    ends.append(rng.choice([-128, 127], kind.shape).astype(np.int8))
    return ends + [rng.integers(-128, 128, kind.shape).astype(np.int8) for _ in range(count)]
