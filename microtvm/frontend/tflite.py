"""TensorFlow Lite models to graphs.

The order of things: the file is checked and read (`file.py`), every tensor gets a name and a type,
every operator is given to its importer (`ops/registry.py`), and what the importer adds is checked
by the operator's `infer`, whose shapes replace the file's. Whatever can't be compiled is collected;
one ModelError at the end says all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from microtvm.errors import ModelError
from microtvm.frontend.edge import strip_edges as without_edges
from microtvm.frontend.file import FileModel, FileOperator, FileTensor, parse_tflite
from microtvm.frontend.naming import Names
from microtvm.frontend.option import Options, OptionValue
from microtvm.frontend.tensor import Problem, shape_problems, tensor_problems, tensor_type
from microtvm.graph.ir import Attr, Graph, Node, Quant, TensorType
from microtvm.ops.base import NodeContext
from microtvm.ops.evaluate import fold_node
from microtvm.ops.registry import TFLITE, find
from microtvm.ops.tflite_import import Importer, TfliteNode
from microtvm.ops.verify import verify
from microtvm.util import Array


@dataclass(frozen=True)
class Import:
    """What became of a file: a graph where there are no problems, and what operators it has."""

    graph: Graph | None
    problems: tuple[Problem, ...]
    operators: Mapping[str, int]
    """Builtin operators by name, with how often each occurs."""


def load_model(path: Path, *, strip_edges: bool = False) -> Graph:
    """The verified graph of a .tflite file, named after the file.

    `strip_edges` drops conversions at the model's inputs and outputs (float or uint8 to int8 and
    back), so that the application deals in the model's own integers. ModelError, which names the
    file, where it can't be read, is damaged, or has anything that can't be compiled: then all of it
    is listed.
    """
    result = import_model(path)
    if result.graph is None:
        listed = "".join(f"\n  - {problem}" for problem in result.problems)
        hints = list(dict.fromkeys(p.hint for p in result.problems if p.hint))
        raise ModelError(f"{path} can't be compiled:{listed}", hint="; ".join(hints))
    return verify(without_edges(result.graph)) if strip_edges else result.graph


def import_model(path: Path) -> Import:
    """Graph or problems of a .tflite file; ModelError only where it can't be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't read the model {path}: {error.strerror}") from error
    try:
        return import_tflite(data, path.stem)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error


def import_tflite(data: bytes, name: str) -> Import:
    """Graph or problems of the contents of a .tflite file; ModelError where they are damaged."""
    model = parse_tflite(data)
    _check_order(model)
    builder = _Builder(data, model)
    for operator in model.operators:
        builder.convert(operator)
    counts: dict[str, int] = {}
    for operator in model.operators:
        counts[operator.builtin] = counts.get(operator.builtin, 0) + 1
    if builder.problems:
        return Import(None, tuple(builder.problems), counts)
    return Import(verify(builder.finish(name)), (), counts)


def _check_order(model: FileModel) -> None:
    """Every tensor is made once, before it is read; ModelError otherwise."""
    made = {t.index for t in model.tensors if t.constant or t.variable}
    for index in model.inputs:
        if index in made:
            raise ModelError(
                f"the file is damaged: input {model.tensors[index].name!r} is given twice"
            )
        made.add(index)
    for operator in model.operators:
        where = f"the file is damaged: operator {operator.index} ({operator.builtin})"
        for index in operator.inputs:
            if index >= 0 and index not in made:
                raise ModelError(f"{where} reads {model.tensors[index].name!r} before it is made")
        for index in operator.outputs:
            if index in made:
                raise ModelError(f"{where} makes {model.tensors[index].name!r} a second time")
            made.add(index)
    if not model.outputs:
        raise ModelError("the file is damaged: the model has no outputs")
    for index in model.outputs:
        if index not in made:
            raise ModelError(
                f"the file is damaged: nothing makes output {model.tensors[index].name!r}"
            )


