"""What a schedule template is: the features it needs, its knobs, how it takes an expression."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from microtvm.errors import ScheduleError
from microtvm.isa.pattern import Reduction, classify, is_constant
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage

Knob = int | bool | str


class Expression:
    """A schedule's stages by their parts: what a template looks at."""

    def __init__(self, schedule: Schedule, *, small: bool = False) -> None:
        self.schedule = schedule
        self.small = small
        """Little of the model's time is spent here: code that others share counts for more."""
        self.live: list[Stage] = [
            st for st in schedule.stages if not all(is_constant(schedule, t) for t in st.outputs)
        ]
        """All but those that are evaluated at compile time."""
        self.reductions: list[Stage] = [st for st in self.live if st.reduce_axis]
        self.outputs: list[Stage] = [st for st in self.live if st.is_output]

    @property
    def single(self) -> tuple[Reduction, Stage] | None:
        """The one reduction and the one output behind it; None where there are more or fewer."""
        if len(self.reductions) != 1 or len(self.outputs) != 1:
            return None
        (anchor,), (out,) = self.reductions, self.outputs
        return None if anchor is out else (classify(self.schedule, anchor), out)

    def inline_epilogue(self, pattern: Reduction, out: Stage) -> None:
        """Compute what lies between the reduction and the output where the output reads it."""
        for stage in self.live:
            feeds = any(t in pattern.data for t in stage.outputs)
            if stage is not pattern.stage and stage is not out and not feeds:
                stage.compute_inline()


@dataclass(frozen=True)
class Cost:
    """What a schedule takes, to compare it with others of the same expression."""

    weight_bytes: int
    """Constants in the form in which they are stored."""
    instructions: float
    """An estimate, without what all of the compared schedules have."""


def _words(values: Iterable[Knob]) -> str:
    """Values as a file of schedules spells them."""
    return ", ".join(json.dumps(value) for value in values)


@dataclass(frozen=True)
class Template:
    """A way to schedule expressions of one pattern on cores that have what it needs.

    `take` schedules the expression and returns True, or returns False and changes nothing. `space`
    declares the knobs: for each its possible values, the shipped default first. `cost` estimates
    what taking the expression costs, without changing it; None where the template can't take it.
    """

    name: str
    take: Callable[[Expression, Mapping[str, Knob]], bool]
    needs: frozenset[str] = frozenset()
    """Features of `boards/cpu/*.toml`."""
    space: Mapping[str, tuple[Knob, ...]] = field(default_factory=dict)
    cost: Callable[[Expression, Mapping[str, Knob]], Cost | None] = lambda expression, knobs: None
    by_name: bool = False
    """Only taken where it is asked for: what it costs decides, not that it takes an expression."""

    def knobs(self, given: Mapping[str, Knob]) -> dict[str, Knob]:
        """The given knobs, and defaults for the others; ScheduleError outside the space."""
        for name, value in given.items():
            # True is no 1 here, nor is 4.0 a 4.
            allowed = self.space.get(name, ())
            if not any(type(v) is type(value) and v == value for v in allowed):
                known = "; ".join(f"{k}: {_words(v)}" for k, v in self.space.items())
                if allowed:
                    raise ScheduleError(
                        f"template {self.name}: knob {name} is {_words((value,))}",
                        hint=f"its values: {_words(allowed)}",
                    )
                raise ScheduleError(
                    f"template {self.name} has no knob {name}",
                    hint=f"its knobs, and their values: {known or 'none'}",
                )
        return {name: values[0] for name, values in self.space.items()} | dict(given)
