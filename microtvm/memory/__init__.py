"""Gives every buffer a place in one arena, so that no two that live at the same time overlap."""

from microtvm.memory.picture import picture
from microtvm.memory.planner import PLANNERS, plan
from microtvm.memory.request import Ahead, Plan, Request, check_plan, lower_bound_bytes

__all__ = [
    "PLANNERS",
    "Ahead",
    "Plan",
    "Request",
    "check_plan",
    "lower_bound_bytes",
    "picture",
    "plan",
]
