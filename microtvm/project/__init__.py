"""From a model library and a board to a project folder, its image, and what the image takes."""

from microtvm.project.build import Built, build_project
from microtvm.project.fit import Demand, check_fit, demand_of
from microtvm.project.library import Library, read_library
from microtvm.project.measure import Flash, Footprint, Ram, measure
from microtvm.project.project import Project, create_project, load_project
from microtvm.project.template import list_templates

__all__ = [
    "Built",
    "Demand",
    "Flash",
    "Footprint",
    "Library",
    "Project",
    "Ram",
    "build_project",
    "check_fit",
    "create_project",
    "demand_of",
    "list_templates",
    "load_project",
    "measure",
    "read_library",
]
