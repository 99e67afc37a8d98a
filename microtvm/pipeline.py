"""The way of a model, stage by stage: read this page and you know the compiler.

Each stage has a text form: `dump` is called with the stage's name and its text, `--dump-after
STAGE` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from microtvm.codegen.dialect import Dialect
from microtvm.codegen.layout import Layout, lay_out
from microtvm.codegen.library import Library, generate
from microtvm.errors import UserError
from microtvm.frontend import load_model
from microtvm.graph.ir import Graph
from microtvm.graph.text import print_graph
from microtvm.isa.schedule import Choice
from microtvm.lower.budget import DEFAULT_BUDGET, Budgeted, FlashBudget, choose
from microtvm.lower.choices import Choices
from microtvm.lower.kernel import Kernel, small_groups
from microtvm.memory.picture import picture
from microtvm.ops.verify import verify
from microtvm.passes import FOLD_CHANNELS, PASSES
from microtvm.passes.fuse import Fused, fuse
from microtvm.target import Cpu
from microtvm.tir.text import program_text

STAGES = ("import", *(p.name for p in PASSES), "fuse", "tir", "memory", "c")
"""The names that `--dump-after` takes, in the order of the pipeline."""


@dataclass(frozen=True)
class Compiled:
    """A compiled model: the library to write, and every level that it came through."""

    library: Library
    graph: Graph
    fused: Fused
    kernels: tuple[Kernel, ...]
    layout: Layout
    budgeted: Budgeted


@dataclass(frozen=True)
class CompileOptions:
    """How a model is compiled, whatever becomes of it then."""

    strip_edges: bool = False
    """Drops float or uint8 conversions at a quantised model's inputs and outputs."""
    fold_channels: bool = True
    """Without it every tensor has all its channels."""
    overlap: bool = True
    """Without it no output begins before an input whose memory it takes over."""
    flash_budget: str | float = DEFAULT_BUDGET
    """What weights may take in flash, a multiple of their size in int8 or bytes: `FlashBudget`."""
    planner: str = "auto"
    """One of memory.PLANNERS."""
    schedules: Path | Mapping[str, Choice] | None = None
    """How some kernels are scheduled; see `lower/choices.py`."""

    def changed(self) -> tuple[str, ...]:
        """The names of those that are not as they are by default."""
        found = [f.name for f in fields(self) if getattr(self, f.name) != getattr(PLAIN, f.name)]
        if FlashBudget.of(self.flash_budget) == FlashBudget():
            found = [name for name in found if name != "flash_budget"]
        return tuple(found)

    def refuse(self, what: str, hint: str = "leave that out, or give the model file") -> None:
        """UserError if any is changed, which `what` says why it would have no effect."""
        if self.changed():
            names = ", ".join(f"--{_SWITCHES.get(n, n).replace('_', '-')}" for n in self.changed())
            raise UserError(f"{what}: {names} would change nothing", hint=hint)


PLAIN = CompileOptions()
"""Without any wishes."""

_SWITCHES = {"fold_channels": "no_fold_channels", "overlap": "no_overlap"}
"""The options that are on by default, and how the command line turns them off."""


def compile_model(
    model: Path,
    cpu: Cpu,
    *,
    prefix: str | None = None,
    options: CompileOptions = PLAIN,
    dump: Callable[[str, str], None] = lambda stage, text: None,
) -> Compiled:
    """A model file to a model library for a CPU.

    `prefix` names the library and all its C symbols (by default the file's name made an
    identifier). Raises ModelError for what can't be compiled, UserError for options that make no
    sense for the model or the core.
    """
    graph = load_model(model, strip_edges=options.strip_edges)
    dump("import", print_graph(graph))
    return compile_graph(graph, cpu, prefix=prefix, options=options, dump=dump)


def compile_graph(
    graph: Graph,
    cpu: Cpu,
    *,
    prefix: str | None = None,
    options: CompileOptions = PLAIN,
    dump: Callable[[str, str], None] = lambda stage, text: None,
) -> Compiled:
    """A verified graph to a model library; see `compile_model`. Edges are as they are."""
    budget = FlashBudget.of(options.flash_budget)
    stored = Choices.of(options.schedules)
    graph = transform(graph, fold_channels=options.fold_channels, dump=dump)
    fused = fuse(graph)
    dump("fuse", "\n".join(f"{g.name}: {', '.join(n.name for n in g.nodes)}" for g in fused.groups))
    fixed = stored.checked(graph, fused.groups, cpu, small_groups(graph, fused.groups))
    budgeted = choose(graph, fused.groups, cpu, budget, fixed)
    kernels = tuple(
        stored.lower(graph, group, cpu, choice)
        for group, choice in zip(fused.groups, budgeted.choices, strict=True)
    )
    dump("tir", "\n\n".join(program_text(k.program) for k in kernels))
    layout = lay_out(
        fused, kernels, align=cpu.alignment, planner=options.planner, overlap=options.overlap
    )
    dump("memory", picture(layout.requests, layout.plan))
    chosen = check_prefix(prefix or graph.name)
    library = generate(fused, kernels, layout, chosen, cpu.name, Dialect.of(cpu))
    dump("c", library.files[f"{library.prefix}.c"])
    return Compiled(library, graph, fused, kernels, layout, budgeted)


def transform(
    graph: Graph,
    *,
    fold_channels: bool = True,
    dump: Callable[[str, str], None] = lambda stage, text: None,
) -> Graph:
    """The graph that kernels are made of: after all passes, verified after each."""
    for transformation in PASSES:
        if transformation is FOLD_CHANNELS and not fold_channels:
            continue
        graph = transformation.run(graph)
        verify(graph)
        dump(transformation.name, print_graph(graph))
    return graph


# C99 7.1.2, what its headers include in some libraries, and what a project has beside the model:
# `<prefix>.h` must not hide one of these.
_HEADERS = frozenset({
    "assert", "board", "complex", "ctype", "errno", "fenv", "float",
    "inttypes", "iso646", "limits", "locale", "math", "platform", "setjmp",
    "signal", "stdarg", "stdbool", "stddef", "stdint", "stdio", "stdlib",
    "string", "tgmath", "time", "wchar", "wctype",
    "alloca", "endian", "features", "malloc", "newlib", "picolibc", "pthread", "reent", "sched",
    "strings", "unistd",
})  # fmt: skip


def check_prefix(prefix: str) -> str:
    """`prefix` if it can begin C identifiers and name C files; UserError otherwise."""
    if not prefix.isidentifier() or not prefix.isascii() or len(prefix) > 40:
        raise UserError(
            f"{prefix!r} can't begin C identifiers",
            hint="use at most 40 letters, digits and underscores, not beginning with a digit",
        )
    if is_taken(prefix):
        raise UserError(
            f"{prefix}.h would hide a header of that name", hint=f"use m_{prefix}, for example"
        )
    return prefix


def is_taken(prefix: str) -> bool:
    """Whether a model of this prefix would collide with headers or with the runtime's own names."""
    return prefix.lower() in _HEADERS or prefix.lower().startswith("mtvm")
