"""Where a model's time goes: what each operator takes, and what lies outside all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microtvm.errors import ToolError, UserError
from microtvm.inference import Counts, Heard, Progress, RunResult, run_project, silent
from microtvm.npz import Inputs
from microtvm.project import Project, Value
from microtvm.target import Board

OUTSIDE = "outside operators"
"""The row of what the model's run executes between its operators, its entry and its return."""
TOTAL = "total"


@dataclass(frozen=True)
class Row:
    """One operator, what is outside operators, or the sum of all."""

    name: str
    ops: tuple[str, ...]
    """The graph's operators that the kernel does."""
    macs: int
    instructions: int
    loads: int
    stores: int
    cycles: int | None
    """Estimated; None where the CPU has no table of timings."""
    share: float
    """Of the total's cycles; of its instructions where there are no cycles."""

    @property
    def instructions_a_mac(self) -> float | None:
        """None where there are no products."""
        return self.instructions / self.macs if self.macs else None

    @property
    def cycles_a_mac(self) -> float | None:
        """None where there are no products, or no cycles."""
        return self.cycles / self.macs if self.macs and self.cycles is not None else None

    def as_json(self) -> dict[str, Any]:
        """Fields, and both rates."""
        return {
            "name": self.name,
            "ops": list(self.ops),
            "macs": self.macs,
            "instructions": self.instructions,
            "instructions_a_mac": self.instructions_a_mac,
            "loads": self.loads,
            "stores": self.stores,
            "cycles": self.cycles,
            "cycles_a_mac": self.cycles_a_mac,
            "share": self.share,
        }


@dataclass(frozen=True)
class Profile:
    """One inference: the operators and `outside` add up to `total`, in every column, exactly."""

    model: str
    board: str
    operators: tuple[Row, ...]
    """In the order in which they ran."""
    outside: Row
    total: Row
    cycles_note: str
    """What the cycles are an estimate of, or why there are none."""

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "board": self.board,
            "model": self.model,
            "operators": [row.as_json() for row in self.operators],
            "outside": self.outside.as_json(),
            "total": self.total.as_json(),
            "cycles_note": self.cycles_note,
        }


def require_counts(board: Board) -> None:
    """UserError for a board that can't be profiled, before anything is compiled for it."""
    emulator = board.emulator
    if emulator is None or emulator.kind == "process":
        why = "it has no emulator" if emulator is None else "there it is a process of this machine"
        raise UserError(
            f"board {board.name} can't be profiled: {why}, and nothing counts instructions",
            hint="choose an emulated board, say --board qemu-mps2-an386",
        )


def profile_project(
    project: Project,
    inputs: Inputs | None = None,
    *,
    progress: Progress = silent,
    options: Mapping[str, Value] | None = None,
    on_log: Heard | None = None,
) -> Profile:
    """Run a built project as `run_project` does, and tell its second inference by operators.

    Raises UserError for a board without counts, ToolError where the counting plugin can't be had:
    the message says why.
    """
    require_counts(project.board)
    result = run_project(project, inputs, progress=progress, options=options, on_log=on_log)
    return profile_of(result, project)


def profile_of(result: RunResult, project: Project) -> Profile:
    """The profile of a run that was counted exactly; ToolError for another."""
    counts = result.counts
    if counts is None or not counts.exact:
        reason = "nothing counts" if counts is None else counts.note
        raise ToolError(
            f"{project.library.name} can't be profiled on {result.board}: {reason}",
            hint="the counting plugin needs a C compiler for this machine, and QEMU with plugins",
        )
    return make_profile(counts, project, result.cycles_note)


def make_profile(counts: Counts, project: Project, cycles_note: str) -> Profile:
    """Rows from exact counts and the library's metadata."""
    assert counts.loads is not None
    assert counts.stores is not None
    known = {o["name"]: o for o in project.library.metadata["operators"]}
    whole = counts.instructions if counts.cycles is None else counts.cycles

    def row(
        name: str,
        macs: int,
        instructions: int,
        loads: int,
        stores: int,
        cycles: int | None,
        ops: tuple[str, ...] = (),
    ) -> Row:
        part = instructions if cycles is None else cycles
        return Row(name, ops, macs, instructions, loads, stores, cycles, part / whole)

    rows = tuple(
        row(
            o.name,
            known[o.name]["macs"],
            o.instructions,
            o.loads,
            o.stores,
            o.cycles,
            tuple(known[o.name]["ops"]),
        )
        for o in counts.operators
    )
    inside = [o.cycles for o in counts.operators if o.cycles is not None]
    outside = row(
        OUTSIDE,
        0,
        counts.instructions - sum(r.instructions for r in rows),
        counts.loads - sum(r.loads for r in rows),
        counts.stores - sum(r.stores for r in rows),
        None if counts.cycles is None else counts.cycles - sum(inside),
    )
    total = row(
        TOTAL,
        sum(r.macs for r in rows),
        counts.instructions,
        counts.loads,
        counts.stores,
        counts.cycles,
    )
    board = project.board.name
    return Profile(project.library.name, board, rows, outside, total, cycles_note)
