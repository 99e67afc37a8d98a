"""Which template schedules an expression.

The choice is by what it is and what the core has, never by an operator's name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from microtvm.errors import ScheduleError
from microtvm.isa import (
    dsp,
    dsp_depthwise,
    elementwise,
    float_tile,
    generic,
    helium,
    helium_depthwise,
    helium_elementwise,
    helium_float,
    mla_tile,
    riscv_tile,
    thumb1_tile,
)
from microtvm.isa.template import Cost, Expression, Knob, Template
from microtvm.target import Cpu
from microtvm.te.schedule import Schedule

TEMPLATES: tuple[Template, ...] = (
    *helium.TEMPLATES,
    *helium_depthwise.TEMPLATES,
    *helium_elementwise.TEMPLATES,
    *dsp.TEMPLATES,
    *dsp_depthwise.TEMPLATES,
    *helium_float.TEMPLATES,
    *float_tile.TEMPLATES,
    *mla_tile.TEMPLATES,
    *riscv_tile.TEMPLATES,
    *thumb1_tile.TEMPLATES,
    *elementwise.TEMPLATES,
    *generic.TEMPLATES,
)
"""All of them, those that need most of a core first; the last one takes anything on any core."""


LAST = TEMPLATES[-1].name

BY_NAME = {t.name: t for t in TEMPLATES}


@dataclass(frozen=True)
class Choice:
    """How one kernel is scheduled: data, which can be stored.

    `template` names one (by default the first that takes the expression and needs no name);
    `knobs` are those that shall differ from the template's defaults, or all of them.
    """

    template: str = ""
    knobs: Mapping[str, Knob] = field(default_factory=dict)
    small: bool = False
    """Little of the model's time is spent here: code that others share counts for more."""
    required: bool = True
    """Whether it is an error if the template can't be used; else the default stands in."""


def apply(s: Schedule, cpu: Cpu, choice: Choice, skip: Collection[str] = ()) -> str:
    """Schedule an expression for a core; returns the template's name, which is none of `skip`.

    ScheduleError for a knob that the template doesn't have, and for a template that the core can't
    use or that doesn't take the expression.
    """
    expression = Expression(s, small=choice.small)
    for template in TEMPLATES:
        if template.name != choice.template if choice.template else template.by_name:
            continue
        if template.name in skip:
            continue
        if all(cpu.has(f) for f in template.needs) and template.take(
            expression, template.knobs(choice.knobs if choice.template else {})
        ):
            return template.name
    raise ScheduleError(
        f"template {choice.template!r} does not take this expression on {cpu.name}",
        hint=f"there are {', '.join(t.name for t in TEMPLATES)}",
    )


def alternatives(make: Callable[[], Schedule], cpu: Cpu) -> list[tuple[Choice, Cost]]:
    """How an expression may be scheduled on a core and what each way costs, the default first.

    They are those of the template that takes the expression by default, with all values of its
    knobs, and those of templates that must be asked for. Empty where the default's cost is not
    known. `make` makes a new schedule of the expression.
    """
    default = Choice(apply(make(), cpu, Choice()))
    expression = Expression(make())
    found: list[tuple[Choice, Cost]] = []
    for template in sorted(TEMPLATES, key=lambda t: t.name != default.template):
        if not (template.by_name or template.name == default.template):
            continue
        if not all(cpu.has(f) for f in template.needs):
            continue
        # The product's first element has all defaults.
        for values in itertools.product(*template.space.values()):
            knobs = dict(zip(template.space, values, strict=True))
            cost = template.cost(expression, knobs)
            if cost is not None:
                found.append((Choice(template.name, knobs, required=False), cost))
        if not found:
            break
    return found
