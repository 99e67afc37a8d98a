"""A model on a board, start to end: compile, create a project, build, boot, infer, measure."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtvm.attach import (
    ANYWHERE,
    Place,
    is_real,
    open_project,
    require_emulator,
    require_simavr,
    waiting_text,
)
from microtvm.codegen.library_text import scale_zero
from microtvm.device import Description, Session, Tensor, Timing, open_emulator, open_process
from microtvm.device.count import (
    Activation,
    CountReader,
    build_plugin,
    load_problem,
    plugin_argv,
    simavr_argv,
)
from microtvm.errors import DeviceError, UserError
from microtvm.frontend import load_model
from microtvm.npz import Inputs, random_inputs
from microtvm.pipeline import PLAIN, CompileOptions, compile_model, is_taken
from microtvm.project import (
    Footprint,
    Project,
    StackReport,
    Value,
    build_project,
    by_step,
    check_stack,
    choose_platform,
    create_project,
    measure,
    stack_report,
)
from microtvm.target import Board
from microtvm.util import Array

COUNTED_FAMILIES = ("cortex-m", "riscv")
"""Whose instructions the plugin for QEMU knows."""

AROUND_RUN = 32
"""At most so many instructions of the server lie between its two readings of a board's counter,
beside those of the model's run."""

Heard = Callable[[str], None]
"""Called with each piece of text that the application on the device prints."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def silent(_what: str, _done: int, _total: int) -> None:
    """The progress that nobody watches."""


@dataclass(frozen=True)
class OperatorCount:
    """What one operator took in one inference."""

    name: str
    instructions: int
    loads: int
    stores: int
    cycles: int | None = None
    """Estimated; None where the CPU has no table of timings."""


@dataclass(frozen=True)
class Counts:
    """Instructions of one inference, entry to exit of the model's run.

    `resolution` is how many instructions the figure may be off: 1 from the emulator's plugin, which
    is exact; from a board's counter the length of a tick and what the server adds.
    """

    instructions: int
    resolution: float
    operators: tuple[OperatorCount, ...]
    """In the order in which they ran; empty where a board's counter was read."""
    note: str = ""
    """Why the count isn't exact; empty if it is."""
    loads: int | None = None
    stores: int | None = None
    cycles: int | None = None
    """Estimated. These three are None where a board's counter was read."""

    @property
    def exact(self) -> bool:
        """The figure is the number of instructions, not an estimate."""
        return not self.note


@dataclass(frozen=True)
class RunResult:
    """What a run gives: outputs by name in the model's order, and what was measured."""

    board: str
    outputs: dict[str, Array]
    """Stacked along a new first dimension if the inputs were."""
    counts: Counts | None
    """None where nothing counts instructions: on the host."""
    cycles: int | None
    """An estimate from the instructions executed; None where there is none."""
    cycles_note: str
    """What the estimate is of, or why there is none."""
    footprint: Footprint
    """With the measured depth of the stack in the place of the reserve, where it is measured."""
    stack_measured: bool
    stack: StackReport
    """The bound on the stack, from the image."""
    seconds: float | None = None
    """What the last run took on a real board, by its counter; None in an emulator."""