class _Builder:
    """The graph while it is made."""

    def __init__(self, data: bytes, model: FileModel) -> None:
        self.data = data
        self.model = model
        self.names = Names()
        self.problems: list[Problem] = []
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Array] = {}
        self.sources: dict[str, str] = {}
        self.values: dict[int, str] = {}
        """Tensor index to value name."""
        self.broken: set[str] = set()
        """Values of tensors that are problems themselves: no operator on them is looked at."""
        used = self._used()
        for index in model.inputs:
            self._name(index, self.names.own(model.tensors[index].name))
        self.output_names = [self.names.own(model.tensors[i].name) for i in model.outputs]
        for index, name in zip(model.outputs, self.output_names, strict=True):
            if index not in self.values and not model.tensors[index].constant:
                self._name(index, name)
        self.outputs = {self.values[i] for i in model.outputs if i in self.values}
        made = [i for operator in model.operators for i in operator.outputs]
        # What is made comes first, so that constants get the numbers where names collide.
        for index in (*made, *used):
            if index not in self.values:
                self._name(index, self.names.short(model.tensors[index].name))
        for index in used:
            self._declare(model.tensors[index])

    def _used(self) -> list[int]:
        """Tensors that something reads or makes, in the file's order."""
        used = {*self.model.inputs, *self.model.outputs}
        for operator in self.model.operators:
            used.update(i for i in (*operator.inputs, *operator.outputs) if i >= 0)
        return sorted(used)

    def _name(self, index: int, value: str) -> None:
        self.values[index] = value
        self.sources[value] = self.model.tensors[index].name

    def _declare(self, tensor: FileTensor) -> None:
        """Give a value its type; a value whose tensor can't be compiled has none."""
        value = self.values[tensor.index]
        found = tensor_problems(tensor, is_input=tensor.index in self.model.inputs)
        if found:
            self.problems += found
            self.broken.add(value)
            return
        declared = tensor_type(tensor)
        if declared is not None:
            self.types[value] = declared
        if tensor.data is not None:
            self.constants[value] = tensor.data

    def convert(self, operator: FileOperator) -> None:
        """Import one operator, or record why not."""
        importer = TFLITE.get(operator.builtin)
        where = _where(operator, self.model)
        if importer is None:
            what = f"custom operator {operator.custom!r}" if operator.custom else "operator"
            self.problems.append(Problem(where, f"{what} is not supported"))
            return
        if not operator.outputs:
            self.problems.append(Problem(where, "has no outputs"))
            return
        inputs = [self.values[i] for i in operator.inputs if i >= 0]
        outputs = [self.values[i] for i in operator.outputs]
        if self.broken.intersection((*inputs, *outputs)):
            return  # The cause is a problem of its own already.
        try:
            view = _View(self, operator, importer, where)
            importer.run(view)
            view.finish()
        except ModelError as error:
            self.problems.append(Problem(where, error.message, error.hint))

    def finish(self, name: str) -> Graph:
        """The graph, with a copy for every output that no node makes for it alone."""
        for i, (index, output) in enumerate(
            zip(self.model.outputs, self.output_names, strict=True)
        ):
            value = self.values[index]
            if value != output:
                self.types[output] = self.types[value]
                self.sources[output] = source = self.sources[value]
                self.nodes.append(Node(f"copy_output_{i}", "copy", (value,), (output,), {}, source))
        inputs = tuple(self.values[i] for i in self.model.inputs)
        outputs = tuple(self.output_names)
        constants = {v: a for v, a in self.constants.items() if v in self.types}
        nodes = tuple(self.nodes)
        graph = Graph(name, inputs, outputs, nodes, self.types, constants, self.sources)
        return graph.pruned()


