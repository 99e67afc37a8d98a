"""`microtvm flash` and `microtvm ports`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from microtvm.attach import Place, flash_project, plan_project
from microtvm.cli.console import emit_json, emit_table, emit_text, progress
from microtvm.cli.option import place_options, platform_options
from microtvm.device import list_ports, list_volumes
from microtvm.device.find import of_board, port_problem
from microtvm.device.flash_plan import find_program
from microtvm.project import Value, build_project, check_stack, load_project
from microtvm.target import list_boards, load_board

SHOWN = 4
"""So many boards are named that a port may be."""


@click.command()
@click.argument("folder", metavar="PROJECT", type=click.Path(path_type=Path))
@place_options
@click.option("--tool", default="", help="Out of the board's; by default the first installed one.")
@platform_options
@click.option(
    "--dry-run", is_flag=True, help="Print the tool's command, and whether it is there; do nothing."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def flash(
    folder: Path,
    place: Place,
    tool: str,
    options: dict[str, Value],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Build a project, and put it into its board with the tool that the board names."""
    project = load_project(folder)
    steps = project.by_step(options)
    flashing = steps["flash"]
    if dry_run:
        plan = plan_project(project, place, tool=tool, options=flashing, dry=True)
    else:
        # What is missing is said before anything is built.
        plan_project(project, place, tool=tool, options=flashing)
        with progress(as_json) as report:
            report(project.platform.building, 0, 2)
            build_project(project, options=steps["build"])
            check_stack(project)
            report("flashing", 1, 2)
            plan = flash_project(
                project,
                place,
                tool=tool,
                options=flashing,
                line=lambda text: report(f"flashing: {text[:60]}", 1, 2),
            )
    program = find_program(plan.programmer)
    missing = "" if program else plan.programmer.install
    if as_json:
        emit_json(
            {
                "board": project.board.name,
                "tool": plan.tool.name,
                "argv": list(plan.argv),
                "port": plan.port.device if plan.port else None,
                "installed": not missing,
                "flashed": not dry_run,
                "log": None if dry_run else str(plan.log),
            }
        )
    elif dry_run:
        emit_text(shlex.join(plan.argv))
        if missing:
            emit_text(f"# {plan.tool.name} is not installed; things to try: {missing}")
        else:
            emit_text(f"# {plan.tool.name} is installed: {program}")
    else:
        where = f" at {plan.port.device}" if plan.port else ""
        emit_text(
            f"flashed {project.library.prefix} to {project.board.name}{where} "
            f"with {plan.tool.name}; run it with `microtvm run {folder}`"
        )


def _some(names: list[str]) -> str:
    """The first few: a debug probe is on many boards."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def ports(as_json: bool) -> None:
    """List serial ports and UF2 drives, the boards that they may be, and what keeps one busy."""
    boards = [load_board(name) for name in list_boards()]
    rows = [
        (port, [b.name for b in boards if of_board(b, [port])], port_problem(port.device))
        for port in list_ports()
    ]
    volumes = list_volumes()
    if as_json:
        emit_json(
            {
                "ports": [
                    {
                        "device": port.device,
                        "usb": None if port.usb is None else str(port.usb),
                        "serial_number": port.serial_number,
                        "description": port.description,
                        "boards": names,
                        "problem": problem.message if problem else "",
                    }
                    for port, names, problem in rows
                ],
                "volumes": [
                    {"path": str(v.path), "model": v.model, "board_id": v.board_id} for v in volumes
                ],
            }
        )
        return
    if not rows and not volumes:
        emit_text("there are no serial ports and no UF2 drives")
        return
    emit_table(
        ("port", "USB id", "serial number", "device", "may be", "problem"),
        [
            (
                port.device,
                "" if port.usb is None else str(port.usb),
                port.serial_number,
                port.description,
                _some(names),
                problem.message if problem else "",
            )
            for port, names, problem in rows
        ]
        + [(str(v.path), "", "", f"UF2 drive: {v.model}", v.board_id, "") for v in volumes],
    )