def prepare(
    model: Path,
    board: Board,
    folder: Path,
    *,
    platform: str = "",
    platform_options: Mapping[str, Value] | None = None,
    progress: Progress = silent,
    options: CompileOptions = PLAIN,
) -> Project:
    """A model file to a built project for `board` in `folder`, which must be new or empty.

    It has the model library in `library` and the project in `project`. `platform` is one of the
    board's, by default its first; its options are those of creating and building, and what is
    given for later steps is for the caller. `options` say how the model is compiled.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty", hint="choose a folder that is new")
    chosen = choose_platform(board, platform)
    steps = by_step(chosen.name, chosen.options, platform_options or {})
    progress("compiling", 0, 3)
    compiled = compile_model(
        model,
        board.cpu,
        prefix=prefix_of(model),
        options=options,
    )
    library = folder / "library"
    compiled.library.write(library)
    progress("creating", 1, 3)
    project = create_project(
        library, board, folder / "project", platform=chosen.name, options=steps["create"]
    )
    progress(chosen.building, 2, 3)
    build_project(project, options=steps["build"])
    check_stack(project)
    progress("built", 3, 3)
    return project


def prefix_of(model: Path) -> str:
    """A C identifier for a model file: its name, _ for what is no letter or digit."""
    stem = "".join(c if c.isascii() and c.isalnum() else "_" for c in model.stem).lower()
    return (stem if stem[:1].isalpha() and not is_taken(stem) else f"m_{stem}")[:40]


def described_inputs(model: Path, *, strip_edges: bool = False) -> Description:
    """The inputs of a model file as a device will have them, known before anything is compiled.

    No tensor but the inputs is there, nor an operator. ModelError for what can't be imported.
    """
    graph = load_model(model, strip_edges=strip_edges)
    inputs = []
    for index, name in enumerate(graph.inputs):
        found = graph.types[name]
        scale, zero = scale_zero(found)
        inputs.append(
            Tensor(
                index=index,
                name=name,
                source=graph.sources.get(name, name),
                shape=found.shape,
                dtype=np.dtype(found.dtype).newbyteorder("<"),
                scale=scale,
                zero_point=zero,
                live_from=0,
                live_to=0,
            )
        )
    return Description(
        name=graph.name,
        model_hash=b"",
        tensors=tuple(inputs),
        inputs=tuple(inputs),
        outputs=(),
        operators=(),
    )


@dataclass(frozen=True)
class Booted:
    """A session with a board, and what counts its instructions if it is emulated."""

    session: Session
    counter: CountReader | None
    why_not_exact: str
    real: bool = False
    """A board, whose counter measures time."""


def boot(
    project: Project,
    scratch: Path,
    *,
    timing: Timing | None = None,
    place: Place = ANYWHERE,
    options: Mapping[str, Value] | None = None,
) -> Booted:
    """Start the built project in the board's emulator, or as a process of the host; or open the
    link to the board that has it in its flash. `options` are the platform's for opening the link.

    Counts go to a file in the folder `scratch`.
    """
    if is_real(project.board, place):
        session = open_project(project, place, options=options, timing=timing)
        return Booted(session, None, "instructions are counted in emulators only", real=True)
    project = project.in_step("open", options)
    emulator = require_emulator(project.board)
    metadata = project.library.metadata
    if emulator.kind == "process":
        session = open_process(
            project.platform.emulator_argv(project, ""), metadata, elf=project.elf, timing=timing
        )
        return Booted(session, None, "a process of the host is not counted")
    if emulator.kind == "simavr":
        return _boot_simavr(project, scratch / "counts", timing)
    argv = project.platform.emulator_argv(project, "{serial}")
    if project.board.cpu.family not in COUNTED_FAMILIES:
        why = f"QEMU's plugin knows no instruction of {project.board.cpu.name}"
        return Booted(open_emulator(argv, metadata, timing=timing), None, why)
    plugin = build_plugin()
    problem: str | None = plugin.reason
    counter = None
    if plugin.path is not None:
        problem = load_problem(argv[0], plugin.path)
        if problem is None:
            output = scratch / "counts"
            timing_table = project.board.cpu.timing
            argv += plugin_argv(
                project.elf,
                _labels(project),
                output,
                plugin=plugin.path,
                timing=None if timing_table is None else timing_table.cycles,
            )
            counter = CountReader(output)
    return Booted(
        open_emulator(argv, metadata, elf=project.elf, timing=timing), counter, problem or ""
    )


def _boot_simavr(project: Project, output: Path, timing: Timing | None) -> Booted:
    """An AVR image on libsimavr, whose cycles are the core's own."""
    bridge = require_simavr(project.board)
    command = project.platform.emulator_argv(project, "")
    labels = _labels(project)
    argv = simavr_argv(command, project.elf, labels, output, bridge=bridge)
    session = open_process(argv, project.library.metadata, timing=timing)
    return Booted(session, CountReader(output), "")


RUN_LABEL = "run"


def _labels(project: Project) -> dict[str, str]:
    labels = {RUN_LABEL: project.platform.run_function(project)}
    for operator in project.library.metadata.get("operators", ()):
        labels[f"op:{operator['name']}"] = operator["function"]
    return labels


