"""The numpy meaning of a graph: every value, node by node. The oracle of everything below the
graph.

int8 is equal bit for bit to LiteRT's reference kernels,
`Interpreter(model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from microtvm.errors import UserError
from microtvm.graph.ir import Graph, Node, TensorType
from microtvm.ops.base import NodeContext
from microtvm.ops.registry import find
from microtvm.util import Array

FOLD_LIMIT_BYTES = 1 << 24


def evaluate_graph(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of the graph by name: inputs, constants and what the nodes make.

    `inputs` has an array for each graph input, of its exact shape and dtype; UserError otherwise.
    """
    values: dict[str, Array] = dict(graph.constants)
    for value in graph.inputs:
        if value not in inputs:
            raise UserError(f"no array for input {value!r}; found: {', '.join(sorted(inputs))}")
        values[value] = _checked(value, inputs[value], graph.types[value])
    unknown = sorted(set(inputs) - set(graph.inputs))
    if unknown:
        raise UserError(f"{unknown[0]!r} is not an input; the inputs are {', '.join(graph.inputs)}")
    for node in graph.nodes:
        made = evaluate_node(NodeContext.of(graph, node), [values[v] for v in node.inputs])
        values.update(zip(node.outputs, made, strict=True))
    return values


def evaluate_node(ctx: NodeContext, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of one node, for the arrays of all its inputs."""
    with np.errstate(all="ignore"):  # infinities and NaN are values like others, as on the target
        outputs = find(ctx.node.op).evaluate(ctx, inputs)
    for array, tensor_type in zip(outputs, ctx.outputs, strict=True):
        _check_made(ctx.node, array, tensor_type)
    return outputs


def fold_node(ctx: NodeContext) -> list[Array] | None:
    """The outputs of a node that reads only constants, read-only; None for any other.

    None too where they are larger than any weights that a target can hold: it may compute them.
    """
    size = sum(t.size_bytes for t in ctx.outputs)
    if len(ctx.constants) != len(ctx.inputs) or size > FOLD_LIMIT_BYTES:
        return None
    outputs = evaluate_node(ctx, [ctx.constants[i] for i in range(len(ctx.inputs))])
    for array in outputs:
        array.setflags(write=False)
    return outputs


def _check_made(node: Node, array: Array, tensor_type: TensorType) -> None:
    # A wrong shape or dtype here is an operator that contradicts its own infer.
    assert array.shape == tensor_type.shape, f"{node.name}: {array.shape}, {tensor_type.shape}"
    assert array.dtype == np.dtype(tensor_type.dtype), f"{node.name}: {array.dtype}"


def _checked(value: str, array: Array, wanted: TensorType) -> Array:
    if array.shape != wanted.shape or array.dtype != np.dtype(wanted.dtype):
        raise UserError(
            f"input {value!r} is {wanted.dtype}{list(wanted.shape)}, "
            f"found {array.dtype}{list(array.shape)}"
        )
    return array
