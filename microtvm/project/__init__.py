"""From a model library and a board to a project folder, its image, and what the image takes."""

from microtvm.project.create import (
    build_project,
    choose_platform,
    create_project,
    load_project,
)
from microtvm.project.fit import Demand, arena_pool, check_fit, contents, demand_of
from microtvm.project.library import Library, read_library
from microtvm.project.measure import Flash, Footprint, Ram, measure
from microtvm.project.option import Option, Value, by_step, split_options
from microtvm.project.platform import Built, Platform, Project
from microtvm.project.registry import find_platform, list_platforms
from microtvm.project.stack import StackReport, check_stack, stack_report
from microtvm.project.watchdog import watchdog_warning

__all__ = [
    "Built",
    "Demand",
    "Flash",
    "Footprint",
    "Library",
    "Option",
    "Platform",
    "Project",
    "Ram",
    "StackReport",
    "Value",
    "arena_pool",
    "build_project",
    "by_step",
    "check_fit",
    "check_stack",
    "choose_platform",
    "contents",
    "create_project",
    "demand_of",
    "find_platform",
    "list_platforms",
    "load_project",
    "measure",
    "read_library",
    "split_options",
    "stack_report",
    "watchdog_warning",
]