def run_project(
    project: Project,
    inputs: Inputs | None = None,
    *,
    progress: Progress = silent,
    timing: Timing | None = None,
    place: Place = ANYWHERE,
    options: Mapping[str, Value] | None = None,
    on_log: Heard | None = None,
) -> RunResult:
    """Boot a built project, or open the link to the board at `place`, and run all inputs; without
    any, one run from a fixed seed.

    Instructions are those of the second inference: a single input is run twice.
    """
    footprint = measure(project.elf, project.library)
    with tempfile.TemporaryDirectory(prefix="microtvm-") as scratch:
        progress(waiting_text(project, place) or "starting", 0, 1)
        booted = boot(project, Path(scratch), timing=timing, place=place, options=options)
        with booted.session as session:
            session.on_log(on_log)
            progress("running", 0, 1)
            given = random_inputs(session.model) if inputs is None else inputs
            runs = given.runs * 2 if len(given.runs) == 1 else given.runs
            rows: list[dict[str, Array]] = []
            counts: Counts | None = None
            seconds: float | None = None
            for index, arrays in enumerate(runs):
                progress("running", index, len(runs))
                rows.append(session.run(arrays, whole=True))
                taken = _counts(booted, project)
                counts = taken if index == 1 else counts
                seconds = _seconds(booted)
            progress("running", len(runs), len(runs))
            measured = session.hello.has_stack
            stack = session.stack_peak() if measured else footprint.ram.stack
    rows = rows[-len(given.runs) :]
    outputs = {
        n: np.stack([r[n] for r in rows]) if given.stacked else a for n, a in rows[0].items()
    }
    return RunResult(
        board=project.board.name,
        outputs=outputs,
        counts=counts,
        cycles=None if counts is None else counts.cycles,
        cycles_note=_cycles_note(booted, project.board),
        footprint=footprint.with_stack(stack),
        stack_measured=measured,
        stack=stack_report(project),
        seconds=seconds,
    )


def _seconds(booted: Booted) -> float | None:
    """What the last run took on a real board, by its counter."""
    run, hertz = booted.session.last_run, booted.session.hello.ticks_hz
    return run.ticks / hertz if booted.real and run is not None and hertz else None


def _counts(booted: Booted, project: Project) -> Counts | None:
    """What the last run took."""
    if booted.counter is None:
        return _board_counts(booted, project.board)
    found = booted.counter.new()
    totals = [a for a in found if a.label == RUN_LABEL]
    if len(totals) != 1:
        function = project.platform.run_function(project)
        raise DeviceError(f"{function} was entered {len(totals)} times in one inference")
    (run,) = totals
    return Counts(
        run.instructions,
        1.0,
        tuple(_operators(found)),
        loads=run.loads,
        stores=run.stores,
        cycles=run.cycles,
    )


def _cycles_note(booted: Booted, board: Board) -> str:
    """What an estimate of cycles is of, or why there is none."""
    if booted.counter is None:
        return f"not estimated: {booted.why_not_exact}"
    timing = board.cpu.timing
    if board.emulator is not None and board.emulator.kind == "simavr":
        return "simavr's, interrupts included"
    if timing is None:
        return f"not estimated: {board.cpu.no_timing}"
    return f"an estimate without wait states and caches: {timing.model}"


def _board_counts(booted: Booted, board: Board) -> Counts | None:
    """From the board's counter, whose time is QEMU's count of instructions, a nanosecond each."""
    run, hertz = booted.session.last_run, booted.session.hello.ticks_hz
    emulated = board.emulator is not None and board.emulator.icount
    if run is None or not hertz or not emulated or booted.real:
        return None
    per_tick = 1e9 / hertz
    return Counts(round(run.ticks * per_tick), per_tick + AROUND_RUN, (), booted.why_not_exact)


def _operators(found: Sequence[Activation]) -> list[OperatorCount]:
    return [
        OperatorCount(a.label.removeprefix("op:"), a.instructions, a.loads, a.stores, a.cycles)
        for a in found
        if a.label != RUN_LABEL
    ]
