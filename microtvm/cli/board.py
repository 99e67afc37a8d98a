"""`microtvm platforms` and `microtvm doctor`."""

from __future__ import annotations

from itertools import groupby

import click

from microtvm.cli.console import emit_json, emit_table
from microtvm.cli.setup import check_setup
from microtvm.project import Option, find_platform, list_platforms
from microtvm.project.template import load_template


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def platforms(as_json: bool) -> None:
    """List the platforms that projects can be created for, and their options."""
    found = [find_platform(name) for name in list_platforms()]
    if as_json:
        emit_json(
            {
                "platforms": [
                    {
                        "name": p.name,
                        "description": load_template(p.name, p.template_folder).description,
                        "options": [
                            {
                                "name": o.name,
                                "type": o.kind,
                                "default": o.default,
                                "choices": list(o.choices),
                                "method": o.method,
                                "help": o.help,
                            }
                            for o in p.options
                        ],
                    }
                    for p in found
                ]
            }
        )
        return
    rows = []
    for platform in found:
        description = load_template(platform.name, platform.template_folder).description
        rows.append((platform.name, "", "", description))
        rows += [
            ("", f"{o.name}={o.default}", o.method, o.help + _choices(o)) for o in platform.options
        ]
    emit_table(("platform", "option", "for", "description"), rows)


def _choices(option: Option) -> str:
    return f": {', '.join(option.choices)}" if option.choices else ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def doctor(as_json: bool) -> None:
    """Say which tools are there, which are missing, and how to get them."""
    tools = check_setup()
    if as_json:
        emit_json(
            {
                "tools": [
                    {
                        "name": t.tool.name,
                        "purpose": t.tool.purpose,
                        "needed": t.tool.needed,
                        "group": t.tool.group,
                        "found": t.found,
                        "version": t.version,
                        "install": t.tool.install,
                    }
                    for t in tools
                ]
            }
        )
        return
    rows = []
    for group, members in groupby(tools, key=lambda t: t.tool.group):
        rows += [("", "", "", ""), (f"optional, for {group}:", "", "", "")] if group else []
        rows += [
            (
                t.tool.name,
                t.tool.purpose,
                (t.version or "yes") if t.found else "missing",
                "" if t.found else t.tool.install,
            )
            for t in members
        ]
    emit_table(("tool", "for", "found", "get it with"), rows)
