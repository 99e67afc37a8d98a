"""On which boards a model fits, with bytes to spare, and about how long it takes there.

Code depends on the core, not on the board: for every core among the boards the model is compiled
once, built for an emulated machine that executes that core's code, and one inference is counted
there where the core has a table of timings.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microtvm.errors import FitError, MissingProgramError, ModelError, ToolError, UserError
from microtvm.inference import Progress, prefix_of, run_project, silent
from microtvm.pipeline import compile_model
from microtvm.project import (
    Demand,
    Project,
    arena_pool,
    build_project,
    choose_platform,
    contents,
    create_project,
    demand_of,
    measure,
    read_library,
)
from microtvm.target import Board, Cpu, list_boards, load_board

_BYTES = ("flash_bytes", "ram_bytes", "spare_flash_bytes", "spare_ram_bytes")


@dataclass(frozen=True)
class CoreResult:
    """What a model takes on one core."""

    cpu: Cpu
    demand: Demand
    """But for the stack, which is the board's reserve."""
    exact: bool
    """The demand is of a linked image; otherwise code and variables are lower bounds."""
    cycles: int | None
    machine: str
    """The emulated board; empty if there is none."""
    why_not_exact: str
    """Empty if it is exact."""
    why_no_cycles: str
    """Empty if there are cycles."""
    refusal: str = ""
    """Why the model can't be compiled for this core, then with no demand; empty if it can."""

    @property
    def cycles_model(self) -> str:
        """What the cycles are an estimate of; empty if there are none."""
        if self.cycles is None:
            return ""
        timing = self.cpu.timing
        return f"counted by the emulator of {self.machine}" if timing is None else timing.model


@dataclass(frozen=True)
class BoardResult:
    """A model on one board."""

    board: Board
    core: CoreResult
    spare_flash: int
    """Bytes left in the fuller of the memories for code and weights; negative if they lack."""
    spare_ram: int
    """Likewise of the memories for the arena, variables and the stack that the board reserves."""
    arena: str
    """The memory that the arena is in."""

    @property
    def fits(self) -> bool | None:
        """The model can be compiled for the core, and nothing lacks; None where nothing does of
        what is known, but code was not counted."""
        if self.core.refusal or self.spare_flash < 0 or self.spare_ram < 0:
            return False
        return True if self.core.exact else None

    @property
    def seconds(self) -> float | None:
        """One inference, without wait states and caches; None where cycles or clock are unknown."""
        if self.core.cycles is None or not self.board.hz:
            return None
        return self.core.cycles / self.board.hz

    @property
    def note(self) -> str:
        """What is missing from the figures, and why."""
        if self.core.refusal:
            return f"can't be compiled for {self.core.cpu.name}: {self.core.refusal}"
        if not self.core.exact:
            return f"the model's code is not counted, and no time: {self.core.why_not_exact}"
        if self.core.cycles is None:
            return f"no time: {self.core.why_no_cycles}"
        if self.board.hz:
            return ""
        if self.board.emulator is not None:
            return "no time: an emulated machine has no clock of its own"
        return "no time: no second source has the board's clock"

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        demand = self.core.demand
        sizes = (
            demand.code + demand.weights,
            demand.arena + demand.static + self.board.stack_bytes,
            self.spare_flash,
            self.spare_ram,
        )
        return {
            "board": self.board.name,
            "cpu": self.board.cpu.name,
            "fits": self.fits,
            "exact": self.core.exact,
            **(
                dict.fromkeys(_BYTES)
                if self.core.refusal
                else dict(zip(_BYTES, sizes, strict=True))
            ),
            "arena_memory": None if self.core.refusal else self.arena,
            "cycles": self.core.cycles,
            "seconds": self.seconds,
            "cycles_model": self.core.cycles_model,
            "counted_on": self.core.machine,
            "note": self.note,
        }


def survey(
    model: Path, boards: Sequence[Board], *, progress: Progress = silent, **options: Any
) -> list[BoardResult]:
    """A model on each of the boards; those whose memory is the host's own are left out.

    `options` are those of `compile_model`. Tools that are missing, and cores that the model can't
    be compiled for, are said in the results.
    """
    asked = [board for board in boards if board.memories]
    cpus = {board.cpu.name: board.cpu for board in asked}
    found: dict[str, CoreResult] = {}
    with tempfile.TemporaryDirectory(prefix="microtvm-") as scratch:
        cores = _Cores(model, options, Path(scratch))
        for index, (name, cpu) in enumerate(cpus.items()):
            progress(f"compiling for {name}", index, len(cpus))
            found[name] = cores.result(cpu)
    return [_on_board(board, found[board.cpu.name]) for board in asked]


