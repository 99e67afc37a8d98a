"""The exact planner: rectangles of lifetime by bytes that must not overlap, by CP-SAT."""

from __future__ import annotations

import math

from microtvm.errors import ToolError
from microtvm.memory.place import Placer

DETERMINISTIC_TIME = 5.0
"""In the solver's own units of work, some seconds each: where it stops depends on no clock."""


def solve(
    placer: Placer,
    start: list[int],
    bound_bytes: int,
    *,
    deterministic_time: float = DETERMINISTIC_TIME,
) -> tuple[list[int], int]:
    """Offsets at least as good as `start`'s, and the greatest lower bound that could be proven.

    Equal to the total of the offsets, the bound proves them optimal. The same result on every run
    of one version of the solver. Raises ToolError without ortools.
    """
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise ToolError(
            "the exact memory planner needs ortools, which is not installed",
            hint="pip install 'microtvm[exact]', or use another planner",
        ) from error

    requests = placer.requests
    best_total = placer.total_bytes(start)
    # All offsets are multiples of the smallest alignment, so sizes may be rounded up to it: only
    # the end of the highest buffer is measured exactly.
    granule = min((request.align for request in requests), default=1)
    model = cp_model.CpModel()
    total = model.new_int_var(bound_bytes, best_total, "total")
    lifetimes = []
    places = []
    starts: dict[int, cp_model.LinearExpr] = {}
    followed = {request.ahead.name for request in requests if request.ahead is not None}
    for index, request in enumerate(requests):
        if not request.size_bytes:
            continue
        size = math.ceil(request.size_bytes / granule)
        scale = request.align // granule
        if request.offset is not None:
            starts[index] = model.new_constant(request.offset // granule)
        else:
            highest = (best_total - request.size_bytes) // request.align
            slot = model.new_int_var(0, highest, f"slot{index}")
            model.add_hint(slot, start[index] // request.align)
            starts[index] = scale * slot
        places.append(model.new_fixed_size_interval_var(starts[index], size, f"place{index}"))
        # Steps have two halves. Of a pair that may share memory each has its own half of the step
        # in which both are alive.
        begin, end = 2 * request.first, 2 * request.last + 2
        begin += request.ahead is not None
        end -= request.name in followed
        lifetimes.append(model.new_fixed_size_interval_var(begin, end - begin, f"life{index}"))
        model.add(total >= granule * starts[index] + request.size_bytes)
    model.add_no_overlap_2d(lifetimes, places)
    by_name = {request.name: index for index, request in enumerate(requests)}
    for index, request in enumerate(requests):
        if request.ahead is None:
            continue
        other = by_name[request.ahead.name]
        if index not in starts or other not in starts:
            continue
        before = model.new_bool_var(f"before{index}")
        distance = min(request.ahead.distance, request.size_bytes)
        ours, theirs = granule * starts[index], granule * starts[other]
        model.add(ours + distance <= theirs).only_enforce_if(before)
        model.add(ours >= theirs + requests[other].size_bytes).only_enforce_if(~before)
    model.minimize(total)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = deterministic_time
    status = solver.solve(model)
    proven = max(bound_bytes, math.ceil(solver.best_objective_bound - 1e-6))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return start, min(proven, best_total)
    offsets = list(start)
    for index, expression in starts.items():
        offsets[index] = granule * solver.value(expression)
    return offsets, proven
