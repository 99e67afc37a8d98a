"""How each kernel of a model is scheduled, and how it may be: what a tuner chooses from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtvm.isa.schedule import Choice
from microtvm.lower.choices import Way, ways
from microtvm.pipeline import PLAIN, CompileOptions, compile_model
from microtvm.target import Cpu


@dataclass(frozen=True)
class KernelSchedules:
    """One kernel: what it computes, its schedule, and the templates that take it."""

    name: str
    expression: tuple[str, ...]
    macs: int
    choice: Choice
    """With all knobs."""
    ways: tuple[Way, ...]
    """The chosen template's own is the first."""

    def as_json(self) -> dict[str, Any]:
        """An entry of a file that `compile_model` reads, with what may be written there."""
        own, *others = self.ways
        return {
            "name": self.name,
            "expression": list(self.expression),
            "macs": self.macs,
            "template": self.choice.template,
            "knobs": dict(self.choice.knobs),
            "space": _lists(own),
            "alternatives": [{"template": w.template, "space": _lists(w)} for w in others],
        }


def list_schedules(
    model: Path, cpu: Cpu, *, prefix: str | None = None, options: CompileOptions = PLAIN
) -> tuple[KernelSchedules, ...]:
    """The kernels of a model file on a core, compiled as `compile_model` does.

    A template that is listed takes the kernel with the defaults of its knobs, the first of each
    space; some other values may not fit, which compiling says.
    """
    compiled = compile_model(model, cpu, prefix=prefix, options=options)
    found = []
    for kernel in compiled.kernels:
        taking = ways(compiled.graph, kernel.group, cpu, small=kernel.choice.small)
        found.append(
            KernelSchedules(
                name=kernel.group.name,
                expression=kernel.program.notes,
                macs=kernel.macs,
                choice=kernel.choice,
                ways=tuple(sorted(taking, key=lambda w: w.template != kernel.choice.template)),
            )
        )
    return tuple(found)


def _lists(way: Way) -> dict[str, list[Any]]:
    return {knob: list(values) for knob, values in way.space.items()}
