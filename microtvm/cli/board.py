"""`microtvm boards` and `microtvm doctor`."""

from __future__ import annotations

import click

from microtvm.cli.console import emit_json, emit_table
from microtvm.doctor import check_tools
from microtvm.target import list_boards, load_board


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def boards(as_json: bool) -> None:
    """List the boards that models can be run on."""
    found = [load_board(name) for name in list_boards()]
    if as_json:
        emit_json(
            {
                "boards": [
                    {
                        "name": b.name,
                        "description": b.description,
                        "cpu": b.cpu.name,
                        "platforms": list(b.platforms),
                        "memories": [
                            {"name": m.name, "start": m.start, "size_bytes": m.size_bytes}
                            for m in b.memories
                        ],
                    }
                    for b in found
                ]
            }
        )
        return
    emit_table(
        ("board", "cpu", "platforms", "description"),
        [(b.name, b.cpu.name, ", ".join(b.platforms), b.description) for b in found],
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def doctor(as_json: bool) -> None:
    """Say which tools are there, which are missing, and how to get them."""
    tools = check_tools()
    if as_json:
        emit_json(
            {
                "tools": [
                    {
                        "name": t.tool.name,
                        "purpose": t.tool.purpose,
                        "needed": t.tool.needed,
                        "found": t.found,
                        "version": t.version,
                        "install": t.tool.install,
                    }
                    for t in tools
                ]
            }
        )
        return
    emit_table(
        ("tool", "for", "found", "get it with"),
        [
            (
                t.tool.name,
                t.tool.purpose,
                (t.version or "yes") if t.found else "missing",
                "" if t.found else t.tool.install,
            )
            for t in tools
        ],
    )
