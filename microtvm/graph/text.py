"""The graph as text: printed, parsed back equal, saved and loaded.

    graph "digits" {
      input %image: int8[1, 8, 8, 1] q(0.0625, -128)
      const %w: int8[2, 3, 3, 1] q(axis=0, (0.01, 0.02), (0, 0)) = #9f86d081884c7d65
      %y: int8[1, 6, 6, 2] q(0.1, -128) = conv2d(%image, %w) {groups=1} @conv2d_0 "a/Conv2D"
      output %y
      source %y = "a/Relu;a/Conv2D"
    }

A constant is named by the first 16 digits of its digest (`util.array_digest`); its contents are
kept beside the text, in a mapping from these digits to arrays, or an .npz file. Strings are JSON.
Numbers are printed with as many digits as they need to be read back the same: scales as float32,
others as doubles, `nan` and `inf` included.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from microtvm.errors import IRError, UserError
from microtvm.graph.ir import Attr, Graph, Node, Quant, TensorType
from microtvm.graph.reader import Reader
from microtvm.util import Array, array_digest

DIGEST_DIGITS = 16


def constant_key(array: Array) -> str:
    """The name of a constant's contents in text and beside it."""
    return array_digest(array)[:DIGEST_DIGITS]


def constant_table(graph: Graph) -> dict[str, Array]:
    """The contents of all constants, as `parse_graph` wants them; equal arrays are one entry."""
    return {constant_key(array): array for array in graph.constants.values()}


def print_graph(graph: Graph) -> str:
    """The graph as text, a line a value or node."""
    lines = [f"graph {json.dumps(graph.name)} {{"]
    lines += [f"  input {print_value(v, graph.types[v])}" for v in graph.inputs]
    lines += [
        f"  const {print_value(v, graph.types[v])} = #{constant_key(array)}"
        for v, array in graph.constants.items()
    ]
    lines += [f"  {print_node(node, graph.types)}" for node in graph.nodes]
    lines += [f"  output %{v}" for v in graph.outputs]
    lines += [f"  source %{v} = {json.dumps(text)}" for v, text in graph.sources.items()]
    lines += [f"  absorbed %{v} = %{successor}" for v, successor in graph.absorbed.items()]
    lines += [f"  channels %{v} = {print_attr(kept)}" for v, kept in graph.channels.items()]
    return "\n".join([*lines, "}", ""])


def print_value(value: str, tensor_type: TensorType) -> str:
    """A value with its type: %x: int8[1, 4] q(0.5, -1)."""
    return f"%{value}: {print_type(tensor_type)}"


def print_type(tensor_type: TensorType) -> str:
    """A type: int8[1, 4] q(0.5, -1), or q(axis=0, (0.5, 0.25), (0, 0)) where it is per channel."""
    text = f"{tensor_type.dtype}[{', '.join(map(str, tensor_type.shape))}]"
    quant = tensor_type.quant
    if quant is None:
        return text
    scales = [str(np.float32(s)) for s in quant.scale]
    if quant.axis is None:
        return f"{text} q({scales[0]}, {quant.zero[0]})"
    return (
        f"{text} q(axis={quant.axis}, ({', '.join(scales)}), ({', '.join(map(str, quant.zero))}))"
    )


def print_node(node: Node, types: Mapping[str, TensorType]) -> str:
    """A node on one line, with the types of what it makes."""
    made = ", ".join(print_value(v, types[v]) for v in node.outputs)
    read = ", ".join(f"%{v}" for v in node.inputs)
    attrs = ", ".join(f"{key}={print_attr(value)}" for key, value in node.attrs.items())
    braces = f" {{{attrs}}}" if attrs else ""
    source = f" {json.dumps(node.source)}" if node.source else ""
    return f"{made} = {node.op}({read}){braces} @{node.name}{source}"


