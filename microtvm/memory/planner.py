"""Chooses a place for every buffer: `plan`."""

from __future__ import annotations

from collections.abc import Sequence

from microtvm.errors import UserError
from microtvm.memory.climb import climb
from microtvm.memory.exact import solve
from microtvm.memory.greedy import ORDERS
from microtvm.memory.place import Placer
from microtvm.memory.request import Plan, Request, check_plan, check_requests, lower_bound_bytes

PLANNERS = ("auto", *ORDERS, "exact")
CLIMBS = 3
"""From that many of the best greedy plans: their hills differ."""


def plan(requests: Sequence[Request], planner: str = "auto") -> Plan:
    """Offsets for all requests in one arena, checked before they are returned.

    `greedy_*` place in one pass. `auto` takes the best of these, and climbs from some if that is
    above the lower bound. `exact` improves on `auto` until it is proven optimal or its budget is
    spent, and may raise the lower bound; `auto` never calls it, so that a model's layout does not
    depend on what is installed. Deterministic, all of them.

    Raises IRError for requests that make no sense, UserError for an unknown planner, ToolError if
    `exact` lacks its library.
    """
    if planner not in PLANNERS:
        raise UserError(f"no memory planner {planner!r}", hint=f"one of {', '.join(PLANNERS)}")
    check_requests(requests)
    placer = Placer(requests)
    bound = lower_bound_bytes(requests)
    names = [planner] if planner in ORDERS else list(ORDERS)
    attempts = [(name, placer.best_fit(ORDERS[name](placer))) for name in names]
    # Stable: of equals the first, so that what a plan looks like hangs on nothing else.
    attempts.sort(key=lambda attempt: placer.total_bytes(attempt[1]))
    name, offsets = attempts[0]
    if planner not in ORDERS:
        for _, start in attempts[:CLIMBS]:
            if placer.total_bytes(offsets) == bound:
                break
            climbed = climb(placer, start, bound)
            if placer.total_bytes(climbed) < placer.total_bytes(offsets):
                name, offsets = "climb", climbed
    if planner == "exact":
        name = "exact"
        if placer.total_bytes(offsets) > bound:
            offsets, bound = solve(placer, offsets, bound)
    result = Plan(placer.by_name(offsets), placer.total_bytes(offsets), bound, name)
    check_plan(requests, result)
    return result
