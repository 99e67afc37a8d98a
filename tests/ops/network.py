"""Random networks of int8 operators, for tests of what happens between operators."""

from __future__ import annotations

import numpy as np

from tests.ops.oracle import scale_of, values_of, zero_of
from tests.ops.test_conv import conv_options, depthwise_options, float32_scales, output_size
from tests.reference import (
    ACTIVATIONS,
    SAME,
    VALID,
    Array,
    Operator,
    Tensor,
    build,
    constant,
    schema,
)


class Network:
    """A model that grows by an operator at a time; every method returns the new tensor."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.tensors: dict[str, Tensor] = {}
        self.operators: list[Operator] = []
        self.inputs: list[Tensor] = []

    def tensor(
        self,
        shape: tuple[int, ...],
        like: Tensor | None = None,
        dtype: str = "int8",
        scale: float | None = None,
    ) -> Tensor:
        """A new tensor, of the quantisation of another one, or of a random one about `scale`."""
        name = f"t{len(self.tensors)}"
        if like is not None:
            made = Tensor(name, shape, like.dtype, like.scale, like.zero)
        elif dtype == "float32":
            made = Tensor(name, shape, dtype)
        else:
            made = Tensor(
                name,
                shape,
                dtype,
                scale or scale_of(self.rng, 0.02, 0.2),
                zero_of(self.rng, dtype),
            )
        self.tensors[name] = made
        return made

    def constant(self, data: Array, scale: object = None, axis: int = 0, zero: int = 0) -> Tensor:
        """A new constant."""
        name = f"t{len(self.tensors)}"
        self.tensors[name] = constant(name, data, scale, axis=axis, zero=zero)  # type: ignore[arg-type]
        return self.tensors[name]

    def input(self, shape: tuple[int, ...], dtype: str = "int8") -> Tensor:
        """A new input."""
        self.inputs.append(self.tensor(shape, dtype=dtype))
        return self.inputs[-1]

    def add(
        self, code: str, inputs: list[Tensor], output: Tensor, options: object | None = None
    ) -> Tensor:
        """A new operator; its output."""
        names = tuple(t.name for t in inputs)
        self.operators.append(Operator(code, names, (output.name,), options))
        return output

    def conv(
        self,
        x: Tensor,
        channels: int,
        size: int = 3,
        padding: int = SAME,
        activation: str = "none",
        stride: int = 1,
    ) -> Tensor:
        """A convolution with a square kernel."""
        w = self._weights((channels, size, size, x.shape[3]))
        shape = (x.shape[0], *_slid(x, size, padding, stride), channels)
        options = conv_options(padding, (stride, stride), activation=ACTIVATIONS[activation])
        return self._weighted("CONV_2D", x, w, 0, shape, options)

    def depthwise(
        self, x: Tensor, multiplier: int = 1, size: int = 3, padding: int = SAME, stride: int = 1
    ) -> Tensor:
        """A depthwise convolution with a square kernel."""
        channels = x.shape[3] * multiplier
        w = self._weights((1, size, size, channels))
        shape = (x.shape[0], *_slid(x, size, padding, stride), channels)
        options = depthwise_options(padding, (stride, stride), multiplier=multiplier)
        return self._weighted("DEPTHWISE_CONV_2D", x, w, 3, shape, options)

    def _weights(self, shape: tuple[int, ...]) -> Array:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def _weighted(
        self,
        code: str,
        x: Tensor,
        w: Array,
        axis: int,
        shape: tuple[int, ...],
        options: object,
    ) -> Tensor:
        """An operator with weights; its output's scale lets most outputs be inside the range."""
        assert isinstance(x.scale, float)
        channels = w.shape[axis]
        s_w = float32_scales(self.rng, channels, 1e-3, 1e-2)
        bias = self.rng.integers(-2000, 2000, channels).astype(np.int32)
        y = self.tensor(shape, scale=float(np.float32(x.scale * np.sqrt(w.size / channels))))
        inputs = [x, self.constant(w, s_w, axis), self.constant(bias, np.float32(x.scale) * s_w)]
        return self.add(code, inputs, y, options)

    def dense(self, x: Tensor, outputs: int) -> Tensor:
        """A fully connected layer on all of x as one row."""
        depth = int(np.prod(x.shape))
        w = self.rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
        assert isinstance(x.scale, float)
        y = self.tensor((1, outputs), scale=float(np.float32(x.scale * 0.5 * np.sqrt(depth))))
        options = schema.FullyConnectedOptionsT()
        return self.add("FULLY_CONNECTED", [x, self.constant(w, 0.005)], y, options)

    def unary(self, code: str, x: Tensor, dtype: str = "int8") -> Tensor:
        """RELU and relatives, LOGISTIC, TANH, QUANTIZE, DEQUANTIZE, SOFTMAX."""
        scale = 1 / 256 if code in ("LOGISTIC", "SOFTMAX") else None
        y = self.tensor(x.shape, dtype=dtype, scale=scale)
        if code == "SOFTMAX":
            y = self.tensors[y.name] = Tensor(y.name, y.shape, dtype, 1 / 256, -128)
        options = {
            "QUANTIZE": schema.QuantizeOptionsT(),
            "DEQUANTIZE": schema.DequantizeOptionsT(),
            "SOFTMAX": schema.SoftmaxOptionsT(beta=1.0),
        }
        return self.add(code, [x], y, options.get(code))

    def binary(self, code: str, a: Tensor, b: Tensor) -> Tensor:
        """ADD, SUB, MUL; shapes broadcast."""
        options = {
            "ADD": schema.AddOptionsT(),
            "SUB": schema.SubOptionsT(),
            "MUL": schema.MulOptionsT(),
        }
        shape = tuple(int(n) for n in np.broadcast_shapes(a.shape, b.shape))
        assert isinstance(a.scale, float)
        assert isinstance(b.scale, float)
        scale = a.scale * b.scale * 64 if code == "MUL" else max(a.scale, b.scale)
        y = self.tensor(shape, scale=float(np.float32(scale * self.rng.uniform(0.3, 3))))
        return self.add(code, [a, b], y, options[code])

    def pool(self, code: str, x: Tensor) -> Tensor:
        """A pool of 2 x 2 with stride 1, as large as its input."""
        options = schema.Pool2DOptionsT(
            filterHeight=2, filterWidth=2, strideH=1, strideW=1, padding=SAME
        )
        return self.add(code, [x], self.tensor(x.shape, like=x), options)

    def pad(self, x: Tensor, value: int | None = None) -> Tensor:
        """A border of 1 around the image; of the zero point, or of a value."""
        widths = self.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        shape = (x.shape[0], x.shape[1] + 2, x.shape[2] + 2, x.shape[3])
        if value is None:
            return self.add("PAD", [x, widths], self.tensor(shape, like=x))
        assert isinstance(x.zero, int)
        fill = self.constant(np.array([value], np.int8), x.scale, zero=x.zero)
        return self.add("PADV2", [x, widths, fill], self.tensor(shape, like=x))

    def concat(self, parts: list[Tensor], axis: int) -> Tensor:
        """Tensors of one quantisation, one after the other."""
        shape = list(parts[0].shape)
        shape[axis] = sum(t.shape[axis] for t in parts)
        options = schema.ConcatenationOptionsT(axis=axis)
        return self.add("CONCATENATION", parts, self.tensor(tuple(shape), like=parts[0]), options)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The same elements in another shape."""
        asked = self.constant(np.array(shape, np.int32))
        return self.add("RESHAPE", [x, asked], self.tensor(shape, like=x))

    def mean(self, x: Tensor) -> Tensor:
        """Over height and width, which stay."""
        axes = self.constant(np.array([1, 2], np.int32))
        y = self.tensor((x.shape[0], 1, 1, x.shape[3]))
        return self.add("MEAN", [x, axes], y, schema.ReducerOptionsT(keepDims=True))

    def model(self, *outputs: Tensor) -> bytes:
        """The .tflite file."""
        names = [t.name for t in self.inputs]
        return build([*self.tensors.values()], self.operators, names, [t.name for t in outputs])

    def data(self) -> tuple[Array, ...]:
        """Random contents of all inputs."""
        return tuple(values_of(self.rng, t.dtype, t.shape) for t in self.inputs)


def _slid(x: Tensor, size: int, padding: int, stride: int) -> tuple[int, ...]:
    return tuple(output_size(n, size, stride, 1, padding) for n in x.shape[1:3])


def random_network(rng: np.random.Generator, operators: int) -> tuple[bytes, tuple[Array, ...]]:
    """A model of int8 images with branches, dead ends and several outputs, and its inputs."""
    net = Network(rng)
    height, width = (int(n) for n in rng.integers(2, 6, 2))
    live = [
        net.input((1, height, width, int(rng.integers(1, 5)))) for _ in range(rng.integers(1, 3))
    ]
    for _ in range(operators):
        live.append(_grow(net, live))
    made = live[len(net.inputs) :]
    chosen = [t for t in made[:-1] if rng.random() < 0.2]
    return net.model(*chosen, made[-1]), net.data()


def _grow(net: Network, live: list[Tensor]) -> Tensor:
    rng = net.rng
    # Mostly the newest, so that chains grow; sometimes an old one, so that something stays alive.
    x = live[-1] if rng.random() < 0.6 else live[rng.integers(len(live))]
    kind = int(rng.integers(13))
    if kind == 0:
        return net.conv(x, int(rng.integers(1, 9)), int(rng.choice([1, 3])))
    if kind == 1:
        return net.depthwise(x, int(rng.integers(1, 3)))
    if kind == 2:
        return net.pool(str(rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"])), x)
    if kind == 3 and max(x.shape[1:3]) < 8:
        padded = net.pad(x, None if rng.random() < 0.5 else int(rng.integers(-128, 128)))
        return net.conv(padded, int(rng.integers(1, 5)), int(rng.choice([1, 3])), VALID)
    if kind == 4:
        same = [t for t in live if t.shape == x.shape and t.scale == x.scale and t.zero == x.zero]
        return net.concat([x, same[rng.integers(len(same))]], 3) if x.shape[3] < 9 else net.mean(x)
    if kind == 5:
        n, h, w, c = x.shape
        return net.reshape(x, (n, w, h, c))
    if kind in (6, 7, 8):
        fits = [t for t in live if _broadcasts(t, x)]
        other = fits[rng.integers(len(fits))]
        return net.binary(str(rng.choice(["ADD", "SUB", "MUL"])), x, other)
    code = rng.choice(["RELU", "RELU6", "LOGISTIC", "TANH", "QUANTIZE", "SOFTMAX", "RELU_N1_TO_1"])
    return net.unary(str(code), x)


def _broadcasts(a: Tensor, b: Tensor) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(a.shape, b.shape, strict=True))


CHANNELS = (1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32, 36, 64)


def random_layer(rng: np.random.Generator) -> tuple[bytes, tuple[Array, ...]]:
    """A layer with weights of a size for which schedules differ, and its inputs."""
    net = Network(rng)
    kind = int(rng.integers(5))
    depth, channels = (int(rng.choice(CHANNELS)) for _ in range(2))
    size, stride = int(rng.choice([2, 3, 5])), int(rng.integers(1, 3))
    height, width = (int(n) for n in rng.integers(size, 10, 2))
    padding = int(rng.choice([SAME, VALID]))
    if kind == 0:
        x = net.input((1, int(rng.integers(1, 8)), int(rng.integers(1, 8)), depth))
        y = net.conv(x, channels, 1)
    elif kind == 1:
        x = net.input((1, height, width, min(depth, 16)))
        y = net.conv(x, min(channels, 16), size, padding, "relu", stride)
    elif kind == 2:
        x = net.input((1, height, width, depth))
        y = net.depthwise(x, 1, size, padding, stride)
    elif kind == 3:
        x = net.input((1, height, width, min(depth, 8)))
        y = net.depthwise(x, int(rng.integers(2, 5)), size, padding, stride)
    else:
        y = net.dense(net.input((1, int(rng.integers(1, 400)))), channels)
    return net.model(y), net.data()