def print_attr(value: Attr) -> str:
    """An attribute's value; what is not a string reads as Python with true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, tuple):
        inner = ", ".join(repr(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def parse_graph(text: str, constants: Mapping[str, Array]) -> Graph:
    """The graph that `print_graph` printed; `constants` as `constant_table` gives them.

    IRError with the line's number where the text does not follow the form, or a constant's contents
    are missing or differ from their digest.
    """
    r = Reader(text)
    r.expect("graph")
    name = r.string()
    r.expect("{")
    inputs: list[str] = []
    outputs: list[str] = []
    nodes: list[Node] = []
    types: dict[str, TensorType] = {}
    arrays: dict[str, Array] = {}
    sources: dict[str, str] = {}
    absorbed: dict[str, str] = {}
    channels: dict[str, tuple[int, ...]] = {}
    while not r.accept("}"):
        if r.accept("input"):
            inputs.append(_value(r, types))
        elif r.accept("const"):
            value = _value(r, types)
            r.expect("=")
            arrays[value] = _contents(r, value, constants)
        elif r.accept("output"):
            outputs.append(r.value())
        elif r.accept("source"):
            value = r.value()
            r.expect("=")
            sources[value] = r.string()
        elif r.accept("absorbed"):
            value = r.value()
            r.expect("=")
            absorbed[value] = r.value()
        elif r.accept("channels"):
            value = r.value()
            r.expect("=")
            channels[value] = r.integers()
        else:
            nodes.append(_node(r, types))
    r.end()
    return Graph(
        name=name,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        nodes=tuple(nodes),
        types=types,
        constants=arrays,
        sources=sources,
        absorbed=absorbed,
        channels=channels,
    )


def save_graph(graph: Graph, path: Path) -> None:
    """Write the text to `path` and the constants beside it, with the suffix .npz."""
    path.write_text(print_graph(graph), encoding="utf-8")
    np.savez(path.with_suffix(".npz"), allow_pickle=False, **constant_table(graph))


def load_graph(path: Path) -> Graph:
    """What `save_graph` wrote. UserError where a file is missing or is not one, IRError for the
    text.
    """
    beside = path.with_suffix(".npz")
    try:
        text = path.read_text(encoding="utf-8")
        with np.load(beside, allow_pickle=False) as found:
            constants = {key: found[key] for key in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"can't read graph {path} with constants {beside.name}: {error}") from error
    return parse_graph(text, constants)


def _value(r: Reader, types: dict[str, TensorType]) -> str:
    value = r.value()
    if value in types:
        raise r.error(f"%{value} exists already")
    r.expect(":")
    types[value] = _type(r)
    return value


def _type(r: Reader) -> TensorType:
    dtype = r.word()
    shape: tuple[int, ...] = ()
    r.expect("[")
    while not r.accept("]"):
        shape = (*shape, r.integer())
        if not r.peek("]"):
            r.expect(",")
    quant = _quant(r) if r.accept("q") else None
    try:
        return TensorType(shape, dtype, quant)
    except IRError as error:
        raise r.error(error.message) from error


def _quant(r: Reader) -> Quant:
    axis: int | None = None
    r.expect("(")
    if r.accept("axis"):
        r.expect("=")
        axis = r.integer()
        r.expect(",")
        scale = r.numbers()
        r.expect(",")
        zero = r.numbers()
    else:
        scale = (r.number(),)
        r.expect(",")
        zero = (r.number(),)
    r.expect(")")
    if not all(isinstance(z, int) for z in zero):
        raise r.error("zero points are integers")
    try:
        return Quant(tuple(float(s) for s in scale), tuple(int(z) for z in zero), axis)
    except IRError as error:
        raise r.error(error.message) from error


def _contents(r: Reader, value: str, constants: Mapping[str, Array]) -> Array:
    key = r.digest()
    if key not in constants:
        raise r.error(f"the contents #{key} of %{value} are not beside the text")
    if constant_key(constants[key]) != key:
        raise r.error(f"the contents of %{value} are not those of digest #{key}")
    return constants[key]


def _node(r: Reader, types: dict[str, TensorType]) -> Node:
    outputs = [_value(r, types)]
    while r.accept(","):
        outputs.append(_value(r, types))
    r.expect("=")
    op = r.word()
    inputs: list[str] = []
    r.expect("(")
    while not r.accept(")"):
        inputs.append(r.value())
        if not r.peek(")"):
            r.expect(",")
    attrs: dict[str, Attr] = {}
    if r.accept("{"):
        while not r.accept("}"):
            key = r.word()
            r.expect("=")
            attrs[key] = _attr(r)
            if not r.peek("}"):
                r.expect(",")
    r.expect("@")
    name = r.word()
    source = r.string() if r.at_string() else ""
    return Node(name, op, tuple(inputs), tuple(outputs), attrs, source)


def _attr(r: Reader) -> Attr:
    if r.at_string():
        return r.string()
    if r.accept("true"):
        return True
    if r.accept("false"):
        return False
    if not r.peek("("):
        return r.number()
    values = r.numbers()
    integers = tuple(v for v in values if isinstance(v, int))
    floats = tuple(v for v in values if isinstance(v, float))
    if integers and floats:
        raise r.error("a tuple is of integers or of floats, not of both")
    return floats or integers
