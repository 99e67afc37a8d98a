"""An operator through importer, `infer` and `evaluate`, against LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from microtvm.errors import ModelError
from microtvm.frontend.tflite import import_tflite
from microtvm.graph.ir import Graph
from microtvm.ops.evaluate import evaluate_graph
from tests.reference import Array, Reference, ReferenceRefused, Tensor, run, single

FLOAT_TOLERANCE = 1e-5


def imported(model: bytes) -> Graph:
    """The graph of a .tflite file in memory; ModelError with all problems where there are any."""
    result = import_tflite(model, "test")
    if result.graph is None:
        raise ModelError("\n".join(str(problem) for problem in result.problems))
    return result.graph


def ours(model: bytes, *data: Array) -> list[Array]:
    """The outputs of the graph that is imported from `model`."""
    graph = imported(model)
    values = evaluate_graph(graph, dict(zip(graph.inputs, data, strict=True)))
    return [values[v] for v in graph.outputs]


def assert_equal(found: Sequence[Array], expected: Sequence[Array]) -> None:
    """Equal shapes and dtypes; integers bit for bit, floats within the stated tolerance."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if a.dtype.kind == "f":
            limit = FLOAT_TOLERANCE * max(1.0, float(np.max(np.abs(b), initial=0.0)))
            np.testing.assert_allclose(a, b, rtol=0, atol=limit)
        else:
            np.testing.assert_array_equal(a, b)


def agree(model: bytes, *data: Array) -> None:
    """Import and evaluation give what the reference gives."""
    assert_equal(ours(model, *data), run(model, *data))


def agree_single(
    code: str,
    inputs: Sequence[Tensor | None],
    output: Tensor,
    data: Sequence[Array],
    options: object | None = None,
    version: int = 1,
) -> None:
    """`agree` for a model of one operator. `data` has the inputs that are not constant."""
    agree(single(code, inputs, output, options, version), *data)


def both_refuse(model: bytes, match: str) -> None:
    """The import fails with a message that matches; the reference refuses the model too."""
    with pytest.raises(ReferenceRefused):
        Reference(model)
    we_refuse(model, match)


def we_refuse(model: bytes, match: str) -> None:
    """The import fails with a message that matches."""
    with pytest.raises(ModelError, match=match):
        imported(model)


def zero_of(rng: np.random.Generator, dtype: str) -> int:
    """A zero point, often at an end of the range; 0 for int16."""
    if dtype == "int16":
        return 0
    info = np.iinfo(dtype)
    choices = (info.min, info.max, int(rng.integers(info.min, info.max + 1)))
    return int(choices[rng.integers(3)])


def scale_of(rng: np.random.Generator, low: float = 1e-3, high: float = 10.0) -> float:
    """A float32 scale, uniform in its logarithm."""
    return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))


def shape_of(rng: np.random.Generator, low_rank: int = 1, high_rank: int = 5) -> tuple[int, ...]:
    """A shape of small dimensions."""
    rank = int(rng.integers(low_rank, high_rank + 1))
    return tuple(int(n) for n in rng.integers(1, 7 if rank < 4 else 5, rank))


def values_of(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Random contents; integers over the whole range, with the extremes."""
    if dtype == "float32":
        return rng.normal(scale=3.0, size=shape).astype(np.float32)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, shape, dtype=np.int64, endpoint=True)
    extremes = rng.choice([info.min, info.max], shape)
    return np.where(rng.random(shape) < 0.1, extremes, values).astype(dtype)


def tensor_of(
    rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: str, scale: float
) -> Tensor:
    """A tensor with a random zero point where its dtype is quantised."""
    if dtype not in ("int8", "uint8", "int16"):
        return Tensor(name, shape, dtype)
    return Tensor(name, shape, dtype, scale, zero_of(rng, dtype))


def every_value(dtype: str) -> Array:
    """All values of an integer type, ascending: of 8 bits as a vector, of 16 as rows of 256."""
    info = np.iinfo(dtype)
    values = np.arange(info.min, info.max + 1).astype(dtype)
    return values.reshape(-1, 256) if info.bits == 16 else values
