"""What `microtvm doctor` looks for beside the programs of `microtvm.doctor`: what Zephyr's builds
need, and the flash tools that boards name."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from microtvm.device.flash_plan import find_program
from microtvm.doctor import ZEPHYR, Tool, ToolStatus, check_tool, check_tools
from microtvm.errors import MicrotvmError, MicrotvmWarning
from microtvm.project.zephyr_tools import find_sdk
from microtvm.project.zephyr_tree import find_tree
from microtvm.target import Programmer, list_programmers, load_programmer

FLASH = "flashing, one of a board's"
ZEPHYR_PACKAGES = (
    "anytree",
    "intelhex",
    "jsonschema",
    "packaging",
    "pykwalify",
    "pyyaml",
    "west",
)
"""The extra `zephyr`: what Zephyr's build scripts import."""
_EXTRA = "pip install 'microtvm[zephyr]'"


def check_setup() -> list[ToolStatus]:
    """Everything, those of one group together, what is needed first."""
    found = [*check_tools(), _west(), _packages(), _tree(), _sdk()]
    named = {status.tool.name for status in found}
    found += [status for status in _flash_tools() if status.tool.name not in named]
    groups = list(dict.fromkeys(status.tool.group for status in found))
    return sorted(found, key=lambda status: groups.index(status.tool.group))


def _west() -> ToolStatus:
    tool = Tool("west", "builds in Zephyr's workspaces", _EXTRA, "west", "", False, ZEPHYR)
    beside = Path(sys.executable).parent / "west"
    status = check_tool(tool)
    return status if status.found or not beside.is_file() else ToolStatus(tool, beside, "")


def _packages() -> ToolStatus:
    missing = []
    for name in ZEPHYR_PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    purpose = "what Zephyr's build scripts import"
    if missing:
        purpose += f"; missing: {', '.join(missing)}"
    tool = Tool("the extra microtvm[zephyr]", purpose, _EXTRA, "", "", False, ZEPHYR)
    return ToolStatus(tool, None if missing else Path(sys.prefix), "")


def _tree() -> ToolStatus:
    install = "west init WORKSPACE, west update in it, and export ZEPHYR_BASE=WORKSPACE/zephyr"
    tool = Tool("ZEPHYR_BASE", "Zephyr's source tree", install, "", "", False, ZEPHYR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MicrotvmWarning)
            tree = find_tree(Path.cwd())
    except MicrotvmError:
        return ToolStatus(tool, None, "")
    return ToolStatus(tool, tree.folder, ".".join(map(str, tree.version)))


def _sdk() -> ToolStatus:
    variant = os.environ.get("ZEPHYR_TOOLCHAIN_VARIANT", "")
    own = variant not in ("", "zephyr")
    tool = Tool(
        "ZEPHYR_SDK_INSTALL_DIR",
        f"compilers: ZEPHYR_TOOLCHAIN_VARIANT is {variant}"
        if own
        else "Zephyr's SDK, its compilers; Cortex-M builds with arm-none-eabi-gcc too",
        "west sdk install",
        "",
        "",
        False,
        ZEPHYR,
    )
    return ToolStatus(tool, Path(variant) if own else find_sdk(), "")


def _flash_tools() -> list[ToolStatus]:
    every = map(load_programmer, list_programmers())
    return [_flash_tool(each) for each in every if each.programs]


def _flash_tool(programmer: Programmer) -> ToolStatus:
    program = find_program(programmer)
    tool = Tool(programmer.name, programmer.description, programmer.install, "", "", False, FLASH)
    return ToolStatus(tool, Path(program) if program else None, "")