def machine_for(cpu: Cpu) -> Board | None:
    """The emulated board with the most room that executes a core's code; None if there is none.

    It has that core, or one of the same family and features.
    """
    machines = [
        board
        for board in map(load_board, list_boards())
        if board.emulator is not None
        and board.emulator.kind != "process"
        and (board.cpu.family, board.cpu.features) == (cpu.family, cpu.features)
    ]
    return max(
        machines,
        key=lambda b: (b.cpu.name == cpu.name, _counts(b), b.memory("arena").size_bytes),
        default=None,
    )


def _counts(board: Board) -> bool:
    """Whether the emulator counts the core's cycles itself."""
    return board.emulator is not None and board.emulator.kind == "simavr"


class _Cores:
    """A model on one core after another, nothing made twice.

    What is generated depends on what a core has, not on its name; an image also on the options of
    the compiler.
    """

    def __init__(self, model: Path, options: Mapping[str, Any], scratch: Path) -> None:
        self._model = model
        self._options = options
        self._scratch = scratch
        self._libraries: dict[object, Path] = {}
        self._projects: dict[object, Project] = {}

    def result(self, cpu: Cpu) -> CoreResult:
        """What the model takes on a core."""
        try:
            library = self._library(cpu)
        except (ModelError, UserError) as error:
            return CoreResult(
                cpu, Demand(0, 0, 0, 0, 0), False, None, "", "", "", refusal=error.message
            )
        machine = machine_for(cpu)
        if machine is None:
            reason = f"no machine that is emulated here executes the code of {cpu.name}"
            return _unbuilt(library, cpu, "", reason)
        try:
            project = self._project(cpu, machine, library)
        except (FitError, ToolError) as error:
            return _unbuilt(library, cpu, machine.name, _reason(error, cpu))
        return _counted(project, cpu)

    def _library(self, cpu: Cpu) -> Path:
        key = (cpu.family, cpu.features, cpu.alignment)
        if key not in self._libraries:
            compiled = compile_model(
                self._model, cpu, prefix=prefix_of(self._model), **self._options
            )
            folder = self._scratch / f"library-{len(self._libraries)}"
            compiled.library.write(folder)
            _rename(folder / "metadata.json")
            self._libraries[key] = folder
        return self._libraries[key]

    def _project(self, cpu: Cpu, machine: Board, library: Path) -> Project:
        """The image, built with this core's compiler, on a board that has this core."""
        if machine.cpu != cpu:
            own = self._scratch / cpu.name / f"{machine.name}.toml"
            own.parent.mkdir()
            own.write_text(f'inherits = ["{machine.name}"]\ncpu = "{cpu.name}"\n', encoding="utf-8")
            machine = load_board(str(own))
        key = (library, machine.name, cpu.cc, cpu.flags)
        if key not in self._projects:
            project = create_project(library, machine, self._scratch / f"project-{cpu.name}")
            build_project(project)
            self._projects[key] = project
        return replace(self._projects[key], board=machine)


def _rename(metadata: Path) -> None:
    """The library is any core's that has the same features."""
    known = json.loads(metadata.read_text(encoding="utf-8"))
    metadata.write_text(json.dumps(known | {"cpu": ""}), encoding="utf-8")


def _reason(error: FitError | ToolError, cpu: Cpu) -> str:
    """Why there is no image: the machine that it was to be for is none that was asked for."""
    if isinstance(error, MissingProgramError):
        return f"{error.program}, which builds for {cpu.name}, is not on the PATH"
    return error.message


def _unbuilt(library: Path, cpu: Cpu, machine: str, reason: str) -> CoreResult:
    """What is known without an image: tensors and weights."""
    demand = demand_of(read_library(library), 0)
    return CoreResult(cpu, demand, False, None, machine, reason, reason)


def _counted(project: Project, cpu: Cpu) -> CoreResult:
    footprint = measure(project.elf, project.library)
    cycles, why_not = None, f"{cpu.no_timing}"
    if cpu.timing is not None or _counts(project.board):
        try:
            result = run_project(project)
        except ToolError as error:
            why_not = error.message
        else:
            cycles, why_not = result.cycles, "" if result.cycles is not None else result.cycles_note
    demand = Demand(
        arena=footprint.ram.arena,
        weights=footprint.flash.weights,
        code=footprint.flash.code + footprint.flash.constants,
        static=footprint.ram.static,
        stack=0,
    )
    return CoreResult(cpu, demand, True, cycles, project.board.name, "", why_not)


def _on_board(board: Board, core: CoreResult) -> BoardResult:
    demand = core.demand
    full = replace(demand, stack=board.stack_bytes)
    pools = choose_platform(board).arena_pools(board) or (board.memory("arena"),)
    arena = arena_pool(board, full, pools)
    spare = {
        memory: memory.size_bytes - sum(size for _, size in parts)
        for memory, parts in contents(board, full, pools).items()
    }
    flash = {board.memory("code"), board.memory("weights")}
    ram = {board.memory("data"), arena}
    return BoardResult(
        board,
        core,
        min(spare[memory] for memory in flash),
        min(spare[memory] for memory in ram),
        arena.name,
    )
