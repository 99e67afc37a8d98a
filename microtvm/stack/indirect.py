"""Which tables the runtime's calls through pointers take their targets from.

A function of the runtime that is not listed here, or of another program, may call every function
whose address is taken.
"""

from __future__ import annotations

from collections.abc import Mapping

Member = tuple[str, str]
"""A structure and a member of it."""

Members = Mapping[str | Member, tuple[Member, ...]]
"""Members of tables by the function in whose source the call is, wherever that was inlined: by a
pattern of its name, or by a member that points to it."""

_SERVER = r"(now|work|execute|handle|flush|mtvm_server_poll|mtvm_send|main|loop)"

SYMBOLS: tuple[tuple[str, str], ...] = (
    (_SERVER, r"port"),
    (r"(work|mtvm_server_poll|main|loop)", r"\w+_(ops|model)"),
    (r"\w+_run", r"\w+_ops"),
    (r"(read|write)_link", r"_ZTV\w+"),
    (r"_ZN5Print5writeEPKhj", r"_ZN\w+5writeEh"),
    (r"__do_global_ctors", r"_GLOBAL__sub_I_\w+"),
)
"""The same for images without DWARF, as Arduino's cores build them, where the linker has inlined
what it could: patterns of a function's name, and of variables with all its targets, or of their
names. A function that several patterns meet has the targets of all."""

RUNTIME: Members = {
    "now": (("mtvm_port", "ticks"),),
    "work": (("mtvm_model", "run"), ("mtvm_op", "run")),
    "execute": (("mtvm_port", "stack_peak"),),
    "handle": (("mtvm_port", "reset"),),
    "mtvm_server_poll": (("mtvm_port", "read"), ("mtvm_port", "idle")),
    "flush": (("mtvm_port", "write"),),
    ("mtvm_model", "run"): (("mtvm_op", "run"),),
    r"\w+_watched_run": (("mtvm_op", "run"),),
}
"""Of `runtime_c/src`, of a model's own function that runs all operators, and of a project's that
does so under a watchdog."""
