"""The flash budget: which layers store their weights in larger forms, where that saves most time.

Weights as they come take a byte each. Some schedules are faster with more: 16 bits each, or filters
transformed for Winograd's algorithm. Templates declare what each form costs; here the forms are
chosen that save the most instructions and together stay within the budget.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microtvm import te
from microtvm.errors import UserError
from microtvm.graph.ir import Graph
from microtvm.isa.schedule import Choice, alternatives
from microtvm.isa.template import Cost
from microtvm.lower.kernel import GroupExpression, small_groups
from microtvm.passes.fuse import Group
from microtvm.target import Cpu
from microtvm.util import Array

DEFAULT_BUDGET = 1.5
"""Times the weights in int8."""

LARGEST_FACTOR = 16.0
"""A larger factor is taken for bytes that lack their unit; nothing stores weights so large."""

STEPS = 2048
"""Into so many parts a budget is divided, each form's bytes are rounded up to whole parts."""

_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20}


@dataclass(frozen=True)
class FlashBudget:
    """What the weights of a model may take in flash: a multiple of their int8 size, or bytes."""

    factor: float = DEFAULT_BUDGET
    limit_bytes: int | None = None
    """In the place of the factor."""

    @staticmethod
    def of(value: str | float) -> FlashBudget:
        """A budget as a user writes it: 1.5 times the weights in int8, or 200000B, 200K, 1.5M.

        UserError for anything else, and for factors below 1 or above LARGEST_FACTOR.
        """
        text = str(value).strip()
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([BKM]?)", text, re.IGNORECASE)
        if found is None:
            raise UserError(
                f"{text!r} is no flash budget",
                hint="give a factor on the weights in int8, such as 1.5, or bytes as 200K or 1M",
            )
        number, unit = float(found[1]), found[2].upper()
        if unit:
            return FlashBudget(limit_bytes=int(number * _UNITS[unit]))
        if not 1 <= number <= LARGEST_FACTOR:
            raise UserError(
                f"a flash budget of {text} times the weights in int8",
                hint=f"a factor is from 1 to {LARGEST_FACTOR:g}; bytes end in B, K or M",
            )
        return FlashBudget(number)

    def extra(self, plain_bytes: int) -> int:
        """Bytes that weights of `plain_bytes` in int8 may take beyond those.

        UserError where the budget does not hold even those.
        """
        limit = self.limit_bytes
        if limit is None:
            limit = int(plain_bytes * self.factor)
        if limit < plain_bytes:
            raise UserError(
                f"weights of {plain_bytes:,} bytes do not fit into a flash budget of {limit:,}",
                hint="no form of them is smaller; a budget of 1 never takes more than they need",
            )
        return limit - plain_bytes


@dataclass(frozen=True)
class Budgeted:
    """What a budget came to: the choice for each group, and what there was to choose."""

    choices: tuple[Choice, ...]
    limit_bytes: int
    """For all weights, in the forms that were chosen. What fills the last tile is not counted."""
    offered: int
    """Groups that are faster with larger weights, in one of the forms that the core has."""
    enlarged: int
    """Those of them whose weights are larger."""


def choose(
    graph: Graph,
    groups: Sequence[Group],
    cpu: Cpu,
    budget: FlashBudget,
    fixed: Mapping[str, Choice] | None = None,
) -> Budgeted:
    """How each group is scheduled, so that all weights together stay within the budget.

    Small groups share their code, and stay as they are. `fixed` groups are scheduled as they say;
    what their weights take more leaves less for the others.
    """
    fixed = {} if fixed is None else fixed
    small = small_groups(graph, groups)
    plain = sum(a.nbytes for a in graph.constants.values() if a.dtype == np.int8)
    extra = budget.extra(plain)
    offers = [
        [] if group.name in small and group.name not in fixed else _offers(graph, group, cpu)
        for group in groups
    ]
    for k, group in enumerate(groups):
        if group.name in fixed:
            extra = max(0, extra - _grown(offers[k], fixed[group.name]))
            offers[k] = []
    costs = [[cost for _, cost in offer] for offer in offers]
    taken = best(costs, extra)
    return Budgeted(
        tuple(
            fixed.get(group.name) or (offer[k][0] if k else Choice(small=group.name in small))
            for group, offer, k in zip(groups, offers, taken, strict=True)
        ),
        limit_bytes=plain + budget.extra(plain),
        offered=sum(any(_is_larger(c, offer[0]) for c in offer) for offer in costs),
        enlarged=sum(k > 0 and _is_larger(c[k], c[0]) for c, k in zip(costs, taken, strict=True)),
    )


def _is_larger(cost: Cost, default: Cost) -> bool:
    """Whether a form of the weights takes more of the budget, and fewer instructions."""
    return cost.weight_bytes > default.weight_bytes and cost.instructions < default.instructions


def _grown(offer: Sequence[tuple[Choice, Cost]], choice: Choice) -> int:
    """Bytes that a choice takes more than the default; 0 where that is not known."""
    for offered, cost in offer:
        if offered.template == choice.template and offered.knobs == choice.knobs:
            return max(0, cost.weight_bytes - offer[0][1].weight_bytes)
    return 0


def _offers(graph: Graph, group: Group, cpu: Cpu) -> list[tuple[Choice, Cost]]:
    """The ways to schedule a group; see `alternatives`."""

    def make() -> te.Schedule:
        return te.create_schedule(GroupExpression.of(graph, group).outputs)

    return alternatives(make, cpu)


def best(offers: Sequence[Sequence[Cost]], extra_bytes: int) -> list[int]:
    """For each layer which of its costs to take; the first is the default.

    The instructions saved are the most that `extra_bytes` beyond all defaults allow, up to the
    rounding of bytes: a knapsack with a choice for each layer, by dynamic programming.
    """
    step = max(1, -(-extra_bytes // STEPS))
    room = extra_bytes // step

    def steps(costs: Sequence[Cost], k: int) -> int:
        return max(0, -(-(costs[k].weight_bytes - costs[0].weight_bytes) // step))

    saved = np.zeros(room + 1)
    """The most instructions that the layers so far can save with so many steps."""
    picks: list[Array] = []
    for costs in offers:
        most, pick = saved.copy(), np.zeros(room + 1, np.int64)
        for k in range(1, len(costs)):
            needed = steps(costs, k)
            gain = costs[0].instructions - costs[k].instructions
            if needed > room or gain <= 0:
                continue
            total = np.full(room + 1, -np.inf)
            total[needed:] = saved[: room + 1 - needed] + gain
            better = total > most
            most[better], pick[better] = total[better], k
        saved = most
        picks.append(pick)
    taken: list[int] = []
    left = room
    for costs, pick in zip(reversed(offers), reversed(picks), strict=True):
        k = int(pick[left])
        taken.append(k)
        left -= steps(costs, k) if k else 0
    return taken[::-1]
