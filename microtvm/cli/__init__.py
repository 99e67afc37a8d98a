"""The command line: every command is a thin wrapper of a Python function that does the same."""

from microtvm.cli.main import main

__all__ = ["main"]
