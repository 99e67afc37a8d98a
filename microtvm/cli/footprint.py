"""How commands tell what an image takes: the same names in JSON, the same lines for people."""

from __future__ import annotations

from typing import Any

from microtvm.project import Footprint, StackReport


def footprint_json(
    footprint: Footprint, *, stack_measured: bool
) -> dict[str, dict[str, int | None]]:
    """`flash_bytes` and `ram_bytes` by kind. An unmeasured stack is null and not in the total."""
    flash, ram = footprint.flash, footprint.ram
    return {
        "flash_bytes": {
            "code": flash.code,
            "constants": flash.constants,
            "weights": flash.weights,
            "total": flash.total,
        },
        "ram_bytes": {
            "arena": ram.arena,
            "scratch": ram.scratch,
            "static": ram.static,
            "stack": ram.stack if stack_measured else None,
            "total": ram.total if stack_measured else ram.total - ram.stack,
        },
    }


def footprint_rows(footprint: Footprint, *, stack_measured: bool) -> list[tuple[str, str]]:
    """Two rows of a table: flash and RAM."""
    flash, ram = footprint.flash, footprint.ram
    total = ram.total if stack_measured else ram.total - ram.stack
    reserve = f", {ram.stack:,} are reserved" if ram.stack else ""
    stack = f"stack {ram.stack:,}" if stack_measured else f"stack not measured{reserve}"
    return [
        (
            "flash",
            f"{flash.total:,} bytes: code {flash.code:,}, constants {flash.constants:,}, "
            f"weights {flash.weights:,}",
        ),
        (
            "RAM",
            f"{total:,} bytes: arena {ram.arena:,} (tensors {ram.arena - ram.scratch:,}, "
            f"scratch {ram.scratch:,}), static {ram.static:,}, {stack}",
        ),
    ]


def stack_json(report: StackReport) -> dict[str, Any]:
    """`bound_bytes` and `path` are null where nothing is known, `note` says why."""
    bound = report.bound
    return {
        "bound_bytes": None if bound is None else bound.total,
        "usable_bytes": report.usable_bytes if report.usable_bytes else None,
        "path": None
        if bound is None
        else [{"function": level.function, "bytes": level.bytes} for level in bound.path],
        "note": report.note,
    }


def stack_rows(report: StackReport) -> list[tuple[str, str]]:
    """One row of a table."""
    if report.bound is None:
        return [("stack", f"not bounded: {report.note}")]
    return [
        (
            "stack",
            f"at most {report.bound.total:,} of {report.usable_bytes:,} bytes: {report.bound}",
        )
    ]