class _View(TfliteNode):
    """What an importer sees of the builder."""

    def __init__(
        self, builder: _Builder, operator: FileOperator, importer: Importer, where: str
    ) -> None:
        self._builder = builder
        self._index = operator.index
        self._ignored = importer.ignored
        self._where = where
        self._added = 0
        self._options = Options(
            builder.data, importer.options, operator.options_type, operator.options
        )
        self.builtin = operator.builtin
        self.inputs = tuple(None if i < 0 else builder.values[i] for i in operator.inputs)
        self.outputs = tuple(builder.values[i] for i in operator.outputs)
        self.source = builder.sources[self.outputs[0]]

    def fail(self, message: str, hint: str = "") -> ModelError:
        return ModelError(message, hint=hint)

    def type_of(self, value: str) -> TensorType:
        if value not in self._builder.types:
            name = self._builder.sources.get(value, value)
            raise self.fail(f"tensor {name!r} is empty")
        return self._builder.types[value]

    def constant(self, value: str) -> Array | None:
        return self._builder.constants.get(value)

    def option(self, name: str) -> OptionValue:
        return self._options[name]

    @property
    def has_options(self) -> bool:
        return self._options.present

    def add(
        self,
        op: str,
        inputs: tuple[str, ...],
        attrs: Mapping[str, Attr],
        outputs: tuple[str, ...] | None = None,
    ) -> None:
        builder = self._builder
        suffix = f"_{self._added}" if self._added else ""
        self._added += 1
        outputs = self.outputs if outputs is None else outputs
        name = f"{op}_{self._index}{suffix}"
        node = Node(name, op, inputs, outputs, dict(attrs), self.source)
        ctx = NodeContext(
            node,
            tuple(self.type_of(v) for v in inputs),
            tuple(self.type_of(v) for v in outputs),
            {i: builder.constants[v] for i, v in enumerate(inputs) if v in builder.constants},
        )
        of_file = ctx.outputs
        for value, declared, (shape, dtype) in zip(outputs, of_file, _infer(ctx), strict=True):
            if declared.dtype != dtype:
                raise self.fail(f"makes {dtype}, but the file says {declared.dtype}")
            # The reference computes shapes too, and ignores those of the file.
            builder.types[value] = replace(declared, shape=shape)
        ctx = replace(ctx, outputs=tuple(builder.types[v] for v in outputs))
        # Constants are folded here already: weights may be stored in another form than they are
        # used.
        folded = None if builder.outputs.intersection(outputs) else fold_node(ctx)
        if folded is None:
            for made in ctx.outputs:
                for problem in shape_problems(made.shape, made.dtype):
                    # Whoever reads it is looked at with the file's shape: this is told once.
                    builder.types.update(zip(outputs, of_file, strict=True))
                    raise self.fail(f"makes {made.dtype}{list(made.shape)}: {problem}")
            builder.nodes.append(node)
        else:
            builder.constants.update(zip(outputs, folded, strict=True))

    def new_value(self, suffix: str, tensor_type: TensorType) -> str:
        value = self._builder.names.own(f"{self.outputs[0]}_{suffix}")
        self._builder.types[value] = tensor_type
        return value

    def new_constant(self, suffix: str, array: Array, quant: Quant | None = None) -> str:
        value = self.new_value(suffix, TensorType(array.shape, array.dtype.name, quant))
        self._builder.constants[value] = array
        return value

    def fold(self, array: Array) -> None:
        value = self.outputs[0]
        array.setflags(write=False)
        self._builder.types[value] = TensorType(array.shape, array.dtype.name)
        if value in self._builder.outputs:
            self.add("copy", (self.new_constant("value", array),), {})
        else:
            self._builder.constants[value] = array

    def set_output_shape(self, shape: tuple[int, ...]) -> None:
        types = self._builder.types
        types[self.outputs[0]] = replace(types[self.outputs[0]], shape=shape)

    def report(self, message: str, hint: str = "") -> None:
        self._builder.problems.append(Problem(self._where, message, hint))

    def finish(self) -> None:
        """Report options that the importer did not read although they say something."""
        for name, value in self._options.unread().items():
            if name not in self._ignored:
                self.report(f"option {name} = {value} is not supported")


def _infer(ctx: NodeContext) -> list[tuple[tuple[int, ...], str]]:
    """The operator's inference, without the node's name: the problem's place has it already."""
    try:
        return find(ctx.node.op).infer(ctx)
    except ModelError as error:
        prefix = ctx.fail("").message
        raise ModelError(error.message.removeprefix(prefix), hint=error.hint) from error


def _where(operator: FileOperator, model: FileModel) -> str:
    name = model.tensors[operator.outputs[0]].name if operator.outputs else ""
    return f"operator {operator.index} {operator.builtin} {name!r}"
