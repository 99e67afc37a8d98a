"""What a .tflite file says, as plain dataclasses: read by package `tflite`, after the bounds were
checked.

Nothing is judged here but the file's integrity: every index is in range and every constant has the
bytes that its shape asks for. Whether it can be compiled is the importer's question.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from microtvm.errors import ModelError
from microtvm.frontend.flatbuffer import check_flatbuffer
from microtvm.util import Array

SCHEMA_VERSION = 3
MAX_RANK = 8

_ENUM_TYPE = {
    code: name.lower() for name, code in vars(tflite.TensorType).items() if isinstance(code, int)
}
_ENUM_BUILTIN = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}
_NUMPY = {
    "float32": "<f4", "float16": "<f2", "float64": "<f8", "int8": "i1", "uint8": "u1",
    "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4", "int64": "<i8",
    "uint64": "<u8", "bool": "?",
}  # fmt: skip
"""Types whose constants are dense arrays of whole bytes."""


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A tensor as the file has it: dimensions may be unknown (below 1), the type may be any."""

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    """The shape with -1 where a dimension is unknown; () where the file has no signature."""
    dtype: str
    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int
    custom_quantization: bool
    variable: bool
    sparse: bool
    data: Array | None
    """Contents of a constant; a type without a numpy form has none but is `constant`."""
    constant: bool


@dataclass(frozen=True, eq=False)
class FileOperator:
    """An operator: tensors by index, -1 where an optional input is absent."""

    index: int
    builtin: str
    custom: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: Any
    """The flatbuffers table of the builtin options, or None."""


@dataclass(frozen=True, eq=False)
class FileModel:
    """The first subgraph of a file."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def parse_tflite(data: bytes) -> FileModel:
    """The contents of a .tflite file; ModelError where the file is damaged."""
    check_flatbuffer(data)
    try:
        return _parse(data)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
        # The walk covers all that is read; this is for what a reader of another version might do.
        raise ModelError(f"the file is damaged: {error}") from error


def _parse(data: bytes) -> FileModel:
    model = tflite.Model.GetRootAsModel(data, 0)
    if model.Version() != SCHEMA_VERSION:
        raise ModelError(f"schema version {model.Version()}, supported: {SCHEMA_VERSION}")
    if model.SubgraphsLength() == 0:
        raise ModelError("the file has no graph")
    graph = model.Subgraphs(0)
    count = graph.TensorsLength()
    operators = tuple(
        _operator(model, i, graph.Operators(i), count) for i in range(graph.OperatorsLength())
    )
    inputs = _indices(_vector(graph, "Inputs"), count, "the graph's inputs", 0)
    outputs = _indices(_vector(graph, "Outputs"), count, "the graph's outputs", 0)
    given = {*inputs, *(i for operator in operators for i in operator.outputs)}
    tensors = tuple(
        _tensor(data, model, i, graph.Tensors(i), is_given=i in given) for i in range(count)
    )
    return FileModel(tensors, operators, inputs, outputs)


def _vector(table: Any, name: str) -> tuple[Any, ...]:
    """A vector of numbers as a tuple; () where it is absent."""
    if getattr(table, f"{name}Length")() == 0:
        return ()
    return tuple(getattr(table, f"{name}AsNumpy")().tolist())


def _indices(values: Sequence[int], count: int, what: str, lowest: int) -> tuple[int, ...]:
    for value in values:
        if not lowest <= value < count:
            raise ModelError(f"the file is damaged: {what} name tensor {value} of {count}")
    return tuple(values)


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "replace")


def _operator(model: Any, index: int, op: Any, tensors: int) -> FileOperator:
    if op.OpcodeIndex() >= model.OperatorCodesLength():
        raise ModelError(f"the file is damaged: operator {index} has code {op.OpcodeIndex()}")
    code = model.OperatorCodes(op.OpcodeIndex())
    # Files from before builtin codes had 32 bits have the first field only.
    builtin = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    return FileOperator(
        index=index,
        builtin=_ENUM_BUILTIN.get(builtin, f"BUILTIN_{builtin}"),
        custom=_text(code.CustomCode()),
        inputs=_indices(_vector(op, "Inputs"), tensors, f"operator {index}'s inputs", -1),
        outputs=_indices(_vector(op, "Outputs"), tensors, f"operator {index}'s outputs", 0),
        options_type=op.BuiltinOptionsType(),
        options=op.BuiltinOptions(),
    )


def _tensor(data: bytes, model: Any, index: int, tensor: Any, *, is_given: bool) -> FileTensor:
    name = _text(tensor.Name()) or f"tensor_{index}"
    dtype = _ENUM_TYPE.get(tensor.Type(), f"type_{tensor.Type()}")
    shape = _vector(tensor, "Shape")
    quant = tensor.Quantization()
    buffer = _buffer(data, model, tensor.Buffer(), name)
    sparse = tensor.Sparsity() is not None
    known = dtype in _NUMPY and not sparse
    # A constant without elements has no bytes: only its shape tells it from a forgotten tensor.
    constant = bool(buffer) or (0 in shape and not is_given)
    return FileTensor(
        index=index,
        name=name,
        shape=shape,
        signature=_vector(tensor, "ShapeSignature"),
        dtype=dtype,
        scales=() if quant is None else _vector(quant, "Scale"),
        zeros=() if quant is None else _vector(quant, "ZeroPoint"),
        axis=0 if quant is None else quant.QuantizedDimension(),
        custom_quantization=quant is not None and quant.DetailsType() != 0,
        variable=tensor.IsVariable(),
        sparse=sparse,
        data=_contents(name, shape, _NUMPY[dtype], buffer) if constant and known else None,
        constant=constant,
    )


def _buffer(data: bytes, model: Any, index: int, name: str) -> bytes:
    """The contents of a buffer: inside the flatbuffer, or (in files over 2 GB) behind it."""
    if index >= model.BuffersLength():
        raise ModelError(f"the file is damaged: tensor {name!r} has buffer {index}")
    buffer = model.Buffers(index)
    start, size = buffer.Offset(), buffer.Size()
    # An offset of 1 is the converter's mark for "to be filled in".
    if start > 1:
        if start + size > len(data):
            raise ModelError(f"the file is damaged: the contents of {name!r} are outside the file")
        return data[start : start + size]
    return b"" if buffer.DataLength() == 0 else bytes(buffer.DataAsNumpy())


def _contents(name: str, shape: tuple[int, ...], form: str, buffer: bytes) -> Array:
    kind = np.dtype(form)
    elements = 1
    for dimension in shape:
        elements *= dimension
    if (
        len(shape) > MAX_RANK
        or min(shape, default=0) < 0
        or elements * kind.itemsize != len(buffer)
    ):
        raise ModelError(
            f"the file is damaged: constant {name!r} is {kind.name}{list(shape)}, "
            f"but has {len(buffer)} bytes"
        )
    array = np.frombuffer(buffer, kind).reshape(shape).astype(kind.newbyteorder("="))
    array.setflags(write=False)
    return array
