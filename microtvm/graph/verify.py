"""What every graph must be, whatever its operators mean: single assignment, order, types,
constants.

The types' agreement with the operators is checked by `ops/verify.py`, whose `verify` calls this
one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from microtvm.errors import IRError
from microtvm.graph.ir import Attr, Graph, Node, TensorType
from microtvm.util import Array

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
"""Names of values, nodes, operators and attributes: identifiers of C with at most 63 characters."""


def verify_structure(graph: Graph) -> None:
    """Raise IRError for the first invariant that does not hold, naming value and node."""
    for value, tensor_type in graph.types.items():
        _check_name("value", value)
        _check_type(value, tensor_type)
    made = {*_check_inputs(graph), *graph.constants}
    for value, array in graph.constants.items():
        _check_constant(graph.types, value, array)
    names: set[str] = set()
    for node in graph.nodes:
        if node.name in names:
            raise IRError(f"two nodes are named {node.name}")
        names.add(node.name)
        _check_node(node)
        for value in node.inputs:
            if value not in made:
                raise IRError(f"node {node.name} reads %{value} before it is made")
        for value in node.outputs:
            if value in made:
                raise IRError(f"node {node.name} makes %{value}, which exists already")
            if value not in graph.types:
                raise IRError(f"node {node.name} makes %{value}, which has no type")
            made.add(value)
    _check_outputs(graph)
    stray = sorted(graph.types.keys() - made)
    if stray:
        raise IRError(f"%{stray[0]} has a type, but nothing makes it")
    for value, successor in graph.absorbed.items():
        _check_name("value", value)
        if value in made or successor not in {*made, *graph.absorbed}:
            raise IRError(f"%{value} is absorbed by %{successor}, but exists, or that does not")
    for value, kept in graph.channels.items():
        _check_channels(graph.types, value, kept)
    stray = sorted(graph.sources.keys() - made - graph.absorbed.keys())
    if stray:
        raise IRError(f"%{stray[0]} has a source, but nothing makes it")


def _check_inputs(graph: Graph) -> Iterator[str]:
    seen: set[str] = set()
    for value in graph.inputs:
        if value not in graph.types:
            raise IRError(f"input %{value} has no type")
        if value in seen:
            raise IRError(f"%{value} is an input twice")
        if value in graph.constants:
            raise IRError(f"%{value} is an input and a constant")
        seen.add(value)
        yield value


def _check_outputs(graph: Graph) -> None:
    if not graph.outputs:
        raise IRError(f"graph {graph.name!r} has no outputs")
    made = graph.producers()
    for i, value in enumerate(graph.outputs):
        if value not in made:
            raise IRError(
                f"output %{value} is not made by a node (an input or constant needs a copy)"
            )
        if value in graph.outputs[:i]:
            raise IRError(f"%{value} is an output twice")


def _check_channels(types: Mapping[str, TensorType], value: str, kept: tuple[int, ...]) -> None:
    if value not in types:
        raise IRError(f"%{value} holds some channels, but does not exist")
    if any(b <= a for a, b in zip((-1, *kept), kept, strict=False)):
        raise IRError(f"%{value} holds channels {kept}, which do not ascend from 0")
    if types[value].shape[-1:] != (len(kept),):
        raise IRError(f"%{value} is of shape {types[value].shape}, but holds {len(kept)} channels")


def _check_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise IRError(f"{what} name {name!r} is not an identifier of at most 63 characters")


def _check_node(node: Node) -> None:
    _check_name("node", node.name)
    _check_name("operator", node.op)
    if not node.outputs:
        raise IRError(f"node {node.name} has no outputs")
    for key, value in node.attrs.items():
        _check_name("attribute", key)
        if not _is_attr(value):
            raise IRError(f"node {node.name}: attribute {key} is {value!r}, which has no text form")


def _is_attr(value: Attr) -> bool:
    if not isinstance(value, tuple):
        return type(value) in (int, float, str, bool)
    # Exact types: numpy's numbers would print as something else than they parse back to.
    return {type(v) for v in value} in ({int}, {float}, set())


def _check_type(value: str, tensor_type: TensorType) -> None:
    quant = tensor_type.quant
    if quant is None:
        return
    if tensor_type.dtype in ("float32", "bool"):
        raise IRError(f"%{value} is {tensor_type.dtype} and has a scale")
    if quant.axis is not None:
        if not 0 <= quant.axis < len(tensor_type.shape):
            raise IRError(
                f"%{value}: quantisation axis {quant.axis} is outside {tensor_type.shape}"
            )
        if len(quant.scale) != tensor_type.shape[quant.axis]:
            raise IRError(
                f"%{value}: {len(quant.scale)} scales for axis {quant.axis} of {tensor_type.shape}"
            )
    info = np.iinfo(tensor_type.dtype)
    for scale, zero in zip(quant.scale, quant.zero, strict=True):
        if not (np.isfinite(scale) and scale > 0):
            raise IRError(f"%{value}: scale {scale!r} is not positive and finite")
        if not info.min <= zero <= info.max:
            raise IRError(f"%{value}: zero point {zero} is outside {tensor_type.dtype}")


def _check_constant(types: Mapping[str, TensorType], value: str, array: Array) -> None:
    if value not in types:
        raise IRError(f"constant %{value} has no type")
    wanted = types[value]
    if array.dtype.name != wanted.dtype or array.shape != wanted.shape:
        raise IRError(
            f"constant %{value} is an array {array.dtype.name}{list(array.shape)}, "
            f"its type says {wanted.dtype}{list(wanted.shape)}"
        )
