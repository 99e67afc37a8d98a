"""`microtvm schedules`: the template and knobs of each kernel, and what else there is."""

from __future__ import annotations

from pathlib import Path

import click

from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.option import ANY_CPU, compile_options, core_options
from microtvm.inference import prefix_of
from microtvm.isa.template import Knob
from microtvm.pipeline import CompileOptions
from microtvm.schedules import KernelSchedules, list_schedules
from microtvm.target import Cpu, load_cpu


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@core_options
@compile_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def schedules(model: Path, cpu: Cpu | None, compiling: CompileOptions, as_json: bool) -> None:
    """List how each kernel of MODEL is scheduled, and how it may be.

    A template schedules all expressions of one pattern, its knobs are what may be tuned: none of
    them changes a result. What --json prints can be edited and given to --schedules: of each
    kernel `name`, `template` and `knobs` are read.
    """
    cpu = cpu or load_cpu(ANY_CPU)
    with progress(as_json) as report:
        report("compiling", 0, 1)
        found = list_schedules(model, cpu, prefix=prefix_of(model), options=compiling)
    if as_json:
        emit_json({"cpu": cpu.name, "operators": [kernel.as_json() for kernel in found]})
        return
    emit_table(
        ("kernel", "template", "knobs", "other templates"),
        [_row(kernel) for kernel in found],
    )
    emit_text(f"on {cpu.name}; behind a knob its value, and in brackets the others")


def _row(kernel: KernelSchedules) -> tuple[str, ...]:
    own, *others = kernel.ways
    knobs = [
        f"{name} {_word(kernel.choice.knobs[name])} "
        f"({', '.join(_word(v) for v in values if v != kernel.choice.knobs[name])})"
        for name, values in own.space.items()
    ]
    return (kernel.name, own.template, "\n".join(knobs), "\n".join(w.template for w in others))


def _word(value: Knob) -> str:
    """A value as JSON has it, a string without its quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
