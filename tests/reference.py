"""LiteRT's reference kernels as an oracle: build a small .tflite in memory and run it.

"The reference" is `Interpreter(model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)` of
the package ai-edge-litert. The default interpreter runs XNNPACK, which rounds in other ways.

    a, b, y = (Tensor(name, (1, 4), "int8", 0.5, 3) for name in "aby")
    options = schema.AddOptionsT(fusedActivationFunction=RELU)
    model = build([a, b, y], [Operator("ADD", ("a", "b"), ("y",), options)], "ab", "y")
    (y,) = Reference(model).run(a, b)

`python reference.py asked.npz answered.npz` is the child of `run_in_child`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

try:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError:
    if os.environ.get("CI") == "true":
        raise
    pytest.skip("ai-edge-litert, the reference, is not installed", allow_module_level=True)

Array = np.ndarray[Any, Any]

NONE, RELU, RELU_N1_TO_1, RELU6 = 0, 1, 2, 3
"""Values of `fusedActivationFunction` in the builtin options."""
ACTIVATIONS = {"none": NONE, "relu": RELU, "relu_n1_to_1": RELU_N1_TO_1, "relu6": RELU6}
SAME, VALID = 0, 1
"""Values of `padding` in the builtin options."""

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}


class ReferenceRefused(Exception):
    """The reference can't run the model: its own message."""


class ReferenceAborted(Exception):
    """The reference killed its process: the signal."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a model: per-tensor (`scale` a float) or per-channel (sequences and `axis`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | Sequence[float] | None = None
    zero: int | Sequence[int] = 0
    axis: int = 0
    data: Array | None = None
    """The contents of a constant."""
    shape_signature: tuple[int, ...] | None = None
    """The shape with -1 where the file says that a dimension is unknown."""


def constant(
    name: str, data: Array, scale: float | Sequence[float] | None = None, **rest: Any
) -> Tensor:
    """A constant tensor of the array's shape and dtype."""
    return Tensor(name, data.shape, data.dtype.name, scale, data=data, **rest)


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of a model: builtin code by name, tensors by name (None: optional, absent)."""

    code: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    options: object | None = None
    """An options object of the schema, such as `schema.AddOptionsT(...)`."""
    version: int = 1
    custom: str = ""
    """The name of a custom operator, with code "CUSTOM"."""


def build(
    tensors: Sequence[Tensor],
    operators: Sequence[Operator],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> bytes:
    """The bytes of a .tflite file."""
    index = {t.name: i for i, t in enumerate(tensors)}
    model = schema.ModelT(version=3, description=b"test")
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT(name=b"main")
    graph.tensors = [_tensor(t, model.buffers) for t in tensors]
    model.operatorCodes, graph.operators = [], []
    for i, op in enumerate(operators):
        code = getattr(schema.BuiltinOperator, op.code)
        model.operatorCodes.append(
            schema.OperatorCodeT(
                deprecatedBuiltinCode=min(code, 127),
                builtinCode=code,
                version=op.version,
                customCode=op.custom.encode() or None,
            )
        )
        graph.operators.append(
            schema.OperatorT(
                opcodeIndex=i,
                inputs=[-1 if name is None else index[name] for name in op.inputs],
                outputs=[index[name] for name in op.outputs],
                builtinOptions=op.options,
                builtinOptionsType=0
                if op.options is None
                else getattr(schema.BuiltinOptions, type(op.options).__name__.removesuffix("T")),
            )
        )
    graph.inputs = [index[name] for name in inputs]
    graph.outputs = [index[name] for name in outputs]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(t: Tensor, buffers: list[Any]) -> Any:
    packed = schema.TensorT(
        name=t.name.encode(), shape=list(t.shape), type=_TYPES[t.dtype], buffer=0
    )
    if t.shape_signature is not None:
        packed.shapeSignature = list(t.shape_signature)
    if t.data is not None:
        assert t.data.dtype.name == t.dtype, f"{t.name} is {t.dtype}, its data {t.data.dtype}"
        raw = np.frombuffer(np.ascontiguousarray(t.data).tobytes(), np.uint8)
        packed.buffer = len(buffers)
        buffers.append(schema.BufferT(data=raw))
    if t.scale is not None:
        scales = np.atleast_1d(np.asarray(t.scale, np.float32))
        zeros = np.broadcast_to(np.asarray(t.zero, np.int64), scales.shape)
        packed.quantization = schema.QuantizationParametersT(
            scale=scales, zeroPoint=np.array(zeros), quantizedDimension=t.axis
        )
    return packed


def single(
    code: str,
    inputs: Sequence[Tensor | None],
    output: Tensor,
    options: object | None = None,
    version: int = 1,
) -> bytes:
    """A model of one operator; tensors with data are constants, the others the model's inputs."""
    present = list({t.name: t for t in inputs if t is not None}.values())
    return build(
        [*present, output],
        [Operator(code, tuple(t and t.name for t in inputs), (output.name,), options, version)],
        [t.name for t in present if t.data is None],
        [output.name],
    )


