"""Whether a model can be compiled, and everything that keeps it from it, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microtvm.frontend import Problem, import_model
from microtvm.graph.text import print_value


@dataclass(frozen=True)
class Check:
    """What `microtvm check` says about a model file."""

    model: Path
    operators: Mapping[str, int]
    """Builtin operators by name, with how often each occurs."""
    inputs: tuple[str, ...]
    """Name and type of each, as the graph's text has them; () where there are problems."""
    outputs: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """The model can be compiled."""
        return not self.problems

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
        inputs=() if graph is None else tuple(print_value(v, graph.types[v]) for v in graph.inputs),
        outputs=()
        if graph is None
        else tuple(print_value(v, graph.types[v]) for v in graph.outputs),
        problems=result.problems,
    )
