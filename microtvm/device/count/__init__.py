"""Exact counts under QEMU: a TCG plugin that follows chosen functions from entry to exit.

`build_plugin` compiles it on first use, `plugin_argv` tells QEMU what to follow, `CountReader`
reads what has been counted so far, while QEMU still runs. How the counting works: `plugin.c`.
"""

from microtvm.device.count.argument import plugin_argv, simavr_argv
from microtvm.device.count.build import PluginBuild, build_plugin, build_simavr, load_problem
from microtvm.device.count.reader import Activation, CountReader

__all__ = [
    "Activation",
    "CountReader",
    "PluginBuild",
    "build_plugin",
    "build_simavr",
    "load_problem",
    "plugin_argv",
    "simavr_argv",
]
