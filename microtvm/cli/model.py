"""`microtvm compile` and `microtvm check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from microtvm.check import Check, check_model
from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.option import ANY_CPU, compile_options, core_options
from microtvm.cli.output import check_folder
from microtvm.cli.survey import print_survey
from microtvm.errors import UserError
from microtvm.inference import prefix_of
from microtvm.lower.budget import Budgeted
from microtvm.lower.kernel import Kernel
from microtvm.pipeline import STAGES, CompileOptions, check_prefix, compile_model
from microtvm.survey import survey
from microtvm.target import Board, Cpu, list_boards, load_board, load_cpu


@click.command("compile")
@click.argument("model", type=click.Path(path_type=Path))
@core_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder; by default the prefix."
)
@click.option("--prefix", help="Begins all C symbols; by default the model's name.")
@compile_options
@click.option(
    "--dump-after", type=click.Choice(STAGES), help="Print the text form after a stage, then go on."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def compile_(
    model: Path,
    cpu: Cpu | None,
    output: Path | None,
    prefix: str | None,
    compiling: CompileOptions,
    dump_after: str | None,
    as_json: bool,
) -> None:
    """Compile MODEL to a C library: <prefix>.h, <prefix>.c and metadata.json.

    For any core that has C99, unless --cpu or --board says which: then it is faster.
    """
    name = check_prefix(prefix or prefix_of(model))
    folder = output or Path(name)
    check_folder(folder)
    dumped: list[str] = []

    def dump(stage: str, text: str) -> None:
        if stage == dump_after:
            dumped.append(text)
            if not as_json:
                # At once: it is most wanted where a later stage fails.
                emit_text(text)

    with progress(as_json) as report:
        report("compiling", 0, 1)
        compiled = compile_model(
            model, cpu or load_cpu(ANY_CPU), prefix=name, options=compiling, dump=dump
        )
    compiled.library.write(folder)
    metadata = compiled.library.metadata
    if as_json:
        emit_json(
            {
                "folder": str(folder),
                "files": list(compiled.library.files),
                "cpu": metadata["cpu"],
                "prefix": compiled.library.prefix,
                "hash": metadata["hash"],
                "arena_bytes": metadata["arena_bytes"],
                "scratch_bytes": metadata["scratch_bytes"],
                "lower_bound_bytes": metadata["lower_bound_bytes"],
                "planner": metadata["planner"],
                "weights_bytes": metadata["weights_bytes"],
                "flash_budget": {
                    "limit_bytes": compiled.budgeted.limit_bytes,
                    "offered": compiled.budgeted.offered,
                    "enlarged": compiled.budgeted.enlarged,
                },
                "operators": len(metadata["operators"]),
                **({"dump": "\n".join(dumped)} if dump_after else {}),
            }
        )
        return
    if dump_after:
        return
    layout = compiled.layout
    emit_table(
        (str(folder), "bytes"),
        [
            ("arena", f"{layout.arena_bytes:,}"),
            ("  tensors", f"{layout.tensor_bytes:,}"),
            ("  scratch", f"{layout.scratch_bytes:,}"),
            (
                f"  lower bound (planner: {layout.plan.planner})",
                f"{layout.plan.lower_bound_bytes:,}",
            ),
            ("weights", f"{metadata['weights_bytes']:,}"),
            *_weights_by_template(compiled.kernels),
            ("flash budget", _budget(compiled.budgeted, metadata["cpu"])),
        ],
    )
    emit_text(
        f"wrote {folder}, for {metadata['cpu']}"
        + ("" if cpu else " (any core; --cpu or --board makes it faster)")
        + f"; next: compile {folder / name}.c with your application, which includes {name}.h"
    )


def _budget(found: Budgeted, cpu: str) -> str:
    """What the flash budget did, in words."""
    if not found.offered:
        return f"no effect: on {cpu} larger weights make none of these kernels faster"
    return (
        f"{found.enlarged} of {found.offered} kernels have larger, faster weights; "
        f"all weights may take {found.limit_bytes:,} bytes, padding apart"
    )


def _weights_by_template(kernels: Sequence[Kernel]) -> list[tuple[str, str]]:
    """Which templates scheduled the operators that have constants, and what those take."""
    found: dict[str, list[int]] = {}
    for kernel in kernels:
        size = sum(b.data.nbytes for b in kernel.constants if b.data is not None)
        if size:
            found.setdefault(kernel.choice.template, []).append(size)
    return [
        (f"  {name} ({len(sizes)} operator{'s' * (len(sizes) > 1)})", f"{sum(sizes):,}")
        for name, sizes in found.items()
    ]


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--boards",
    metavar="all|BOARD,...",
    help="Also say on which of these boards it fits, with bytes to spare and the estimated time.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def check(model: Path, boards: str | None, as_json: bool) -> None:
    """List everything in MODEL that can't be compiled, all at once; status 2 if there is any.

    With --boards the model is compiled and built once for every core among them, and one inference
    is counted on an emulated machine. Flash and RAM are of that image: an operating system
    comes on top.
    """
    asked = None if boards is None else _boards(boards)
    found = check_model(model)
    surveyed = None
    if found.ok and asked is not None:
        with progress(as_json, always=True) as report:
            surveyed = survey(model, asked, progress=report)
    if as_json:
        listed = {} if surveyed is None else {"boards": [each.as_json() for each in surveyed]}
        emit_json(found.as_json() | listed)
    else:
        _print_check(found)
        if surveyed is not None:
            print_survey(surveyed)
    if not found.ok:
        raise click.exceptions.Exit(2)


def _boards(names: str) -> list[Board]:
    given = [name.strip() for name in names.split(",") if name.strip()]
    if not given:
        raise UserError("--boards names no board", hint="`microtvm boards` lists them; or say all")
    # Names beside `all` are looked up as well: one may be misspelt, or a file of the user's own.
    listed = [name for name in given if name != "all"] + (list_boards() if "all" in given else [])
    found = {board.file.resolve(): board for board in map(load_board, listed)}
    if not any(board.memories for board in found.values()):
        raise UserError(
            f"--boards names no board with memories of its own: {names}",
            hint="on the host a model has what memory there is; `microtvm run` measures it there",
        )
    return list(found.values())


def _print_check(found: Check) -> None:
    listed = ", ".join(f"{count} {name}" for name, count in sorted(found.operators.items()))
    emit_text(f"{found.model}: {listed or 'no operators'}")
    for kind, values in (("input", found.inputs), ("output", found.outputs)):
        for value in values:
            emit_text(f"{kind} {value}")
    for problem in found.problems:
        hint = f" ({problem.hint})" if problem.hint else ""
        emit_text(f"can't be compiled: {problem}{hint}")
    if found.ok:
        emit_text("can be compiled")
        _print_folded(found)


def _print_folded(found: Check) -> None:
    """What is left out of the layers, and why."""
    folded = [layer for layer in found.layers if layer.folded]
    if not folded:
        return
    rows = [
        (
            layer.name,
            *(_arrow(*pair) for pair in (layer.inputs, layer.outputs)),
            *(_arrow(*pair) for pair in (layer.macs, layer.weight_bytes)),
            layer.why,
        )
        for layer in folded
    ]
    rows.append(("the whole model", "", "", _arrow(*found.macs), _arrow(*found.weight_bytes), ""))
    emit_table(("channels folded away", "read", "made", "MACs", "bytes of weights", "why"), rows)


def _arrow(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} to {after:,}"
