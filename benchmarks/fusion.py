"""What one kernel for a depthwise convolution and the pointwise one behind it could save at most.

    python benchmarks/fusion.py [--model NAME|FILE]... [--board NAME]... [--flash-budget BUDGET]
        [--rows NUMBER] [--json FILE]

Memory: the planner places the model's tensors as they are compiled, and again with one step for
the pair. That has no tensor in between, writes over its input as it goes, and needs the scratch of
both kernels and a strip of rows of what is between: it can't have less, as windows overlap.

Time: the pointwise kernel is built once more without the statements that only copy or unpack its
input to scratch, as if the depthwise one had stored it so, and counted under QEMU. What it computes
then is wrong; what it takes is what a common kernel could save. Stores of the depthwise one stay:
as many elements must be handed over. A common kernel has to compute the depthwise convolution by
strips of rows, though. What that takes more is counted, too: with a strip as a model of its own.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

# As a script it does not find the folder that it is in as a package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measure import CORTEX_M4, CORTEX_M55, default_models
from microtvm.codegen.layout import lay_out
from microtvm.codegen.library import Library, generate
from microtvm.errors import MicrotvmError
from microtvm.graph.ir import Graph, Node, TensorType
from microtvm.inference import prefix_of, require_emulator, run_project
from microtvm.isa.schedule import Choice
from microtvm.lower.budget import DEFAULT_BUDGET
from microtvm.lower.kernel import Kernel, lower_group
from microtvm.ops.verify import verify
from microtvm.passes.fuse import Fused, Group, fuse
from microtvm.pipeline import Compiled, CompileOptions, compile_model
from microtvm.profile import Profile, profile_of
from microtvm.project import build_project, create_project
from microtvm.target import Board, Cpu, list_boards, load_board
from microtvm.tir.expr import Read
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    IntrinsicCall,
    Let,
    Program,
    Seq,
    Stmt,
    Store,
    statement_expressions,
    walk,
)
from microtvm.tir.traversal import post_order

ROWS = 4
"""Of outputs of a strip: what waits between the kernels is in the arena."""


@dataclass(frozen=True)
class Pair:
    """A depthwise convolution and the pointwise one that alone reads its output."""

    depthwise: str
    pointwise: str
    intermediate_bytes: int
    arena_fused_bytes: int
    """The whole arena with this pair as one step."""
    instructions: int
    """Of both kernels."""
    most_saved: int
    """Instructions of the copies and unpacking that a common kernel would not need."""
    strips_cost: int
    """Instructions that the depthwise convolution takes more by strips than as a whole."""


@dataclass(frozen=True)
class Report:
    """One model on one board."""

    model: str
    board: str
    instructions: int
    arena_apart_bytes: int
    """Where outputs overlap inputs only in one place, and of one size."""
    arena_bytes: int
    """As it is compiled."""
    arena_fused_bytes: int
    """With all pairs as one step each."""
    pairs: tuple[Pair, ...]

    @property
    def most_saved(self) -> int:
        """Of all pairs."""
        return sum(pair.most_saved for pair in self.pairs)

    @property
    def strips_cost(self) -> int:
        """Of all pairs."""
        return sum(pair.strips_cost for pair in self.pairs)

    def as_json(self) -> dict[str, Any]:
        """Fields, and the sums."""
        sums = {"most_saved": self.most_saved, "strips_cost": self.strips_cost}
        return {**dataclasses.asdict(self), **sums}


def pairs_of(compiled: Compiled) -> list[int]:
    """Steps of the depthwise convolutions that a pointwise one alone reads, in the next step."""
    graph, fused = compiled.graph, compiled.fused
    readers = graph.readers()
    found = []
    for step, (first, second) in enumerate(zip(fused.groups, fused.groups[1:], strict=False)):
        if len(first.outputs) != 1 or first.outputs[0] in graph.outputs:
            continue
        alone = len(readers[first.outputs[0]]) == 1 and second.inputs == first.outputs
        is_depthwise = any(n.op == "depthwise_conv2d" for n in first.nodes)
        if alone and is_depthwise and _is_pointwise(graph, second):
            found.append(step)
    return found


def _is_pointwise(graph: Graph, group: Group) -> bool:
    node = group.nodes[0]
    if node.op != "conv2d":
        return False
    kernel = graph.types[node.inputs[1]].shape[1:3]
    return math.prod((*kernel, *node.attrs["strides"])) == 1


def arena_of(compiled: Compiled, steps: Sequence[int], rows: int) -> int:
    """Bytes of the arena where the pairs that begin at `steps` are one kernel each."""
    types = compiled.graph.types
    groups: list[Group] = []
    kernels: list[Kernel] = []
    for step, kernel in enumerate(compiled.kernels):
        if step - 1 in steps:
            between = types[kernel.group.inputs[0]]
            strip = between.size_bytes * min(1, rows / between.shape[1])
            groups[-1], kernels[-1] = _joined(kernels[-1], kernel, round(strip))
        else:
            groups.append(kernel.group)
            kernels.append(kernel)
    fused = Fused(compiled.graph, tuple(groups), compiled.fused.aliases)
    return lay_out(fused, kernels).arena_bytes


def _joined(first: Kernel, second: Kernel, strip_bytes: int) -> tuple[Group, Kernel]:
    """One kernel of which only memory is known: a program that does nothing overlaps anything."""
    group = Group(
        first.group.name,
        (*first.group.nodes, *second.group.nodes),
        first.group.inputs,
        second.group.outputs,
    )
    inputs = first.program.params[: len(first.group.inputs)]
    program = Program(
        group.name,
        (*inputs, *second.program.outputs),
        Seq(()),
        (*first.program.scratch, *second.program.scratch, Buffer("strip", (strip_bytes,), "int8")),
        second.program.outputs,
    )
    return group, Kernel(group, program, (), first.macs + second.macs)


def without_copies(kernel: Kernel) -> Kernel:
    """The kernel without statements that do nothing but bring its input to scratch."""
    program = kernel.program
    (x,) = program.params[: len(kernel.group.inputs)]
    movable = {x, *program.scratch}

    def kept(stmt: Stmt) -> Stmt:
        buffers = touched(stmt)
        if x in buffers and all(b in movable or b.scope == "register" for b in buffers):
            return Seq(())
        if isinstance(stmt, Seq):
            return Seq(tuple(kept(s) for s in stmt.body))
        if isinstance(stmt, For | Let | Alloc):
            return replace(stmt, body=kept(stmt.body))
        if isinstance(stmt, If):
            other = None if stmt.otherwise is None else kept(stmt.otherwise)
            return replace(stmt, then=kept(stmt.then), otherwise=other)
        return stmt

    return replace(kernel, program=replace(program, body=kept(program.body)))


def touched(stmt: Stmt) -> set[Buffer]:
    """All buffers that a statement reads or stores."""
    found: set[Buffer] = set()
    for part in walk(stmt):
        if isinstance(part, Store):
            found.add(part.buffer)
        if isinstance(part, IntrinsicCall):
            found |= {operand.buffer for operand in part.operands}
        for expr in statement_expressions(part):
            found |= {n.source for n in post_order(expr) if isinstance(n, Read)}
    return found


def by_strips(compiled: Compiled, cpu: Cpu, steps: Sequence[int], rows: int) -> Library:
    """A model of one strip of `rows` outputs of each depthwise convolution at `steps`."""
    graph = compiled.graph
    types: dict[str, TensorType] = {}
    nodes = []
    for step in steps:
        (node,) = compiled.kernels[step].group.nodes
        x, w, *_ = node.inputs
        (y,) = node.outputs
        _, _, left, right = node.attrs["padding"]
        batch, _, width, channels = graph.types[x].shape
        reach = (rows - 1) * node.attrs["strides"][0] + graph.types[w].shape[1]
        new_x, new_y = f"{node.name}_x", f"{node.name}_y"
        types |= {v: graph.types[v] for v in node.inputs[1:]}
        types[new_x] = replace(graph.types[x], shape=(batch, reach, width, channels))
        types[new_y] = replace(graph.types[y], shape=(batch, rows, *graph.types[y].shape[2:]))
        attrs = node.attrs | {"padding": (0, 0, left, right)}
        nodes.append(Node(node.name, node.op, (new_x, *node.inputs[1:]), (new_y,), attrs))
    constants = {v: graph.constants[v] for n in nodes for v in n.inputs[1:]}
    strips = Graph(
        "strips",
        tuple(n.inputs[0] for n in nodes),
        tuple(n.outputs[0] for n in nodes),
        tuple(nodes),
        types,
        constants,
    )
    fused = fuse(verify(strips))
    kernels = [
        lower_group(strips, group, cpu, Choice(small=compiled.kernels[step].choice.small))
        for step, group in zip(steps, fused.groups, strict=True)
    ]
    return generate(fused, kernels, lay_out(fused, kernels), "strips", cpu.name)


def counted(library: Library, board: Board) -> Profile:
    """One inference by operators."""
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary:
        folder = Path(temporary)
        library.write(folder / "library")
        project = create_project(folder / "library", board, folder / "project")
        build_project(project)
        return profile_of(run_project(project), project)


def _rows(compiled: Compiled, step: int) -> int:
    """Rows of outputs of a depthwise convolution; 0 where more is in its kernel."""
    group = compiled.kernels[step].group
    shape = compiled.graph.types[group.outputs[0]].shape
    return shape[1] if len(group.nodes) == 1 else 0


def report(
    file: Path, board: Board, flash_budget: str | float = DEFAULT_BUDGET, rows: int = ROWS
) -> Report:
    """Compiles a model, plans its memory in each arrangement, and runs it as is and in parts."""
    require_emulator(board)
    compiled = compile_model(
        file, board.cpu, prefix=prefix_of(file), options=CompileOptions(flash_budget=flash_budget)
    )
    steps = pairs_of(compiled)
    kernels = [
        without_copies(k) if step - 1 in steps else k for step, k in enumerate(compiled.kernels)
    ]
    stripped = generate(
        compiled.fused, kernels, compiled.layout, compiled.library.prefix, board.cpu.name
    )
    whole, less = counted(compiled.library, board), counted(stripped, board)
    single = [s for s in steps if _rows(compiled, s) > rows]
    strips = dict.fromkeys(steps, 0)
    if single:
        profile = counted(by_strips(compiled, board.cpu, single, rows), board)
        for step, row in zip(single, profile.operators, strict=True):
            total = round(row.instructions * _rows(compiled, step) / rows)
            strips[step] = total - whole.operators[step].instructions
    pairs = []
    for step in steps:
        first, second = whole.operators[step : step + 2]
        (value,) = compiled.kernels[step].group.outputs
        pairs.append(
            Pair(
                first.name,
                second.name,
                compiled.graph.types[value].size_bytes,
                arena_of(compiled, [step], rows),
                first.instructions + second.instructions,
                second.instructions - less.operators[step + 1].instructions,
                strips[step],
            )
        )
    return Report(
        file.stem,
        board.name,
        whole.total.instructions,
        lay_out(compiled.fused, compiled.kernels, overlap=False).arena_bytes,
        compiled.layout.arena_bytes,
        arena_of(compiled, steps, rows),
        tuple(pairs),
    )


def show(console: Console, found: Report) -> None:
    """A table of the pairs, and a line for the model."""
    table = Table(title=f"{found.model} on {found.board}", title_justify="left", box=None)
    table.add_column("pair")
    for name in ("between, bytes", "arena if fused", "instructions", "saved at most", "by strips"):
        table.add_column(name, justify="right")
    for pair in found.pairs:
        table.add_row(
            f"{pair.depthwise}, {pair.pointwise}",
            f"{pair.intermediate_bytes:,}",
            f"{pair.arena_fused_bytes:,}",
            f"{pair.instructions:,}",
            f"{pair.most_saved:,}",
            f"{pair.strips_cost:+,}",
        )
    console.print(table)
    console.print(
        f"arena: {found.arena_bytes:,} bytes; with all pairs fused {found.arena_fused_bytes:,}; "
        f"without overlaps {found.arena_apart_bytes:,}",
        highlight=False,
    )
    console.print(
        f"instructions: {found.instructions:,}; fused, at most {found.most_saved:,} less "
        f"({found.most_saved / found.instructions:.2%}); by strips {found.strips_cost:+,} "
        f"({found.strips_cost / found.instructions:+.2%})\n",
        highlight=False,
    )


@click.command(help=__doc__.split("\n\n", maxsplit=1)[0] if __doc__ else "")
@click.option("--model", "models", multiple=True, help="A shared model's name, or a file.")
@click.option("--board", "boards", multiple=True, type=click.Choice(list_boards()))
@click.option("--models", "folder", type=click.Path(path_type=Path), help="Where models are.")
@click.option("--flash-budget", default=str(DEFAULT_BUDGET), show_default=True)
@click.option("--rows", default=ROWS, show_default=True, help="Of a strip.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also to this file.")
def main(
    models: tuple[str, ...],
    boards: tuple[str, ...],
    folder: Path | None,
    flash_budget: str,
    rows: int,
    json_file: Path | None,
) -> None:
    """Print a report for each model and board."""
    console = Console(width=120)
    found = []
    try:
        for board in boards or (CORTEX_M4, CORTEX_M55):
            for name in models or ("kws_int8", "vww_int8", "strww_int8"):
                file = Path(name)
                if file.suffix != ".tflite":
                    file = (folder or default_models()) / f"{name}.tflite"
                found.append(report(file, load_board(board), flash_budget, rows))
                show(console, found[-1])
    except MicrotvmError as error:
        raise click.ClickException(str(error)) from error
    if json_file is not None:
        json_file.write_text(json.dumps([r.as_json() for r in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
