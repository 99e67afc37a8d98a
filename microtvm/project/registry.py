"""The platforms that there are: those that come with microtvm, and those of entry points."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from microtvm.errors import ToolError
from microtvm.project.arduino import Arduino
from microtvm.project.make import Baremetal, Host
from microtvm.project.platform import Platform
from microtvm.project.zephyr import Zephyr
from microtvm.target.document import near

ENTRY_POINTS = "microtvm.platforms"
"""The group by which third parties' platforms are found."""

_OWN: tuple[type[Platform], ...] = (Arduino, Baremetal, Host, Zephyr)


def list_platforms() -> list[str]:
    """The names of all platforms, sorted: those that come with microtvm and those of entry
    points."""
    return sorted({cls.name for cls in _OWN} | set(_foreign()))


def find_platform(name: str) -> Platform:
    """The platform of that name; ToolError if there is none or its package can't be loaded.

    One that comes with microtvm is never replaced by another's of the same name.
    """
    for cls in _OWN:
        if cls.name == name:
            return cls()
    entry = _foreign().get(name)
    if entry is None:
        raise ToolError(f"there is no platform {name!r}", hint=near(name, list_platforms()))
    try:
        found = entry.load()
    except Exception as error:
        raise ToolError(
            f"the platform {name!r} of {entry.value} can't be loaded: {error!r}",
            hint="install its package again, or take it away",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Platform)):
        raise ToolError(f"{entry.value}, the platform {name!r}, is no subclass of Platform")
    try:
        platform = found()
    except Exception as error:
        raise ToolError(
            f"the platform {name!r} of {entry.value} can't be made: {error}",
            hint="it must define what Platform leaves open, and take no arguments",
        ) from error
    if platform.name != name:
        raise ToolError(
            f"{entry.value} is installed as the platform {name!r}, "
            f"but calls itself {platform.name!r}"
        )
    return platform


def _foreign() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