class Reference:
    """A model in the reference interpreter; ReferenceRefused where it can't be prepared.

    `resolver` names another OpResolverType, for operators that have no reference kernel
    (BUILTIN_WITHOUT_DEFAULT_DELEGATES). `all_tensors` keeps every intermediate for `tensors`.
    """

    def __init__(
        self, model: bytes | Path, *, all_tensors: bool = False, resolver: str = "BUILTIN_REF"
    ) -> None:
        content = model if isinstance(model, bytes) else model.read_bytes()
        try:
            self._it = Interpreter(
                model_content=content,
                experimental_op_resolver_type=OpResolverType[resolver],
                experimental_preserve_all_tensors=all_tensors,
            )
            self._it.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ReferenceRefused(str(error)) from error

    def run(self, *inputs: Array) -> list[Array]:
        """The outputs for one set of inputs, both in the model's order."""
        wanted = self._it.get_input_details()
        assert len(inputs) == len(wanted), f"{len(inputs)} inputs for {len(wanted)}"
        for detail, value in zip(wanted, inputs, strict=True):
            assert value.dtype == detail["dtype"], f"{detail['name']}: {value.dtype}"
            self._it.set_tensor(detail["index"], value)
        try:
            self._it.invoke()
        except (RuntimeError, ValueError) as error:
            raise ReferenceRefused(str(error)) from error
        return [self._it.get_tensor(d["index"]).copy() for d in self._it.get_output_details()]

    def tensors(self) -> dict[str, Array]:
        """Every tensor that has contents after `run`, by name (needs all_tensors)."""
        return dict(self._contents())

    def _contents(self) -> Iterator[tuple[str, Array]]:
        for detail in self._it.get_tensor_details():
            try:
                yield detail["name"], self._it.get_tensor(detail["index"]).copy()
            except ValueError:  # a tensor that no operator of the plan touches
                continue


def run(model: bytes | Path, *inputs: Array) -> list[Array]:
    """The reference's outputs for one set of inputs."""
    return Reference(model).run(*inputs)


def run_all_tensors(model: bytes | Path, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every tensor of the model after one run, by name."""
    reference = Reference(model, all_tensors=True)
    reference.run(*inputs)
    return reference.tensors()


def run_in_child(model: bytes, batches: Sequence[Sequence[Array]]) -> list[list[Array]]:
    """The outputs of each set of inputs, computed in a child: some inputs abort the process.

    ReferenceAborted where the child dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked.npz"), Path(folder, "answered.npz")
        arrays = {f"{i}_{j}": x for i, batch in enumerate(batches) for j, x in enumerate(batch)}
        sizes = [len(batch) for batch in batches]
        np.savez(asked, model=np.frombuffer(model, np.uint8), sizes=np.array(sizes), **arrays)
        argv = [sys.executable, str(Path(__file__).resolve()), str(asked), str(answered)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode < 0:
            raise ReferenceAborted(f"signal {-done.returncode}")
        if done.returncode != 0:
            raise ReferenceRefused(done.stderr)
        with np.load(answered) as found:
            outputs = int(found["outputs"])
            return [[found[f"{i}_{j}"] for j in range(outputs)] for i in range(len(batches))]


def _child(asked: Path, answered: Path) -> None:
    with np.load(asked) as found:
        reference = Reference(found["model"].tobytes())
        results = [
            reference.run(*(found[f"{i}_{j}"] for j in range(size)))
            for i, size in enumerate(found["sizes"])
        ]
    arrays = {f"{i}_{j}": y for i, result in enumerate(results) for j, y in enumerate(result)}
    np.savez(answered, outputs=np.array(len(results[0])), **arrays)


if __name__ == "__main__":
    _child(Path(sys.argv[1]), Path(sys.argv[2]))
