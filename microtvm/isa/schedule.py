"""Which template schedules an expression.

The choice is by what it is and what the core has, never by an operator's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from microtvm.errors import ScheduleError
from microtvm.isa import (
    dsp,
    elementwise,
    generic,
    helium,
    helium_depthwise,
    helium_elementwise,
)
from microtvm.isa.template import Expression, Knob, Template
from microtvm.target import Cpu
from microtvm.te.schedule import Schedule

TEMPLATES: tuple[Template, ...] = (
    *helium.TEMPLATES,
    *helium_depthwise.TEMPLATES,
    *helium_elementwise.TEMPLATES,
    *dsp.TEMPLATES,
    *elementwise.TEMPLATES,
    *generic.TEMPLATES,
)
"""All of them, those that need most of a core first; the last one takes anything on any core."""


@dataclass(frozen=True)
class Choice:
    """How one kernel is scheduled: data, which can be stored.

    `template` names one (by default the first that takes the expression); `knobs` are those that
    shall differ from the template's defaults.
    """

    template: str = ""
    knobs: Mapping[str, Knob] = field(default_factory=dict)


def apply(s: Schedule, cpu: Cpu, choice: Choice) -> str:
    """Schedule an expression for a core; returns the template's name.

    ScheduleError for a knob that the template doesn't have, and for a template that the core can't
    use or that doesn't take the expression.
    """
    expression = Expression(s)
    for template in TEMPLATES:
        if choice.template and template.name != choice.template:
            continue
        if all(cpu.has(f) for f in template.needs) and template.take(
            expression, template.knobs(choice.knobs if choice.template else {})
        ):
            return template.name
    raise ScheduleError(
        f"template {choice.template!r} does not take this expression on {cpu.name}",
        hint=f"there are {', '.join(t.name for t in TEMPLATES)}",
    )
