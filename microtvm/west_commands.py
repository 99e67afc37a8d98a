"""`west microtvm`: create, build, flash, run and profile from inside a west workspace.

A workspace has the command if microtvm's repository is a project of its manifest:

    - name: microtvm
      url: URL
      west-commands: west-commands.yml

or, where microtvm is installed beside west, if the manifest's own `west-commands` has a file with

    from microtvm.west_commands import Microtvm

and names its class Microtvm as the command microtvm.

west loads this file by its path, for every command that it runs: nothing of microtvm, nor of what
it needs, is imported before the command is used.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from west.commands import WestCommand

_COMMANDS = ("create", "build", "flash", "run", "profile")

_DESCRIPTION = """\
west microtvm create MODEL -b BOARD -o DIR   an application that serves the model
west microtvm build [DIR]                    builds it
west microtvm flash [DIR]                    puts it into its board
west microtvm run MODEL -b BOARD | DIR       runs it, on an emulated board or a real one
west microtvm profile MODEL -b BOARD | DIR   what each operator takes

BOARD is a name of `microtvm boards` or Zephyr's, such as mps2/an385; by default what
`west config build.board` says. All other arguments are those of `microtvm COMMAND`."""


class Microtvm(WestCommand):
    """Those commands of `microtvm` that make sense in a workspace, for the platform zephyr."""

    def __init__(self) -> None:
        super().__init__(
            "microtvm",
            "compile, build and run a trained model",
            _DESCRIPTION,
            accepts_unknown_args=False,
        )

    def do_add_parser(self, parser_adder: argparse._SubParsersAction) -> argparse.ArgumentParser:  # type: ignore[type-arg]
        parser: argparse.ArgumentParser = parser_adder.add_parser(
            self.name,
            help=self.help,
            description=self.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("command", choices=_COMMANDS)
        parser.add_argument("arguments", nargs=argparse.REMAINDER)
        return parser

    def do_run(self, args: argparse.Namespace, unknown: list[str]) -> None:
        checkout = Path(__file__).resolve().parent.parent
        if (checkout / "west-commands.yml").is_file():
            # The version is the workspace's, installed or not.
            sys.path.insert(0, str(checkout))
        try:
            from microtvm.cli import main
            from microtvm.cli.console import report_error
            from microtvm.errors import MicrotvmError
        except ImportError as error:
            self.die(
                f"{error}; things to try: {sys.executable} -m pip install 'microtvm[zephyr]', "
                "as west and microtvm share one Python"
            )
        self._find_tree()
        try:
            words = self._arguments(args.command, args.arguments)
        except MicrotvmError as error:
            sys.exit(report_error(error, verbose=False))
        main([args.command, *words])

    def _find_tree(self) -> None:
        """The workspace's own tree, wherever its manifest has it."""
        for project in self.manifest.projects:
            if "ZEPHYR_BASE" not in os.environ and project.name in ("manifest", "zephyr"):
                folder = Path(project.abspath or "")
                if (folder / "Kconfig.zephyr").is_file():
                    os.environ["ZEPHYR_BASE"] = str(folder)

    def _arguments(self, command: str, given: list[str]) -> list[str]:
        """What microtvm's own command takes."""
        if command in ("build", "flash"):
            return given or ["."]
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("-b", "--board")
        parser.add_argument("--platform")
        known, rest = parser.parse_known_args(given)
        a_project = command != "create" and any(map(_is_project, rest))
        board = known.board or (None if a_project else self.config.get("build.board"))
        if board is not None:
            from microtvm.project.zephyr import find_board

            rest += ["--board", find_board(board)]
        if known.platform or not a_project:
            rest += ["--platform", known.platform or "zephyr"]
        return rest


def _is_project(word: str) -> bool:
    return (Path(word) / "project.json").is_file()
