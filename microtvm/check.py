"""Whether a model can be compiled, and everything that keeps it from it, all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from microtvm.frontend import Problem, import_model
from microtvm.graph.ir import Graph, Node
from microtvm.graph.text import print_type
from microtvm.ops.base import NodeContext
from microtvm.ops.registry import find
from microtvm.passes import FOLD_CHANNELS, PASSES, run_passes
from microtvm.passes.channel_fold import Folding, fold
from microtvm.util import Array


@dataclass(frozen=True)
class Layer:
    """What channel folding leaves of an operator with weights. Pairs are (before, after)."""

    name: str
    source: str
    op: str
    inputs: tuple[int, int]
    """Channels that it reads."""
    outputs: tuple[int, int]
    """Channels that it makes."""
    constant: int
    """Output channels with one value for every input of the model, of those that go."""
    bias: int
    """Input channels whose products are part of the bias now."""
    macs: tuple[int, int]
    weight_bytes: tuple[int, int]
    """Without the bias."""

    @property
    def folded(self) -> bool:
        """Something goes."""
        return self.macs[0] != self.macs[1]

    @property
    def why(self) -> str:
        """The reasons in words, with the numbers of channels."""
        gone = self.outputs[0] - self.outputs[1]
        reasons = {
            "made constant": self.constant,
            "made that nothing needs": gone - self.constant,
            "read into the bias": self.bias,
        }
        return ", ".join(f"{count} {what}" for what, count in reasons.items() if count)

    def as_json(self) -> dict[str, object]:
        """The same for a program."""
        pairs = {
            "input_channels": self.inputs,
            "output_channels": self.outputs,
            "macs": self.macs,
            "weight_bytes": self.weight_bytes,
        }
        return {
            "name": self.name,
            "source": self.source,
            "op": self.op,
            "why": self.why,
            "constant_channels": self.constant,
            "bias_channels": self.bias,
            **{key: _before_after(*pair) for key, pair in pairs.items()},
        }


@dataclass(frozen=True)
class Check:
    """What `microtvm check` says about a model file."""

    model: Path
    operators: Mapping[str, int]
    """Builtin operators by name, with how often each occurs."""
    inputs: tuple[str, ...]
    """Name, which is the key in an .npz file, and type of each; () where there are problems."""
    outputs: tuple[str, ...]
    problems: tuple[Problem, ...]
    layers: tuple[Layer, ...]
    """Every operator with weights; () where there are problems."""

    @property
    def ok(self) -> bool:
        """The model can be compiled."""
        return not self.problems

    @property
    def macs(self) -> tuple[int, int]:
        """Products of weights in one inference, before channels are folded and after."""
        return sum(x.macs[0] for x in self.layers), sum(x.macs[1] for x in self.layers)

    @property
    def weight_bytes(self) -> tuple[int, int]:
        """Of all layers, before and after."""
        pairs = [x.weight_bytes for x in self.layers]
        return sum(b for b, _ in pairs), sum(a for _, a in pairs)

    def as_json(self) -> dict[str, object]:
        """The same for a program: strings, numbers, lists and dicts."""
        return {
            "model": str(self.model),
            "ok": self.ok,
            "operators": dict(self.operators),
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "problems": [
                {"where": p.where, "message": p.message, "hint": p.hint} for p in self.problems
            ],
            "macs": _before_after(*self.macs),
            "weight_bytes": _before_after(*self.weight_bytes),
            "folded": [layer.as_json() for layer in self.layers if layer.folded],
        }


def check_model(model: Path) -> Check:
    """Every operator, attribute and type of a model file that can't be compiled.

    ModelError where the file can't be read or is damaged.
    """
    result = import_model(model)
    graph = result.graph
    return Check(
        model=model,
        operators=result.operators,
        inputs=() if graph is None else _listed(graph, graph.inputs),
        outputs=() if graph is None else _listed(graph, graph.outputs),
        problems=result.problems,
        layers=() if graph is None else _layers(graph),
    )


def _listed(graph: Graph, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{value}: {print_type(graph.types[value])}" for value in values)


def _layers(graph: Graph) -> tuple[Layer, ...]:
    """What the pipeline's passes make of a model, node by node."""
    folding = fold(run_passes(graph, PASSES[: PASSES.index(FOLD_CHANNELS)]))
    left = {node.name: node for node in folding.after.nodes}
    return tuple(
        _layer(folding, node, left.get(node.name))
        for node in folding.before.nodes
        if _cost(folding.before, node)[0]
    )


def _layer(folding: Folding, node: Node, left: Node | None) -> Layer:
    before, x, y = folding.before, node.inputs[0], node.outputs[0]
    macs, weights = _cost(before, node)
    macs_left, weights_left = (0, 0) if left is None else _cost(folding.after, left)
    return Layer(
        name=node.name,
        source=node.source or node.name,
        op=node.op,
        inputs=_sizes(folding.keep.get(x)),
        outputs=_sizes(folding.keep[y]),
        constant=_constants(folding, y),
        bias=_constants(folding, x) if _sums_channels(node) else 0,
        macs=(macs, macs_left),
        weight_bytes=(weights, weights_left),
    )


def _sums_channels(node: Node) -> bool:
    """Whether every output channel is a sum over all input channels."""
    return node.op == "dense" or node.attrs.get("groups") == 1


def _constants(folding: Folding, value: str) -> int:
    """How many channels of a value go because they are constant."""
    keep, interval = folding.keep.get(value), folding.intervals.values.get(value)
    return 0 if keep is None or interval is None else int((interval.constant & ~keep).sum())


def _cost(graph: Graph, node: Node) -> tuple[int, int]:
    """Products of weights, and their bytes, of a node; 0 where it has no weights."""
    macs = find(node.op).macs(NodeContext.of(graph, node))
    return macs, graph.types[node.inputs[1]].size_bytes if macs else 0


def _sizes(keep: Array | None) -> tuple[int, int]:
    return (0, 0) if keep is None else (len(keep), int(keep.sum()))


def _before_after(before: int, after: int) -> dict[str, int]:
    return {"before": before, "after": after}
