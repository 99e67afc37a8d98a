"""A plan as text that a person can check: buffers against steps, with their addresses."""

from __future__ import annotations

import math
from collections.abc import Sequence

from microtvm.memory.request import Plan, Request

MAX_COLUMNS = 64


def picture(requests: Sequence[Request], plan: Plan) -> str:
    """A line for each buffer by address, a column for each step (or several, if there are many).

    `#` is a step in which the buffer is alive. The last line has the bytes alive in each column in
    tenths of the arena, `=` where they fill it.
    """
    if not requests:
        return "no buffers\n"
    first = min(request.first for request in requests)
    last = max(request.last for request in requests)
    stride = math.ceil((last - first + 1) / MAX_COLUMNS)
    columns = [range(step, step + stride) for step in range(first, last + 1, stride)]
    rows = sorted(requests, key=lambda r: (plan.offsets[r.name], r.first, r.name))
    lines = [
        f"{plan.total_bytes:,} bytes, lower bound {plan.lower_bound_bytes:,}, by {plan.planner}",
        _row("from", "to", "bytes", f"steps {first} to {last}{_every(stride)}", ""),
    ]
    for request in rows:
        offset = plan.offsets[request.name]
        marks = "".join(
            "#" if request.first < steps.stop and steps.start <= request.last else "."
            for steps in columns
        )
        end = offset + request.size_bytes
        lines.append(
            _row(f"{offset:,}", f"{end:,}", f"{request.size_bytes:,}", marks, request.name)
        )
    alive = "".join(_level(requests, steps, plan.total_bytes) for steps in columns)
    lines.append(_row("", "", "alive", alive, ""))
    return "\n".join(lines) + "\n"


def _row(start: str, end: str, size: str, marks: str, name: str) -> str:
    return f"{start:>11} {end:>11} {size:>11}  {marks}  {name}".rstrip()


def _every(stride: int) -> str:
    return f", {stride} in a column" if stride > 1 else ""


def _level(requests: Sequence[Request], steps: range, total_bytes: int) -> str:
    # What is alive grows only where a buffer's life begins.
    moments = {steps.start} | {r.first for r in requests if r.first in steps}
    alive = max(sum(r.size_bytes for r in requests if r.first <= s <= r.last) for s in moments)
    return "=" if alive == total_bytes else str(10 * alive // total_bytes)
