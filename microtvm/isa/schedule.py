"""Which template schedules an expression.

The choice is by what it is and what the core has, never by an operator's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from microtvm.isa import dsp, generic
from microtvm.isa.generic import Knobs
from microtvm.isa.pattern import classify, is_constant
from microtvm.target import Cpu
from microtvm.te.schedule import Schedule

FLOAT_ACCUMULATORS = 8
"""Of the 32 registers of a floating point unit: what a tile's operands leave."""


@dataclass(frozen=True)
class Choice:
    """Knobs of one kernel. `wide_weights`: int8 weights are stored as int16, for speed."""

    generic: Knobs = field(default_factory=Knobs)
    wide_weights: bool = False


def apply(s: Schedule, cpu: Cpu, choice: Choice) -> str:
    """Schedule an expression for a core; returns the template's name."""
    live = [st for st in s.stages if not all(is_constant(s, t) for t in st.outputs)]
    reductions = [st for st in live if st.reduce_axis]
    outputs = [st for st in live if st.is_output]
    if (
        cpu.has("dsp")
        and len(reductions) == 1
        and len(outputs) == 1
        and outputs[0] is not reductions[0]
    ):
        pattern = classify(s, reductions[0])
        for stage in live:
            if (
                stage is not reductions[0]
                and stage is not outputs[0]
                and not any(t in pattern.data for t in stage.outputs)
            ):
                stage.compute_inline()
        for template in (dsp.matrix_product, dsp.window_product):
            if template(
                s,
                pattern,
                outputs[0],
                wide_weights=choice.wide_weights,
            ):
                return f"dsp.{template.__name__}"
    knobs = choice.generic
    if cpu.has("fpu-single") and any(t.dtype == "float32" for r in reductions for t in r.outputs):
        knobs = replace(knobs, accumulators=FLOAT_ACCUMULATORS, unroll=FLOAT_ACCUMULATORS)
    generic.schedule(s, knobs)
    return "generic"
